# s3cmd with both versions of signatures: put, get, listings, signed URLs, ACLs, and a policy that lets everybody read.
set -eux
dir=$(mktemp -d)
host=${S3_ENDPOINT#http://}
plain() {
    s3cmd --no-ssl --no-progress --config=/dev/null --host="$host" --host-bucket="$host" --access_key="$S3_ACCESS" \
        --secret_key="$S3_SECRET" "$@"
}
code() { curl -s -o /dev/null -w '%{http_code}' "$@"; }

head -c 100000 /dev/urandom > "$dir/small"
head -c 17000000 /dev/urandom > "$dir/large"
for version in --signature-v2 ''; do
    s3() { plain $version "$@"; }
    bucket=s3cmd-test${version#--signature-}
    s3 mb "s3://$bucket" > /dev/null
    s3 put "$dir/small" "s3://$bucket/dir/small file" > /dev/null
    s3 put --multipart-chunk-size-mb=5 "$dir/large" "s3://$bucket/large" > /dev/null
    s3 ls "s3://$bucket/dir/" | grep -q 'small file'
    s3 get --force "s3://$bucket/dir/small file" "$dir/back" > /dev/null
    cmp "$dir/small" "$dir/back"
    s3 get --force "s3://$bucket/large" "$dir/back" > /dev/null
    cmp "$dir/large" "$dir/back"
    s3 info "s3://$bucket/large" | grep -q '17000000'
    url=$(s3 signurl "s3://$bucket/large" +60)
    curl -sf "$url" | cmp - "$dir/large"
    expired=$(s3 signurl "s3://$bucket/large" 1000000000)
    test "$(code "$expired")" = 403

    test "$(code "$S3_ENDPOINT/$bucket/large")" = 403
    cat > "$dir/policy" <<POLICY
{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"],
 "Resource": ["arn:aws:s3::*:$bucket/*"]}]}
POLICY
    s3 setpolicy "$dir/policy" "s3://$bucket" > /dev/null
    test "$(code "$S3_ENDPOINT/$bucket/large")" = 200
    test "$(code "$S3_ENDPOINT/$bucket")" = 403
    test "$(code "$S3_ENDPOINT/$bucket/")" = 403
    s3 delpolicy "s3://$bucket" > /dev/null
    test "$(code "$S3_ENDPOINT/$bucket/large")" = 403
    s3 setacl --acl-public "s3://$bucket/large" > /dev/null
    test "$(code "$S3_ENDPOINT/$bucket/large")" = 200

    s3 cp "s3://$bucket/large" "s3://$bucket/copy" > /dev/null
    s3 mv "s3://$bucket/copy" "s3://$bucket/moved" > /dev/null
    s3 del "s3://$bucket/moved" > /dev/null
    s3 rb --force --recursive "s3://$bucket" > /dev/null 2>&1
    if s3 ls "s3://$bucket" 2> /dev/null; then echo 'a removed bucket is listed' >&2; exit 1; fi
done

# The same by the bucket's own name: then it is the host that is signed.
PYTHONPATH="$PWD/loopback_names"
export PYTHONPATH
port=${host##*:}
for version in --signature-v2 ''; do
    named() {
        s3cmd --no-ssl --no-progress --config=/dev/null --host="localhost:$port" --host-bucket="%(bucket)s.localhost:$port" \
            --access_key="$S3_ACCESS" --secret_key="$S3_SECRET" $version "$@"
    }
    bucket=s3cmd-named${version#--signature-}
    named mb "s3://$bucket" > /dev/null
    named put "$dir/small" "s3://$bucket/dir/small file" > /dev/null
    named put --multipart-chunk-size-mb=5 "$dir/large" "s3://$bucket/large" > /dev/null
    named ls "s3://$bucket/dir/" | grep -q 'small file'
    named --debug ls "s3://$bucket" 2>&1 | grep -q "$bucket.localhost"
    named get --force "s3://$bucket/large" "$dir/back" > /dev/null
    cmp "$dir/large" "$dir/back"
    url=$(named signurl "s3://$bucket/dir/small file" +60)
    case "$url" in "http://$bucket.localhost:$port/"*) ;; *) echo "not signed for the bucket's name: $url" >&2; exit 1 ;; esac
    curl -sf --resolve "$bucket.localhost:$port:127.0.0.1" "$url" | cmp - "$dir/small"
    named cp "s3://$bucket/large" "s3://$bucket/copy" > /dev/null
    named setacl --acl-public "s3://$bucket/copy" > /dev/null
    test "$(code --resolve "$bucket.localhost:$port:127.0.0.1" "http://$bucket.localhost:$port/copy")" = 200
    test "$(code --resolve "$bucket.localhost:$port:127.0.0.1" "http://$bucket.localhost:$port/large")" = 403
    named rb --force --recursive "s3://$bucket" > /dev/null 2>&1
    if named ls "s3://$bucket" 2> /dev/null; then echo 'a removed bucket is listed' >&2; exit 1; fi
done
rm -r "$dir"
