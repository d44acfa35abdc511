"""Versions and uploads in parts."""

import concurrent.futures
import datetime
import hashlib
import os
import sys
import time

from gateway import basalt, client, new_bucket, refused, run

s3 = client()
MIB = 1 << 20


def versioned():
    bucket = new_bucket(s3)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def all_versions(bucket, **options):
    versions, more = [], {}
    while True:
        page = s3.list_object_versions(Bucket=bucket, **options, **more)
        versions += [(item["Key"], item["VersionId"], item["IsLatest"], "v") for item in page.get("Versions", [])]
        versions += [(item["Key"], item["VersionId"], item["IsLatest"], "m") for item in page.get("DeleteMarkers", [])]
        if not page["IsTruncated"]:
            return versions
        more = {"KeyMarker": page["NextKeyMarker"]}
        if "NextVersionIdMarker" in page:
            more["VersionIdMarker"] = page["NextVersionIdMarker"]


def read(bucket, key, version=None):
    options = {"VersionId": version} if version else {}
    return s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read()


def test_versions_are_kept_and_come_back():
    b = new_bucket(s3)
    assert "Status" not in s3.get_bucket_versioning(Bucket=b)
    s3.put_object(Bucket=b, Key="k", Body=b"null")
    s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=b)["Status"] == "Enabled"
    ids = [s3.put_object(Bucket=b, Key="k", Body=str(i).encode())["VersionId"] for i in range(5)]
    assert len(set(ids)) == 5
    assert read(b, "k") == b"4" and read(b, "k", "null") == b"null"
    for i, version in enumerate(ids):
        assert read(b, "k", version) == str(i).encode()
    seen = all_versions(b)
    assert [version for _, version, _, _ in seen] == ids[::-1] + ["null"]
    assert [latest for _, _, latest, _ in seen] == [True] + [False] * 5
    seen = all_versions(b, MaxKeys=2)
    assert [version for _, version, _, _ in seen] == ids[::-1] + ["null"], seen
    s3.delete_object(Bucket=b, Key="k", VersionId=ids[4])
    assert read(b, "k") == b"3"
    s3.delete_object(Bucket=b, Key="k", VersionId="null")
    refused(404, "NoSuchVersion", s3.get_object, Bucket=b, Key="k", VersionId="null")
    for version in ids[:4]:
        s3.delete_object(Bucket=b, Key="k", VersionId=version)
    refused(404, "NoSuchKey", s3.get_object, Bucket=b, Key="k")
    s3.delete_bucket(Bucket=b)


def test_delete_markers():
    b = versioned()
    first = s3.put_object(Bucket=b, Key="k", Body=b"1")["VersionId"]
    answer = s3.delete_object(Bucket=b, Key="k")
    assert answer["DeleteMarker"] and answer["VersionId"] != first
    refused(404, "NoSuchKey", s3.get_object, Bucket=b, Key="k")
    refused(405, "MethodNotAllowed", s3.get_object, Bucket=b, Key="k", VersionId=answer["VersionId"])
    assert "Contents" not in s3.list_objects_v2(Bucket=b)
    assert [(kind, latest) for _, _, latest, kind in all_versions(b)] == [("v", False), ("m", True)]
    assert read(b, "k", first) == b"1"
    refused(409, "BucketNotEmpty", s3.delete_bucket, Bucket=b)
    s3.delete_object(Bucket=b, Key="k", VersionId=answer["VersionId"])
    assert read(b, "k") == b"1"
    answer = s3.delete_object(Bucket=b, Key="never")
    assert answer["DeleteMarker"]
    deleted = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": "k"}]})["Deleted"][0]
    assert deleted["DeleteMarker"] and deleted["DeleteMarkerVersionId"]


def test_suspended_versioning_replaces_only_null():
    b = versioned()
    kept = s3.put_object(Bucket=b, Key="k", Body=b"kept")["VersionId"]
    s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Suspended"})
    for i in range(3):
        s3.put_object(Bucket=b, Key="k", Body=str(i).encode())
    assert [version for _, version, _, _ in all_versions(b)] == ["null", kept]
    assert read(b, "k") == b"2" and read(b, "k", kept) == b"kept"
    answer = s3.delete_object(Bucket=b, Key="k")
    assert answer["DeleteMarker"] and answer["VersionId"] == "null"
    assert [(version, kind) for _, version, _, kind in all_versions(b)] == [(kept, "v"), ("null", "m")]
    s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=b, Key="k", Body=b"new")
    s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=b, Key="k", Body=b"null again")
    assert sorted(kind for _, _, _, kind in all_versions(b)) == ["v", "v", "v"]


def test_versions_listed_over_many_keys():
    b = versioned()
    expected = {}
    for key in ["a", "a/b", "a\u00e4", "b", "c/1", "c/2"]:
        expected[key] = [s3.put_object(Bucket=b, Key=key, Body=b"")["VersionId"] for _ in range(3)][::-1]
    flat = [(key, version) for key in sorted(expected, key=str.encode) for version in expected[key]]
    for size in [1, 2, 4, 1000]:
        seen = [(key, version) for key, version, _, _ in all_versions(b, MaxKeys=size)]
        assert seen == flat, (size, seen, flat)
    page = s3.list_object_versions(Bucket=b, Delimiter="/")
    assert [item["Prefix"] for item in page["CommonPrefixes"]] == ["a/", "c/"]
    assert len(page["Versions"]) == 9
    assert len(s3.list_object_versions(Bucket=b, Prefix="c/")["Versions"]) == 6


def upload(bucket, key, parts, **options):
    started = s3.create_multipart_upload(Bucket=bucket, Key=key, **options)["UploadId"]
    named = []
    for number, body in parts:
        answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=started, PartNumber=number, Body=body)
        named.append({"PartNumber": number, "ETag": answer["ETag"]})
    return started, named


def complete(bucket, key, started, named, **options):
    return s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=started, MultipartUpload={"Parts": named}, **options)


def test_an_upload_in_parts_is_one_object():
    b = new_bucket(s3)
    bodies = [os.urandom(5 * MIB), os.urandom(5 * MIB + 77), os.urandom(1000)]
    started, named = upload(b, "k", enumerate(bodies, 1), Metadata={"a": "b"}, ContentType="x/y")
    refused(404, "NoSuchKey", s3.get_object, Bucket=b, Key="k")
    assert [item["UploadId"] for item in s3.list_multipart_uploads(Bucket=b)["Uploads"]] == [started]
    parts = s3.list_parts(Bucket=b, Key="k", UploadId=started)
    assert [(part["PartNumber"], part["Size"], part["ETag"]) for part in parts["Parts"]] == [
        (number, len(body), f'"{hashlib.md5(body).hexdigest()}"') for number, body in enumerate(bodies, 1)]
    answer = complete(b, "k", started, named)
    expected = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest() + "-3"
    assert answer["ETag"] == f'"{expected}"'
    seen = s3.get_object(Bucket=b, Key="k")
    assert seen["Body"].read() == b"".join(bodies) and seen["Metadata"] == {"a": "b"} and seen["ContentType"] == "x/y"
    seen = s3.get_object(Bucket=b, Key="k", PartNumber=2)
    assert seen["Body"].read() == bodies[1] and seen["PartsCount"] == 3
    assert s3.get_object(Bucket=b, Key="k", Range=f"bytes={5 * MIB - 10}-{5 * MIB + 9}")["Body"].read() == (
        bodies[0][-10:] + bodies[1][:10])
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=b)
    refused(404, "NoSuchUpload", s3.list_parts, Bucket=b, Key="k", UploadId=started)
    assert complete(b, "k", started, named)["ETag"] == f'"{expected}"'


def test_parts_may_be_replaced_left_out_and_numbered_with_gaps():
    b = new_bucket(s3)
    started, named = upload(b, "k", [(1, b"a" * 5 * MIB), (7, b"b" * 5 * MIB), (8, b"unused"), (10000, b"end")])
    again = s3.upload_part(Bucket=b, Key="k", UploadId=started, PartNumber=7, Body=b"c" * 5 * MIB)["ETag"]
    refused(400, "InvalidPart", complete, b, "k", started, [named[0], named[1], named[3]])
    complete(b, "k", started, [named[0], {"PartNumber": 7, "ETag": again}, named[3]])
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"a" * 5 * MIB + b"c" * 5 * MIB + b"end"


def test_uploads_that_are_wrong():
    b = new_bucket(s3)
    started, named = upload(b, "k", [(1, b"small"), (2, b"small")])
    refused(400, "EntityTooSmall", complete, b, "k", started, named)
    refused(400, "InvalidPartOrder", complete, b, "k", started, named[::-1])
    refused(400, "InvalidPart", complete, b, "k", started, [{"PartNumber": 1, "ETag": '"ffffffffffffffffffffffffffffffff"'}])
    refused(400, "InvalidPart", complete, b, "k", started, [{"PartNumber": 9, "ETag": named[0]["ETag"]}])
    refused(400, "MalformedXML", complete, b, "k", started, [])
    refused(404, "NoSuchUpload", s3.upload_part, Bucket=b, Key="k", UploadId="none", PartNumber=1, Body=b"")
    refused(400, "InvalidArgument", s3.upload_part, Bucket=b, Key="k", UploadId=started, PartNumber=10001, Body=b"")
    s3.abort_multipart_upload(Bucket=b, Key="k", UploadId=started)
    refused(404, "NoSuchUpload", s3.abort_multipart_upload, Bucket=b, Key="k", UploadId=started)
    refused(404, "NoSuchUpload", complete, b, "k", started, named)


def test_parts_copied_from_objects():
    b = new_bucket(s3)
    body = os.urandom(12 * MIB)
    s3.put_object(Bucket=b, Key="source", Body=body)
    started = s3.create_multipart_upload(Bucket=b, Key="k")["UploadId"]
    named = []
    for number, (first, last) in enumerate([(0, 6 * MIB - 1), (6 * MIB, 12 * MIB - 1)], 1):
        answer = s3.upload_part_copy(Bucket=b, Key="k", UploadId=started, PartNumber=number,
                                     CopySource={"Bucket": b, "Key": "source"}, CopySourceRange=f"bytes={first}-{last}")
        named.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    complete(b, "k", started, named)
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == body
    refused(416, "InvalidRange", s3.upload_part_copy, Bucket=b, Key="k", PartNumber=1,
            UploadId=s3.create_multipart_upload(Bucket=b, Key="k")["UploadId"],
            CopySource={"Bucket": b, "Key": "source"}, CopySourceRange=f"bytes=0-{12 * MIB}")


def test_checksums_of_parts_make_that_of_the_whole():
    b = new_bucket(s3)
    bodies = [os.urandom(5 * MIB), os.urandom(999)]
    for algorithm, kind in [("CRC32", "FULL_OBJECT"), ("SHA256", "COMPOSITE"), ("CRC32", "COMPOSITE")]:
        started = s3.create_multipart_upload(Bucket=b, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)["UploadId"]
        named = []
        for number, body in enumerate(bodies, 1):
            answer = s3.upload_part(Bucket=b, Key="k", UploadId=started, PartNumber=number, Body=body,
                                    ChecksumAlgorithm=algorithm)
            named.append({"PartNumber": number, "ETag": answer["ETag"],
                          "Checksum" + algorithm: answer["Checksum" + algorithm]})
        done = complete(b, "k", started, named)
        if kind == "FULL_OBJECT":
            whole = s3.put_object(Bucket=b, Key="whole", Body=b"".join(bodies), ChecksumAlgorithm=algorithm)
            assert done["Checksum" + algorithm] == whole["Checksum" + algorithm]
        else:
            assert done["Checksum" + algorithm].endswith("-2")
        for part in named:
            seen = s3.get_object(Bucket=b, Key="k", PartNumber=part["PartNumber"])
            assert seen["Body"].read() == bodies[part["PartNumber"] - 1]
            assert seen["Checksum" + algorithm] == part["Checksum" + algorithm] and seen["ChecksumType"] == kind
        parts = s3.get_object_attributes(Bucket=b, Key="k", ObjectAttributes=["ObjectParts", "ETag"], MaxParts=1,
                                         PartNumberMarker=1)
        assert parts["ETag"] == done["ETag"].strip('"')
        page = parts["ObjectParts"]
        assert (page["TotalPartsCount"], page["IsTruncated"], page["PartNumberMarker"]) == (2, False, 1)
        assert page["Parts"] == [{"PartNumber": 2, "Size": 999, "Checksum" + algorithm: named[1]["Checksum" + algorithm]}]


def test_the_librarys_own_transfer_of_100_mb():
    import io
    b = new_bucket(s3)
    body = os.urandom(100_000_000)
    s3.upload_fileobj(io.BytesIO(body), b, "large")
    back = io.BytesIO()
    s3.download_fileobj(b, "large", back)
    assert back.getvalue() == body


def test_deleted_space_comes_back():
    b = new_bucket(s3)
    pool = client()
    for i in range(5):
        s3.put_object(Bucket=b, Key="k", Body=os.urandom(5 * MIB))
    started, _ = upload(b, "u", [(1, b"x" * 5 * MIB)])
    s3.abort_multipart_upload(Bucket=b, Key="u", UploadId=started)
    names = lambda: [name for name in basalt("obj", "ls", "s3.data").split()]
    basalt("gc", "process", "--include-all")
    before = len(names())
    s3.delete_object(Bucket=b, Key="k")
    basalt("gc", "process", "--include-all")
    assert len(names()) == before - 2, (before, names())
    s3.delete_bucket(Bucket=b)
    basalt("gc", "process", "--include-all")


def test_quotas():
    uid = "quota-" + os.urandom(4).hex()
    basalt("user", "create", "--uid", uid, "--display-name", "Q", "--access-key", uid, "--secret-key", "secret")
    import boto3
    from gateway import ENDPOINT
    theirs = boto3.client("s3", endpoint_url=ENDPOINT, aws_access_key_id=uid, aws_secret_access_key="secret",
                          region_name="us-east-1")
    bucket = new_bucket(theirs)
    basalt("user", "quota", "set", "--uid", uid, "--quota-scope", "bucket", "--max-objects", "2", "--max-size", "10k")
    for _ in range(3):
        theirs.put_object(Bucket=bucket, Key="k", Body=b"x")
    basalt("user", "quota", "enable", "--uid", uid, "--quota-scope", "bucket")
    time.sleep(2.2)
    theirs.put_object(Bucket=bucket, Key="l", Body=b"x")
    refused(403, "QuotaExceeded", theirs.put_object, Bucket=bucket, Key="m", Body=b"x")
    refused(403, "QuotaExceeded", theirs.put_object, Bucket=new_bucket(theirs), Key="m", Body=b"x" * 10241)
    # A bucket's own quota stands in for its owner's buckets'.
    basalt("bucket", "quota", "set", "--bucket", bucket, "--max-objects", "1000")
    basalt("bucket", "quota", "enable", "--bucket", bucket)
    theirs.put_object(Bucket=bucket, Key="m", Body=b"x")
    basalt("bucket", "quota", "disable", "--bucket", bucket)
    refused(403, "QuotaExceeded", theirs.put_object, Bucket=bucket, Key="n", Body=b"x")
    basalt("user", "modify", "--uid", uid, "--max-buckets", "2")
    time.sleep(2.2)
    refused(400, "TooManyBuckets", theirs.create_bucket, Bucket=bucket + "-more")
    basalt("user", "suspend", "--uid", uid)
    time.sleep(2.2)
    refused(403, "UserSuspended", theirs.list_buckets)
    basalt("user", "enable", "--uid", uid)
    time.sleep(2.2)
    theirs.list_buckets()


def test_rules_of_expiration():
    b, v = new_bucket(s3), versioned()
    old = datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)
    refused(404, "NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=b)
    rules = [{"ID": "past", "Status": "Enabled", "Filter": {"Prefix": "old/"}, "Expiration": {"Date": old}},
             {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Date": old}},
             {"ID": "days", "Status": "Enabled", "Filter": {"Prefix": "new/"}, "Expiration": {"Days": 1}}]
    for bucket in (b, v):
        s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        seen = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        assert [rule["ID"] for rule in seen] == ["past", "off", "days"] and seen[2]["Expiration"] == {"Days": 1}
        for key in ["old/1", "old/2", "new/1", "other"]:
            s3.put_object(Bucket=bucket, Key=key, Body=b"")
        seen = s3.head_object(Bucket=bucket, Key="new/1")
        midnight = seen["LastModified"].replace(hour=0, minute=0, second=0) + datetime.timedelta(days=2)
        assert seen["Expiration"] == f'expiry-date="{midnight:%a, %d %b %Y %H:%M:%S} GMT", rule-id="days"'
        assert "Expiration" not in s3.head_object(Bucket=bucket, Key="other")
    basalt("lc", "process")
    for bucket in (b, v):
        assert [item["Key"] for item in s3.list_objects(Bucket=bucket)["Contents"]] == ["new/1", "other"]
    assert len(all_versions(b)) == 2 and len(all_versions(v)) == 6
    wrong = [{"Status": "Enabled", "Prefix": "", "Expiration": {"Days": 0}}]
    refused(400, "InvalidArgument", s3.put_bucket_lifecycle_configuration, Bucket=b, LifecycleConfiguration={"Rules": wrong})
    wrong = [{"Status": "enabled", "Prefix": "", "Expiration": {"Days": 1}}]
    refused(400, "MalformedXML", s3.put_bucket_lifecycle_configuration, Bucket=b, LifecycleConfiguration={"Rules": wrong})
    wrong = [{"Status": "Enabled", "Prefix": "", "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}]
    refused(501, "NotImplemented", s3.put_bucket_lifecycle_configuration, Bucket=b, LifecycleConfiguration={"Rules": wrong})
    s3.delete_bucket_lifecycle(Bucket=b)
    refused(404, "NoSuchLifecycleConfiguration", s3.get_bucket_lifecycle_configuration, Bucket=b)


def test_versions_deleted_at_once_all_go():
    import threading
    b = versioned()
    for _ in range(30):
        versions = [s3.put_object(Bucket=b, Key="k", Body=b"")["VersionId"] for _ in range(5)]
        deleting = [threading.Thread(target=s3.delete_object, kwargs={"Bucket": b, "Key": "k", "VersionId": version})
                    for version in versions]
        for thread in deleting:
            thread.start()
        for thread in deleting:
            thread.join()
        assert all_versions(b) == [], "a deletion was lost"


def test_writers_of_one_key_leave_one_whole_object():
    b = new_bucket(s3)
    bodies = [bytes([65 + i]) * 300_000 for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda body: client().put_object(Bucket=b, Key="k", Body=body), bodies))
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() in bodies
    basalt("gc", "process", "--include-all")
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() in bodies


if __name__ == "__main__":
    run(sys.modules[__name__])
