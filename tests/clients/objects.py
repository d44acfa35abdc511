"""Objects, buckets and listings, as boto3 with its defaults sees them."""

import base64
import datetime
import hashlib
import sys
import urllib.request
import xml.etree.ElementTree

import boto3

from gateway import ENDPOINT, basalt, client, new_bucket, refused, run

s3 = client()
other = client("other")
anonymous = client(None)


def put(bucket, *keys, body=b"x", **options):
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=body, **options)


def keys(page):
    return [item["Key"] for item in page.get("Contents", [])]


def prefixes(page):
    return [item["Prefix"] for item in page.get("CommonPrefixes", [])]


def test_an_object_comes_back_with_all_that_was_said_of_it():
    b = new_bucket(s3)
    body = bytes(range(256)) * 1000
    answer = s3.put_object(Bucket=b, Key="a/b c+ü&<>", Body=body, ContentType="image/png", CacheControl="no-cache",
                           ContentDisposition="inline", ContentEncoding="gzip", ContentLanguage="de",
                           Metadata={"one": "1", "two": "x y"})
    etag = '"' + hashlib.md5(body).hexdigest() + '"'
    assert answer["ETag"] == etag
    for seen in (s3.get_object(Bucket=b, Key="a/b c+ü&<>"), s3.head_object(Bucket=b, Key="a/b c+ü&<>")):
        assert seen["ETag"] == etag and seen["ContentLength"] == len(body)
        assert seen["ContentType"] == "image/png" and seen["CacheControl"] == "no-cache"
        assert seen["ContentDisposition"] == "inline" and seen["ContentLanguage"] == "de"
        assert seen["ContentEncoding"] == "gzip", seen["ContentEncoding"]
        assert seen["Metadata"] == {"one": "1", "two": "x y"}
    assert s3.get_object(Bucket=b, Key="a/b c+ü&<>")["Body"].read() == body
    assert keys(s3.list_objects_v2(Bucket=b)) == ["a/b c+ü&<>"]


def test_an_empty_object_is_one():
    b = new_bucket(s3)
    put(b, "empty", body=b"")
    answer = s3.get_object(Bucket=b, Key="empty")
    assert answer["ContentLength"] == 0 and answer["Body"].read() == b""
    assert answer["ETag"] == '"d41d8cd98f00b204e9800998ecf8427e"'


def test_large_objects_cross_stripes():
    b = new_bucket(s3)
    body = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(9_500_000 // 32))
    put(b, "large", body=body)
    assert s3.get_object(Bucket=b, Key="large")["Body"].read() == body
    for first, last in [(0, 0), (4194303, 4194304), (4194000, 8389000), (9_000_000, 9_499_999)]:
        answer = s3.get_object(Bucket=b, Key="large", Range=f"bytes={first}-{last}")
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert answer["Body"].read() == body[first:last + 1]


def test_ranges():
    b = new_bucket(s3)
    put(b, "k", body=b"0123456789")
    for asked, expected, shown in [("bytes=2-5", b"2345", "bytes 2-5/10"), ("bytes=7-", b"789", "bytes 7-9/10"),
                                   ("bytes=-3", b"789", "bytes 7-9/10"), ("bytes=5-50", b"56789", "bytes 5-9/10")]:
        answer = s3.get_object(Bucket=b, Key="k", Range=asked)
        assert (answer["Body"].read(), answer["ContentRange"]) == (expected, shown)
    refused(416, "InvalidRange", s3.get_object, Bucket=b, Key="k", Range="bytes=40-50")
    put(b, "empty", body=b"")
    refused(416, "InvalidRange", s3.get_object, Bucket=b, Key="empty", Range="bytes=0-5")


def test_conditions_of_reading():
    b = new_bucket(s3)
    etag = s3.put_object(Bucket=b, Key="k", Body=b"x")["ETag"]
    past = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)
    future = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
    s3.get_object(Bucket=b, Key="k", IfMatch=etag)
    refused(412, "PreconditionFailed", s3.get_object, Bucket=b, Key="k", IfMatch='"other"')
    refused(304, "304", s3.get_object, Bucket=b, Key="k", IfNoneMatch=etag)
    s3.get_object(Bucket=b, Key="k", IfNoneMatch='"other"')
    s3.get_object(Bucket=b, Key="k", IfModifiedSince=past)
    refused(304, "304", s3.get_object, Bucket=b, Key="k", IfModifiedSince=future)
    refused(412, "PreconditionFailed", s3.get_object, Bucket=b, Key="k", IfUnmodifiedSince=past)
    refused(404, "404", s3.head_object, Bucket=b, Key="none")
    refused(404, "NoSuchKey", s3.get_object, Bucket=b, Key="none")
    refused(404, "NoSuchBucket", s3.get_object, Bucket=b + "-none", Key="none")


def test_conditions_of_writing():
    b = new_bucket(s3)
    etag = s3.put_object(Bucket=b, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    refused(412, "PreconditionFailed", s3.put_object, Bucket=b, Key="k", Body=b"2", IfNoneMatch="*")
    refused(412, "PreconditionFailed", s3.put_object, Bucket=b, Key="k", Body=b"2", IfMatch='"other"')
    s3.put_object(Bucket=b, Key="k", Body=b"2", IfMatch=etag)
    refused(404, "NoSuchKey", s3.put_object, Bucket=b, Key="none", Body=b"2", IfMatch=etag)
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"2"


def test_overridden_headers_of_an_answer():
    b = new_bucket(s3)
    put(b, "k")
    answer = s3.get_object(Bucket=b, Key="k", ResponseContentType="foo/bar", ResponseCacheControl="no-store",
                           ResponseContentDisposition="bla", ResponseContentLanguage="esperanto",
                           ResponseContentEncoding="aaa")
    assert answer["ContentType"] == "foo/bar" and answer["CacheControl"] == "no-store"
    assert answer["ContentDisposition"] == "bla" and answer["ContentEncoding"] == "aaa"


def test_listing_with_prefix_delimiter_and_pages():
    b = new_bucket(s3)
    names = ["asdf", "boo/bar", "boo/baz/xyzzy", "cquux/thud", "cquux/bla"]
    put(b, *names)
    for listing in (s3.list_objects, s3.list_objects_v2):
        page = listing(Bucket=b, Delimiter="/")
        assert (keys(page), prefixes(page)) == (["asdf"], ["boo/", "cquux/"])
        page = listing(Bucket=b, Delimiter="/", Prefix="boo/")
        assert (keys(page), prefixes(page)) == (["boo/bar"], ["boo/baz/"])
        page = listing(Bucket=b, Delimiter="/", Prefix="none/")
        assert (keys(page), prefixes(page)) == ([], [])
        assert keys(listing(Bucket=b)) == sorted(names)
    seen, marker = [], ""
    while True:
        page = s3.list_objects(Bucket=b, Delimiter="/", MaxKeys=1, Marker=marker)
        seen += keys(page) + prefixes(page)
        if not page["IsTruncated"]:
            break
        marker = page["NextMarker"]
    assert seen == ["asdf", "boo/", "cquux/"], seen
    seen, token = [], {}
    while True:
        page = s3.list_objects_v2(Bucket=b, MaxKeys=2, **token)
        seen += keys(page)
        assert page["KeyCount"] == len(keys(page)) <= 2
        if not page["IsTruncated"]:
            break
        token = {"ContinuationToken": page["NextContinuationToken"]}
    assert seen == sorted(names)
    page = s3.list_objects_v2(Bucket=b, StartAfter="boo/bar")
    assert keys(page) == ["boo/baz/xyzzy", "cquux/bla", "cquux/thud"] and page["StartAfter"] == "boo/bar"
    assert keys(s3.list_objects(Bucket=b, MaxKeys=0)) == []
    assert keys(s3.list_objects(Bucket=b, Marker="zzz")) == []


def test_listing_many_keys_in_order():
    b = new_bucket(s3)
    import concurrent.futures
    names = [f"{i * 7919 % 1300:05}" for i in range(1300)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: s3.put_object(Bucket=b, Key=name, Body=b""), names))
    page = s3.list_objects_v2(Bucket=b)
    assert len(page["Contents"]) == 1000 and page["IsTruncated"]
    rest = s3.list_objects_v2(Bucket=b, ContinuationToken=page["NextContinuationToken"])
    assert keys(page) + keys(rest) == sorted(names)


def test_buckets():
    b = new_bucket(s3)
    assert b in [item["Name"] for item in s3.list_buckets()["Buckets"]]
    s3.create_bucket(Bucket=b)
    refused(409, "BucketAlreadyExists", other.create_bucket, Bucket=b)
    s3.head_bucket(Bucket=b)
    refused(403, "403", other.head_bucket, Bucket=b)
    refused(404, "404", s3.head_bucket, Bucket=b + "-none")
    put(b, "k")
    refused(409, "BucketNotEmpty", s3.delete_bucket, Bucket=b)
    s3.delete_object(Bucket=b, Key="k")
    refused(403, "AccessDenied", other.delete_bucket, Bucket=b)
    s3.delete_bucket(Bucket=b)
    refused(404, "NoSuchBucket", s3.delete_bucket, Bucket=b)
    refused(404, "NoSuchBucket", s3.put_object, Bucket=b, Key="k", Body=b"")
    s3.create_bucket(Bucket=b)
    assert keys(s3.list_objects(Bucket=b)) == []
    assert not s3.get_bucket_location(Bucket=b)["LocationConstraint"]
    assert anonymous.list_buckets()["Buckets"] == []


def test_names_of_buckets():
    from botocore.handlers import validate_bucket_name
    free = client()
    free.meta.events.unregister("before-parameter-build.s3", validate_bucket_name)
    for name in ["ab", "A-bad-one", "bad_one_here", "-bad", "bad-", "a..b", "192.168.5.123", "x" * 64]:
        refused(400, "InvalidBucketName", free.create_bucket, Bucket=name)


def test_deleting_many():
    b = new_bucket(s3)
    names = [f"k{i}" for i in range(50)]
    put(b, *names)
    answer = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": key} for key in names + ["none"]]})
    assert sorted(item["Key"] for item in answer["Deleted"]) == sorted(names + ["none"])
    assert keys(s3.list_objects(Bucket=b)) == []
    put(b, *names)
    answer = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": key} for key in names], "Quiet": True})
    assert "Deleted" not in answer
    put(b, "k")
    errors = client("other").delete_objects(Bucket=b, Delete={"Objects": [{"Key": "k"}]})["Errors"]
    assert [(error["Key"], error["Code"]) for error in errors] == [("k", "AccessDenied")]


def test_copies():
    b, c = new_bucket(s3), new_bucket(s3)
    body = b"y" * 5_000_000
    put(b, "k", body=body, Metadata={"a": "1"}, ContentType="text/x")
    answer = s3.copy_object(Bucket=c, Key="copy", CopySource={"Bucket": b, "Key": "k"})
    assert answer["CopyObjectResult"]["ETag"] == '"' + hashlib.md5(body).hexdigest() + '"'
    copy = s3.get_object(Bucket=c, Key="copy")
    assert copy["Body"].read() == body and copy["Metadata"] == {"a": "1"} and copy["ContentType"] == "text/x"
    s3.copy_object(Bucket=c, Key="copy", CopySource={"Bucket": b, "Key": "k"}, MetadataDirective="REPLACE",
                   Metadata={"b": "2"}, ContentType="text/y")
    copy = s3.head_object(Bucket=c, Key="copy")
    assert copy["Metadata"] == {"b": "2"} and copy["ContentType"] == "text/y"
    refused(400, "InvalidRequest", s3.copy_object, Bucket=b, Key="k", CopySource={"Bucket": b, "Key": "k"})
    s3.copy_object(Bucket=b, Key="k", CopySource={"Bucket": b, "Key": "k"}, MetadataDirective="REPLACE",
                   Metadata={"c": "3"})
    seen = s3.get_object(Bucket=b, Key="k")
    assert seen["Metadata"] == {"c": "3"} and seen["Body"].read() == body
    refused(404, "NoSuchKey", s3.copy_object, Bucket=c, Key="x", CopySource={"Bucket": b, "Key": "none"})
    refused(403, "AccessDenied", other.copy_object, Bucket=new_bucket(other), Key="x", CopySource={"Bucket": b, "Key": "k"})
    etag = seen["ETag"]
    s3.copy_object(Bucket=c, Key="d", CopySource={"Bucket": b, "Key": "k"}, CopySourceIfMatch=etag)
    refused(412, "PreconditionFailed", s3.copy_object, Bucket=c, Key="d", CopySource={"Bucket": b, "Key": "k"},
            CopySourceIfNoneMatch=etag)
    put(b, "with space+%/x")
    s3.copy_object(Bucket=c, Key="e", CopySource={"Bucket": b, "Key": "with space+%/x"})


def test_checksums():
    b = new_bucket(s3)
    for algorithm in ["CRC32", "SHA1", "SHA256"]:
        answer = s3.put_object(Bucket=b, Key="k", Body=b"hello", ChecksumAlgorithm=algorithm)
        seen = s3.head_object(Bucket=b, Key="k", ChecksumMode="ENABLED")
        assert seen["Checksum" + algorithm] == answer["Checksum" + algorithm]
        assert s3.get_object(Bucket=b, Key="k", ChecksumMode="ENABLED")["Body"].read() == b"hello"
    refused(400, "BadDigest", s3.put_object, Bucket=b, Key="k", Body=b"hello", ChecksumSHA256="A" * 43 + "=")
    refused(400, "BadDigest", s3.put_object, Bucket=b, Key="k", Body=b"hello", ContentMD5="rL0Y20zC+Fzt72VPzMSk2A==")
    refused(400, "InvalidDigest", s3.put_object, Bucket=b, Key="k", Body=b"hello", ContentMD5="YWJyYWNhZGFicmE=")
    attributes = s3.get_object_attributes(Bucket=b, Key="k", ObjectAttributes=["ETag", "Checksum", "ObjectSize"])
    assert attributes["ObjectSize"] == 5 and "ChecksumSHA256" in attributes["Checksum"]


def test_presigned_urls():
    b = new_bucket(s3)
    put(b, "k", body=b"shared")
    for version in ["s3", "s3v4"]:
        signer = client(signature_version=version)
        url = signer.generate_presigned_url("get_object", Params={"Bucket": b, "Key": "k"}, ExpiresIn=60)
        assert urllib.request.urlopen(url).read() == b"shared"
        try:
            urllib.request.urlopen(url.replace("/k?", "/other?"))
            raise AssertionError("a URL for another key was taken")
        except urllib.error.HTTPError as error:
            assert error.code == 403
        url = signer.generate_presigned_url("put_object", Params={"Bucket": b, "Key": "up"}, ExpiresIn=60)
        urllib.request.urlopen(urllib.request.Request(url, data=b"put", method="PUT", headers={"Content-Type": ""}))
        assert s3.get_object(Bucket=b, Key="up")["Body"].read() == b"put"


def test_signature_version_2():
    old = client(signature_version="s3")
    b = new_bucket(old)
    old.put_object(Bucket=b, Key="k", Body=b"x", Metadata={"a": "b"})
    assert old.get_object(Bucket=b, Key="k")["Metadata"] == {"a": "b"}
    assert keys(old.list_objects(Bucket=b)) == ["k"]
    old.get_bucket_acl(Bucket=b)
    old.delete_object(Bucket=b, Key="k")
    old.delete_bucket(Bucket=b)


def test_wrong_keys_and_clocks():
    import boto3
    wrong = boto3.client("s3", endpoint_url=ENDPOINT, aws_access_key_id="none", aws_secret_access_key="x",
                         region_name="us-east-1")
    refused(403, "InvalidAccessKeyId", wrong.list_buckets)
    from gateway import KEYS
    wrong = boto3.client("s3", endpoint_url=ENDPOINT, aws_access_key_id=KEYS["main"][0], aws_secret_access_key="x",
                         region_name="us-east-1")
    refused(403, "SignatureDoesNotMatch", wrong.list_buckets)


def test_uploads_by_forms():
    import json
    b = new_bucket(s3)

    def post(fields, body):
        boundary = "xxBoundaryxx"
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
                 for name, value in fields.items()]
        parts.append(f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f.txt"\r\n'
                     f'Content-Type: text/plain\r\n\r\n'.encode() + body + f"\r\n--{boundary}--\r\n".encode())
        request = urllib.request.Request(f"{ENDPOINT}/{b}", data=b"".join(parts), method="POST",
                                         headers={"Content-Type": f"multipart/form-data; boundary={boundary}"})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    form = s3.generate_presigned_post(b, "up/f.txt", Fields={"x-amz-meta-a": "1"},
                                      Conditions=[{"x-amz-meta-a": "1"},
                                                  ["content-length-range", 1, 100]])
    assert post(form["fields"], b"from a form") == 204
    seen = s3.get_object(Bucket=b, Key="up/f.txt")
    assert seen["Body"].read() == b"from a form" and seen["Metadata"] == {"a": "1"}
    assert post(form["fields"], b"x" * 101) == 400
    assert post(dict(form["fields"], key="elsewhere"), b"x") == 403
    signature = next(name for name in form["fields"] if name.lower().endswith("signature"))
    assert post(dict(form["fields"], **{signature: "0" * 64}), b"x") == 403
    assert post({"key": "anonymous"}, b"x") == 403
    s3.put_bucket_acl(Bucket=b, ACL="public-read-write")
    assert post({"key": "anonymous", "acl": "public-read"}, b"x") == 204
    assert anonymous.get_object(Bucket=b, Key="anonymous")["Body"].read() == b"x"
    assert post({"key": "named/${filename}"}, b"y") == 204
    assert "named/f.txt" in keys(s3.list_objects(Bucket=b))
    tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>"
    right = base64.b64encode(hashlib.sha256(b"y").digest()).decode()
    assert post({"key": "tagged", "acl": "public-read", "tagging": tags, "x-amz-checksum-sha256": right}, b"y") == 204
    assert s3.get_object_tagging(Bucket=b, Key="tagged")["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert post({"key": "tagged", "x-amz-checksum-sha256": right}, b"z") == 400
    # The key that a policy judges is the one that the object gets.
    form = s3.generate_presigned_post(b, "${filename}", Conditions=[["starts-with", "$key", "f."]])
    assert post(form["fields"], b"x") == 204
    form = s3.generate_presigned_post(b, "${filename}", Conditions=[["starts-with", "$key", "g."]])
    assert post(form["fields"], b"x") == 403


def test_a_body_of_unknown_length():
    b = new_bucket(s3)
    url = client(signature_version="s3v4").generate_presigned_url("put_object", Params={"Bucket": b, "Key": "k"})
    pieces = iter([b"one ", b"two"])
    with urllib.request.urlopen(urllib.request.Request(url, data=pieces, method="PUT",
                                                       headers={"Transfer-Encoding": "chunked"})) as answer:
        assert answer.status == 200
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"one two"


def test_who_is_expected_to_own_a_bucket():
    b = new_bucket(s3, ACL="public-read-write")
    assert s3.list_objects(Bucket=b, ExpectedBucketOwner="main")["Name"] == b
    refused(403, "AccessDenied", s3.list_objects, Bucket=b, ExpectedBucketOwner="other")
    refused(403, "AccessDenied", anonymous.put_object, Bucket=b, Key="k", Body=b"", ExpectedBucketOwner="other")
    put(b, "k")
    theirs = new_bucket(other)
    from_mine = {"Bucket": theirs, "Key": "k", "CopySource": {"Bucket": b, "Key": "k"}, "ExpectedBucketOwner": "other"}
    s3.put_object_acl(Bucket=b, Key="k", ACL="public-read")
    other.copy_object(ExpectedSourceBucketOwner="main", **from_mine)
    refused(403, "AccessDenied", other.copy_object, ExpectedSourceBucketOwner="other", **from_mine)


def test_what_cephs_gateway_has_besides():
    b = new_bucket(s3)
    put(b, "a", "b", body=b"xyz")
    counting = client()
    counting.meta.events.register("request-created.s3.HeadBucket", lambda request, **_: request.params.update({"read-stats": "true"}))
    seen = counting.head_bucket(Bucket=b)["ResponseMetadata"]["HTTPHeaders"]
    assert (seen["x-rgw-object-count"], seen["x-rgw-bytes-used"], seen["x-rgw-quota-max-buckets"]) == ("2", "6", "1000")
    unordered = client()
    for operation in ("ListObjects", "ListObjectsV2"):
        unordered.meta.events.register(f"before-call.s3.{operation}", lambda params, **_: params.update(
            url=params["url"] + "&allow-unordered=true"))
    assert keys(unordered.list_objects(Bucket=b)) == ["a", "b"]
    refused(400, "InvalidArgument", unordered.list_objects, Bucket=b, Delimiter="/")
    refused(400, "InvalidArgument", unordered.list_objects_v2, Bucket=b, Delimiter="/")
    refused(404, "NoSuchKey", s3.get_object_torrent, Bucket=b, Key="a")


def test_tagging():
    b = new_bucket(s3)
    put(b, "k", Tagging="a=1&b=2")
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    assert s3.get_object_tagging(Bucket=b, Key="k")["TagSet"] == tags
    assert s3.get_object(Bucket=b, Key="k")["TagCount"] == 2
    s3.put_object_tagging(Bucket=b, Key="k", Tagging={"TagSet": tags[:1]})
    assert s3.get_object_tagging(Bucket=b, Key="k")["TagSet"] == tags[:1]
    many = [{"Key": str(i), "Value": "v"} for i in range(11)]
    refused(400, "InvalidTag", s3.put_object_tagging, Bucket=b, Key="k", Tagging={"TagSet": many})
    s3.delete_object_tagging(Bucket=b, Key="k")
    assert s3.get_object_tagging(Bucket=b, Key="k")["TagSet"] == []
    refused(404, "NoSuchTagSet", s3.get_bucket_tagging, Bucket=b)
    s3.put_bucket_tagging(Bucket=b, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=b)["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket=b)
    refused(404, "NoSuchTagSet", s3.get_bucket_tagging, Bucket=b)


def test_who_asks_is_told_what_it_holds_and_may_hold():
    def usage(who):
        with_usage = lambda params, **_: params.update(url=params["url"] + "?usage")
        seen = {}
        who.meta.events.register("before-call.s3.ListBuckets", with_usage)
        who.meta.events.register("after-call.s3.ListBuckets", lambda http_response, **_: seen.update(
            (field.tag, int(field.text)) for field in xml.etree.ElementTree.fromstring(http_response.text).find("Summary")))
        who.list_buckets()
        return seen
    basalt("user", "create", "--uid", "counted", "--display-name", "c", "--access-key", "AKCOUNTED", "--secret-key", "SK")
    who = boto3.client("s3", endpoint_url=ENDPOINT, aws_access_key_id="AKCOUNTED", aws_secret_access_key="SK",
                       region_name="us-east-1")
    b = new_bucket(who)
    who.put_object(Bucket=b, Key="k", Body=b"x" * 5000)
    assert usage(who) == {"QuotaMaxBytes": -1, "QuotaMaxBuckets": 1000, "QuotaMaxObjCount": -1,
                          "QuotaMaxBytesPerBucket": -1, "QuotaMaxObjCountPerBucket": -1, "TotalBytes": 5000,
                          "TotalBytesRounded": 8192, "TotalEntries": 1}


def test_what_is_not_here_says_so():
    b = new_bucket(s3)
    refused(501, "NotImplemented", s3.put_bucket_replication, Bucket=b, ReplicationConfiguration={
        "Role": "r", "Rules": [{"Status": "Enabled", "Destination": {"Bucket": "arn:aws:s3:::x"}}]})
    refused(501, "NotImplemented", s3.put_bucket_accelerate_configuration, Bucket=b,
            AccelerateConfiguration={"Status": "Enabled"})


if __name__ == "__main__":
    run(sys.modules[__name__])
