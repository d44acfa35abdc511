# A real tree goes up and comes back with `aws s3 sync`; then what changed, and what was deleted.
# Which `aws`, and whether buckets are addressed by host names: awscli.sh [PROGRAM] [virtual]
set -eux
program=${1:-aws}
"$program" --version
export AWS_ACCESS_KEY_ID="$S3_ACCESS" AWS_SECRET_ACCESS_KEY="$S3_SECRET" AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
dir=$(mktemp -d)
style=path
if [ "${2:-}" = virtual ]; then
    # Such a client takes no address for a name.
    S3_ENDPOINT="http://localhost:${S3_ENDPOINT##*:}"
    style=virtual
    PYTHONPATH="$PWD/loopback_names"
    export PYTHONPATH
fi
printf '[default]\ns3 =\n  addressing_style = %s\n' "$style" > "$dir/plain"
export AWS_CONFIG_FILE="$dir/plain"
s3() { "$program" --endpoint-url "$S3_ENDPOINT" s3 "$@"; }

mkdir -p "$dir/up/a b/ü" "$dir/down"
find /usr/share/doc -maxdepth 2 -type f -size -256k | sort | head -150 | while read -r file; do cp "$file" "$dir/up/a b/"; done
head -c 20000000 /dev/urandom > "$dir/up/large"
: > "$dir/up/empty"
printf 'x' > "$dir/up/a b/ü/+&% #"

s3 mb s3://tree
s3 sync --only-show-errors "$dir/up" s3://tree/sub
s3 sync --quiet s3://tree/sub "$dir/down"
diff -r "$dir/up" "$dir/down"
test "$(s3 sync s3://tree/sub "$dir/down" | wc -l)" -eq 0

rm "$dir/up/empty"
printf 'changed and longer' > "$dir/up/a b/ü/+&% #"
s3 sync --quiet --delete "$dir/up" s3://tree/sub
s3 sync --quiet --delete s3://tree/sub "$dir/down"
diff -r "$dir/up" "$dir/down"

# An empty file, and then parts, over one connection: who waits for a 100 before he sends nothing gets none, and the client must not take the next
# answer on that connection for this one's headers (it said: upload failed, 'ETag').
mkdir "$dir/one"
: > "$dir/one/0"
head -c 9000000 /dev/urandom > "$dir/one/1"
printf '[default]\ns3 =\n  max_concurrent_requests = 1\n  addressing_style = %s\n' "$style" > "$dir/config"
for _ in 1 2 3; do AWS_CONFIG_FILE="$dir/config" s3 cp --quiet --recursive "$dir/one" s3://tree/one; done
s3 cp --quiet s3://tree/one/1 - | cmp - "$dir/one/1"
s3 rm --quiet --recursive s3://tree/one

s3 ls --recursive s3://tree/ | grep -q 'sub/large'
s3 mv --quiet s3://tree/sub/large s3://tree/moved
s3 cp --quiet s3://tree/moved - | cmp - "$dir/up/large"
s3 presign s3://tree/moved | xargs curl -sf --resolve "tree.localhost:${S3_ENDPOINT##*:}:127.0.0.1" | cmp - "$dir/up/large"
if s3 rb s3://tree 2>/dev/null; then echo 'a bucket with objects was removed' >&2; exit 1; fi
s3 rb --quiet --force s3://tree 2>/dev/null || s3 rb --force s3://tree > /dev/null
if s3 ls s3://tree 2>/dev/null; then echo 'a removed bucket is listed' >&2; exit 1; fi
rm -r "$dir"
