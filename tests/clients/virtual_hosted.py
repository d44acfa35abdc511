"""Buckets by their own names, BUCKET.localhost, as boto3 asks for them where the endpoint is a name."""

import http.client
import sys
import urllib.parse
import urllib.request

import boto3
import botocore.client

import loopback_names.sitecustomize  # noqa: F401
from gateway import ENDPOINT, KEYS, new_bucket, refused, run

PORT = urllib.parse.urlparse(ENDPOINT).port


def client(**config):
    """It checks that each request has the bucket in its host's name, and not in its path."""
    s3 = boto3.client("s3", endpoint_url=f"http://localhost:{PORT}", aws_access_key_id=KEYS["main"][0],
                      aws_secret_access_key=KEYS["main"][1], region_name="us-east-1",
                      config=botocore.client.Config(s3={"addressing_style": "virtual"}, **config))

    def check(request, **_):
        host = urllib.parse.urlparse(request.url).hostname
        assert host.endswith(".localhost"), request.url

    s3.meta.events.register("before-send.s3", check)
    return s3


def test_objects_of_all_kinds_of_names():
    for version in ("s3v4", "s3"):
        s3 = client(signature_version=version)
        bucket = new_bucket(s3)
        for key in ["a", "a/b c", "ü/&?=+%#", "/leading", "dir/", "..", bucket]:
            body = key.encode() * 100
            s3.put_object(Bucket=bucket, Key=key, Body=body, ContentType="text/x")
            got = s3.get_object(Bucket=bucket, Key=key)
            assert (got["Body"].read(), got["ContentType"]) == (body, "text/x"), key
            url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=60)
            assert urllib.request.urlopen(url).read() == body, url
            assert f"//{bucket}.localhost:" in url, url
        listed = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
        assert listed == sorted(["a", "a/b c", "ü/&?=+%#", "/leading", "dir/", "..", bucket]), listed
        s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "a/b c"})
        assert s3.head_object(Bucket=bucket, Key="copy")["ContentLength"] == 500
        gone = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in [*listed, "copy"]]})
        assert len(gone["Deleted"]) == 8, gone
        s3.delete_bucket(Bucket=bucket)
        refused(404, "NoSuchBucket", s3.list_objects_v2, Bucket=bucket)


def test_parts_and_settings():
    s3 = client()
    bucket = "with.dots-" + new_bucket(s3)
    s3.create_bucket(Bucket=bucket)
    body = bytes(range(256)) * 30_000
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k k")["UploadId"]
    parts = []
    for number, data in enumerate([body, body[:1000]], 1):
        tag = s3.upload_part(Bucket=bucket, Key="k k", UploadId=upload, PartNumber=number, Body=data)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    s3.complete_multipart_upload(Bucket=bucket, Key="k k", UploadId=upload, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="k k")["Body"].read() == body + body[:1000]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


def test_who_signs_for_one_bucket_does_not_get_another():
    s3 = client()
    one, two = new_bucket(s3), new_bucket(s3)
    s3.put_object(Bucket=two, Key="k", Body=b"two")
    url = urllib.parse.urlparse(s3.generate_presigned_url("get_object", Params={"Bucket": one, "Key": "k"}))
    for host, path in [(f"{two}.localhost:{PORT}", url.path), (f"localhost:{PORT}", f"/{two}{url.path}")]:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=20)
        connection.request("GET", f"{path}?{url.query}", headers={"Host": host})
        assert connection.getresponse().status == 403, host


if __name__ == "__main__":
    run(sys.modules[__name__])
