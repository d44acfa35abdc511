# rclone copies a tree, checks it against the bucket by its hashes, and syncs what changed.
set -eux
unset AWS_CA_BUNDLE
dir=$(mktemp -d)
export RCLONE_CONFIG="$dir/none" RCLONE_CONFIG_S3_TYPE=s3 RCLONE_CONFIG_S3_PROVIDER=Ceph RCLONE_CONFIG_S3_ENDPOINT="$S3_ENDPOINT"
export RCLONE_CONFIG_S3_ACCESS_KEY_ID="$S3_ACCESS" RCLONE_CONFIG_S3_SECRET_ACCESS_KEY="$S3_SECRET"
: > "$RCLONE_CONFIG"
mkdir -p "$dir/tree/a/b c"
find /usr/share/doc -maxdepth 2 -type f -size -256k | sort | head -120 | while read -r file; do cp "$file" "$dir/tree/a/b c/"; done
head -c 30000000 /dev/urandom > "$dir/tree/large"
: > "$dir/tree/empty"

rclone mkdir s3:rclone
rclone copy --s3-upload-cutoff 8M --s3-chunk-size 5M "$dir/tree" s3:rclone/t
rclone check "$dir/tree" s3:rclone/t
rclone check --download "$dir/tree" s3:rclone/t
rm "$dir/tree/empty"
echo changed > "$dir/tree/a/changed"
rclone sync "$dir/tree" s3:rclone/t
rclone check "$dir/tree" s3:rclone/t
test "$(rclone lsf -R --files-only s3:rclone/t | wc -l)" -eq "$(find "$dir/tree" -type f | wc -l)"
rclone copyto s3:rclone/t/large s3:rclone/copy
rclone cat s3:rclone/copy | cmp - "$dir/tree/large"
rclone purge s3:rclone
test "$(rclone lsd s3: | grep -c rclone)" -eq 0
rm -r "$dir"
