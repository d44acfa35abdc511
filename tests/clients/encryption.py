"""Encryption by the server: with the client's key, with the gateway's, and with keys that have names."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import boto3
import botocore.client

from gateway import ENDPOINT, KEYS, client, new_bucket, refused, run
from killed import configuration, free_port, start

s3 = client()
other = client("other")

CUSTOMER = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
WRONG = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "w" * 32}
CUSTOMER_MD5 = base64.b64encode(hashlib.md5(b"k" * 32).digest()).decode()
SOURCE = {"CopySource" + name: value for name, value in CUSTOMER.items()}
WRONG_SOURCE = {"CopySource" + name: value for name, value in WRONG.items()}
MASTER = {"ServerSideEncryption": "AES256"}
KMS = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "testkey-1"}


def body_of(size, seed="x"):
    block = b"".join(hashlib.sha256(f"{seed}{i}".encode()).digest() for i in range(1024))
    return (block * (size // len(block) + 1))[:size]


def encoded(options):
    if not options:
        return {}
    key = options["SSECustomerKey"].encode()
    return {**options, "SSECustomerKey": base64.b64encode(key).decode(),
            "SSECustomerKeyMD5": base64.b64encode(hashlib.md5(key).digest()).decode()}


def headers_of(answer):
    return {name: value for name, value in answer["ResponseMetadata"]["HTTPHeaders"].items()
            if name.startswith("x-amz-server-side-encryption")}


def with_headers(**headers):
    """A client that sends these with each request; botocore itself would not let nonsense pass."""
    odd = client()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    odd.meta.events.register("before-call.s3", lambda params, **_: params["headers"].update(named))
    return odd


def stored_pieces(path):
    """What a sparse file holds, in pieces that overlap, so that no word falls between two."""
    step, overlap = 1 << 24, 256
    with open(path, "rb") as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            hole = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            while at < hole:
                yield os.pread(file.fileno(), min(step, hole - at) + overlap, at)
                at += step
            at = hole


def stored(*words):
    """Those of the words that are in what the cluster's OSDs have stored, anywhere."""
    folder, found = os.path.dirname(os.environ["BASALT_CONFIG"]), set()
    for osd in os.listdir(folder):
        for path in (os.path.join(folder, osd, device) for device in ("base", "hot")):
            if osd.startswith("osd.") and os.path.exists(path):
                for piece in stored_pieces(path):
                    found |= {word for word in words if word in piece}
    return found


def test_a_clients_key_is_needed_again():
    b = new_bucket(s3)
    body = body_of(1000)
    made = s3.put_object(Bucket=b, Key="k", Body=body, **CUSTOMER)
    shown = {"x-amz-server-side-encryption-customer-algorithm": "AES256",
             "x-amz-server-side-encryption-customer-key-md5": CUSTOMER_MD5}
    assert headers_of(made) == shown, headers_of(made)
    assert made["ETag"] == '"' + hashlib.md5(body).hexdigest() + '"'
    got = s3.get_object(Bucket=b, Key="k", **CUSTOMER)
    assert got["Body"].read() == body and headers_of(got) == shown
    head = s3.head_object(Bucket=b, Key="k", **CUSTOMER)
    assert head["ContentLength"] == 1000 and headers_of(head) == shown
    assert s3.list_objects_v2(Bucket=b)["Contents"][0]["Size"] == 1000
    attributes = {"Bucket": b, "Key": "k", "ObjectAttributes": ["ObjectSize"]}
    # Here alone botocore leaves the encoding to who calls it.
    assert s3.get_object_attributes(**attributes, **encoded(CUSTOMER))["ObjectSize"] == 1000
    for wrong in ({}, WRONG):
        refused(400, "InvalidArgument" if wrong else "InvalidRequest", s3.get_object, Bucket=b, Key="k", **wrong)
        refused(400, "400", s3.head_object, Bucket=b, Key="k", **wrong)
        refused(400, "InvalidArgument" if wrong else "InvalidRequest", s3.get_object_attributes, **attributes,
                **encoded(wrong))
    # What does not touch the bytes goes without.
    s3.put_object_tagging(Bucket=b, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    s3.put_object_acl(Bucket=b, Key="k", ACL="private")
    s3.put_object(Bucket=b, Key="plain", Body=body)
    refused(400, "InvalidRequest", s3.get_object, Bucket=b, Key="plain", **CUSTOMER)
    # It is the same object for conditions.
    refused(412, "PreconditionFailed", s3.put_object, Bucket=b, Key="k", Body=b"", IfNoneMatch="*", **CUSTOMER)
    s3.put_object(Bucket=b, Key="k", Body=b"", IfMatch=made["ETag"], **CUSTOMER)
    assert s3.get_object(Bucket=b, Key="k", **CUSTOMER)["Body"].read() == b""
    refused(400, "InvalidArgument", s3.get_object, Bucket=b, Key="k", **WRONG)
    s3.delete_object(Bucket=b, Key="k")


def test_a_clients_key_that_makes_no_sense_is_refused():
    b = new_bucket(s3)
    key, md5 = base64.b64encode(b"k" * 32).decode(), CUSTOMER_MD5
    short = base64.b64encode(b"k" * 16).decode()
    short_md5 = base64.b64encode(hashlib.md5(b"k" * 16).digest()).decode()
    name = "x_amz_server_side_encryption_customer_"
    for code, headers in [
        ("InvalidEncryptionAlgorithmError", {"algorithm": "AES192", "key": key, "key_md5": md5}),
        ("InvalidArgument", {"key": key, "key_md5": md5}),
        ("InvalidArgument", {"algorithm": "AES256"}),
        ("InvalidArgument", {"algorithm": "AES256", "key": key}),
        ("InvalidArgument", {"algorithm": "AES256", "key": key, "key_md5": "AAAAAAAAAAAAAAAAAAAAAA=="}),
        ("InvalidArgument", {"algorithm": "AES256", "key": short, "key_md5": short_md5}),
        ("InvalidArgument", {"algorithm": "AES256", "key": "!", "key_md5": md5}),
    ]:
        odd = with_headers(**{name + field: value for field, value in headers.items()})
        refused(400, code, odd.put_object, Bucket=b, Key="k", Body=b"x")
        refused(400, code, odd.create_multipart_upload, Bucket=b, Key="k")
    both = with_headers(x_amz_server_side_encryption="AES256", x_amz_server_side_encryption_customer_algorithm="AES256",
                        x_amz_server_side_encryption_customer_key=key,
                        x_amz_server_side_encryption_customer_key_md5=md5)
    refused(400, "InvalidArgument", both.put_object, Bucket=b, Key="k", Body=b"x")
    refused(404, "NoSuchKey", s3.get_object, Bucket=b, Key="k")


def check_ranges(bucket, key, body, options):
    size = len(body)
    ends = [0, 1, 65_535, 65_536, 65_537, 1_048_575, 1_048_576, 4_194_303, 4_194_304, 4_195_000, size - 1]
    cuts = [(first, last) for first in ends for last in ends if first <= last < size]
    for first, last in cuts[::3] + [(size - 1, size - 1)]:
        got = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{last}", **options)
        assert got["ContentRange"] == f"bytes {first}-{last}/{size}"
        assert got["Body"].read() == body[first:last + 1], (first, last)
    refused(416, "InvalidRange", s3.get_object, Bucket=bucket, Key=key, Range=f"bytes={size}-", **options)


def test_sealed_objects_of_any_size_are_read_whole_and_in_ranges():
    b = new_bucket(s3)
    for size in (0, 1, 65_535, 65_536, 65_537, 131_072, 1_048_577):
        body = body_of(size)
        s3.put_object(Bucket=b, Key=str(size), Body=body, **CUSTOMER)
        got = s3.get_object(Bucket=b, Key=str(size), **CUSTOMER)
        assert got["ContentLength"] == size and got["Body"].read() == body
    body = body_of(9_500_001)
    for options, reading in ((CUSTOMER, CUSTOMER), (MASTER, {})):
        s3.put_object(Bucket=b, Key="large", Body=body, **options)
        assert s3.get_object(Bucket=b, Key="large", **reading)["Body"].read() == body
        check_ranges(b, "large", body, reading)


def upload(bucket, key, bodies, created, part_options):
    begun = s3.create_multipart_upload(Bucket=bucket, Key=key, **created)
    parts = []
    for number, body in enumerate(bodies, 1):
        # Each part is sent twice: the second attempt has other stripes, and another key.
        for _ in range(2):
            part = s3.upload_part(Bucket=bucket, Key=key, UploadId=begun["UploadId"], PartNumber=number, Body=body,
                                  **part_options)
        parts.append({"ETag": part["ETag"], "PartNumber": number})
    return begun, part, parts


def test_parts_are_sealed_too():
    b = new_bucket(s3)
    # The second is no multiple of a chunk.
    bodies = [body_of(5 << 20, "1"), body_of((5 << 20) + 77, "2"), body_of(100, "3")]
    whole = b"".join(bodies)
    for key, options, reading in (("c", CUSTOMER, CUSTOMER), ("m", MASTER, {}), ("k", KMS, {})):
        begun, part, parts = upload(b, key, bodies, options, reading)
        assert headers_of(begun) == headers_of(part) != {}, (headers_of(begun), headers_of(part))
        listed = s3.list_parts(Bucket=b, Key=key, UploadId=begun["UploadId"])["Parts"]
        assert [part["Size"] for part in listed] == [len(body) for body in bodies]
        done = s3.complete_multipart_upload(Bucket=b, Key=key, UploadId=begun["UploadId"],
                                            MultipartUpload={"Parts": parts}, **reading)
        assert done["ETag"].endswith('-3"')
        got = s3.get_object(Bucket=b, Key=key, **reading)
        assert headers_of(got) == headers_of(begun)
        assert got["ContentLength"] == len(whole) and got["Body"].read() == whole
        check_ranges(b, key, whole, reading)
        two = s3.get_object(Bucket=b, Key=key, PartNumber=2, **reading)
        assert two["Body"].read() == bodies[1] and two["PartsCount"] == 3
    refused(400, "InvalidArgument", s3.get_object, Bucket=b, Key="c", **WRONG)
    assert s3.head_bucket(Bucket=b)  # The sizes are those of the objects, not of what is stored.
    assert sum(entry["Size"] for entry in s3.list_objects_v2(Bucket=b)["Contents"]) == 3 * len(whole)


def test_each_part_comes_with_the_key_that_the_upload_began_with():
    b = new_bucket(s3)
    begun = s3.create_multipart_upload(Bucket=b, Key="k", **CUSTOMER)
    part = {"Bucket": b, "Key": "k", "UploadId": begun["UploadId"], "PartNumber": 1, "Body": b"x"}
    refused(400, "InvalidRequest", s3.upload_part, **part)
    refused(400, "InvalidArgument", s3.upload_part, **part, **WRONG)
    s3.put_object(Bucket=b, Key="source", Body=b"source")
    copy = {"Bucket": b, "Key": "k", "UploadId": begun["UploadId"], "PartNumber": 2,
            "CopySource": {"Bucket": b, "Key": "source"}}
    refused(400, "InvalidRequest", s3.upload_part_copy, **copy)
    s3.upload_part_copy(**copy, **CUSTOMER)
    s3.abort_multipart_upload(Bucket=b, Key="k", UploadId=begun["UploadId"])
    plain = s3.create_multipart_upload(Bucket=b, Key="k")
    refused(400, "InvalidRequest", s3.upload_part, **{**part, "UploadId": plain["UploadId"]}, **CUSTOMER)
    # How the server encrypts was said when the upload began; what a part says of it does not count.
    kms = s3.create_multipart_upload(Bucket=b, Key="k", **KMS)
    odd = with_headers(x_amz_server_side_encryption="aws:kms",
                       x_amz_server_side_encryption_aws_kms_key_id="testkey-not-present")
    answer = odd.upload_part(**{**part, "UploadId": kms["UploadId"]})
    assert headers_of(answer)["x-amz-server-side-encryption-aws-kms-key-id"] == "testkey-1"


def test_copies_are_opened_and_sealed_anew():
    b = new_bucket(s3)
    body = body_of(200_000)
    kinds = {"none": ({}, {}, {}), "client": (CUSTOMER, CUSTOMER, SOURCE), "master": (MASTER, {}, {}),
             "kms": (KMS, {}, {})}
    for source, (put, _, opening) in kinds.items():
        s3.put_object(Bucket=b, Key=source, Body=body, Metadata={"a": "b"}, **put)
        for target, (wanted, reading, _) in kinds.items():
            key = f"{source}-{target}"
            copied = s3.copy_object(Bucket=b, Key=key, CopySource={"Bucket": b, "Key": source}, **opening, **wanted)
            got = s3.get_object(Bucket=b, Key=key, **reading)
            assert got["Body"].read() == body and got["Metadata"] == {"a": "b"}
            assert headers_of(got) == headers_of(copied), (key, headers_of(got), headers_of(copied))
            assert (headers_of(got) == {}) == (target == "none")
            made = s3.create_multipart_upload(Bucket=b, Key=key, **wanted)
            part = s3.upload_part_copy(Bucket=b, Key=key, UploadId=made["UploadId"], PartNumber=1,
                                       CopySource={"Bucket": b, "Key": source}, CopySourceRange="bytes=65530-131100",
                                       **opening, **reading)
            s3.complete_multipart_upload(
                Bucket=b, Key=key, UploadId=made["UploadId"],
                MultipartUpload={"Parts": [{"ETag": part["CopyPartResult"]["ETag"], "PartNumber": 1}]}, **reading)
            assert s3.get_object(Bucket=b, Key=key, **reading)["Body"].read() == body[65530:131101]
    target = {"Bucket": b, "Key": "t", "CopySource": {"Bucket": b, "Key": "client"}}
    refused(400, "InvalidRequest", s3.copy_object, **target)
    refused(400, "InvalidArgument", s3.copy_object, **target, **WRONG_SOURCE)
    refused(400, "InvalidRequest", s3.copy_object, Bucket=b, Key="t", CopySource={"Bucket": b, "Key": "none"}, **SOURCE)
    # Onto itself, with another key.
    s3.copy_object(Bucket=b, Key="client", CopySource={"Bucket": b, "Key": "client"}, **SOURCE, **WRONG)
    refused(400, "InvalidArgument", s3.get_object, Bucket=b, Key="client", **CUSTOMER)
    assert s3.get_object(Bucket=b, Key="client", **WRONG)["Body"].read() == body


def test_versions_have_keys_of_their_own():
    b = new_bucket(s3)
    s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=b, Key="k", Body=b"1", **CUSTOMER)["VersionId"]
    second = s3.put_object(Bucket=b, Key="k", Body=b"2", **MASTER)["VersionId"]
    assert s3.get_object(Bucket=b, Key="k", VersionId=first, **CUSTOMER)["Body"].read() == b"1"
    refused(400, "InvalidArgument", s3.get_object, Bucket=b, Key="k", VersionId=first, **WRONG)
    s3.delete_object(Bucket=b, Key="k", VersionId=second)
    assert s3.get_object(Bucket=b, Key="k", **CUSTOMER)["Body"].read() == b"1"


def test_the_gateways_keys_are_named_and_unknown_ones_refused():
    b = new_bucket(s3)
    for options, shown in ((MASTER, {"x-amz-server-side-encryption": "AES256"}),
                           (KMS, {"x-amz-server-side-encryption": "aws:kms",
                                  "x-amz-server-side-encryption-aws-kms-key-id": "testkey-1"})):
        assert headers_of(s3.put_object(Bucket=b, Key="k", Body=b"x", **options)) == shown
        assert headers_of(s3.head_object(Bucket=b, Key="k")) == shown
        got = s3.get_object(Bucket=b, Key="k")
        assert headers_of(got) == shown and got["Body"].read() == b"x"
        refused(400, "InvalidRequest", s3.get_object, Bucket=b, Key="k", **CUSTOMER)
    unknown = {**KMS, "SSEKMSKeyId": "testkey-9"}
    refused(400, "InvalidArgument", s3.put_object, Bucket=b, Key="k", Body=b"y", **unknown)
    refused(400, "InvalidArgument", s3.put_object, Bucket=b, Key="k", Body=b"y", ServerSideEncryption="aws:kms")
    refused(400, "InvalidArgument", s3.create_multipart_upload, Bucket=b, Key="k", **unknown)
    context = base64.b64encode(b'{"for": "whom"}').decode()
    s3.put_object(Bucket=b, Key="c", Body=b"z", SSEKMSEncryptionContext=context, **KMS)
    assert s3.get_object(Bucket=b, Key="c")["Body"].read() == b"z"
    refused(400, "InvalidArgument", s3.put_object, Bucket=b, Key="c", Body=b"z", SSEKMSEncryptionContext="x", **KMS)
    for nonsense in ({"x_amz_server_side_encryption": "AES192"}, {"x_amz_server_side_encryption": "aes:kms"},
                     {"x_amz_server_side_encryption_aws_kms_key_id": "testkey-1"},
                     {"x_amz_server_side_encryption": "AES256",
                      "x_amz_server_side_encryption_aws_kms_key_id": "testkey-1"}):
        refused(400, "InvalidArgument", with_headers(**nonsense).put_object, Bucket=b, Key="k", Body=b"y")
    reading = with_headers(x_amz_server_side_encryption="AES256")
    refused(400, "InvalidArgument", reading.get_object, Bucket=b, Key="k")
    refused(400, "400", reading.head_object, Bucket=b, Key="k")
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"x"


def bucket_with_default(algorithm, **more):
    b = new_bucket(s3)
    default = {"SSEAlgorithm": algorithm, **more}
    s3.put_bucket_encryption(Bucket=b, ServerSideEncryptionConfiguration={
        "Rules": [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": False}]})
    return b


def test_a_bucket_says_how_its_objects_are_encrypted():
    for b, shown in ((bucket_with_default("AES256"), {"x-amz-server-side-encryption": "AES256"}),
                     (bucket_with_default("aws:kms", KMSMasterKeyID="testkey-2"),
                      {"x-amz-server-side-encryption": "aws:kms",
                       "x-amz-server-side-encryption-aws-kms-key-id": "testkey-2"})):
        body = body_of(70_000)
        assert headers_of(s3.put_object(Bucket=b, Key="k", Body=body)) == shown
        got = s3.get_object(Bucket=b, Key="k")
        assert headers_of(got) == shown and got["Body"].read() == body
        begun, part, parts = upload(b, "parts", [body], {}, {})
        assert headers_of(begun) == headers_of(part) == shown
        done = s3.complete_multipart_upload(Bucket=b, Key="parts", UploadId=begun["UploadId"],
                                            MultipartUpload={"Parts": parts})
        assert headers_of(done) == shown
        assert s3.get_object(Bucket=b, Key="parts")["Body"].read() == body
        # A request has its own way.
        s3.put_object(Bucket=b, Key="c", Body=body, **CUSTOMER)
        refused(400, "InvalidRequest", s3.get_object, Bucket=b, Key="c")
        assert headers_of(s3.put_object(Bucket=b, Key="m", Body=body, **MASTER)) == {
            "x-amz-server-side-encryption": "AES256"}
        copied = s3.copy_object(Bucket=b, Key="copy", CopySource={"Bucket": b, "Key": "c"}, **SOURCE)
        assert headers_of(copied) == shown and s3.get_object(Bucket=b, Key="copy")["Body"].read() == body
        s3.delete_bucket_encryption(Bucket=b)
        refused(404, "ServerSideEncryptionConfigurationNotFoundError", s3.get_bucket_encryption, Bucket=b)
        assert headers_of(s3.put_object(Bucket=b, Key="none", Body=body)) == {}
        assert s3.get_object(Bucket=b, Key="k")["Body"].read() == body


def test_a_buckets_encryption_is_set_by_its_owner_and_makes_sense():
    b = bucket_with_default("aws:kms", KMSMasterKeyID="testkey-1")
    rule = s3.get_bucket_encryption(Bucket=b)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "testkey-1"}

    def put(who, *rules):
        configuration = {"Rules": [{"ApplyServerSideEncryptionByDefault": rule} for rule in rules]}
        return who.put_bucket_encryption(Bucket=b, ServerSideEncryptionConfiguration=configuration)
    refused(403, "AccessDenied", put, other, {"SSEAlgorithm": "AES256"})
    refused(403, "AccessDenied", other.get_bucket_encryption, Bucket=b)
    refused(403, "AccessDenied", other.delete_bucket_encryption, Bucket=b)
    refused(400, "MalformedXML", put, s3, {"SSEAlgorithm": "aws:kms"})
    refused(400, "MalformedXML", put, s3, {"SSEAlgorithm": "AES512"})
    refused(400, "InvalidArgument", put, s3, {"SSEAlgorithm": "AES256", "KMSMasterKeyID": "testkey-1"})
    refused(400, "MalformedXML", put, s3, {"SSEAlgorithm": "AES256"}, {"SSEAlgorithm": "AES256"})


def with_policy(b, *conditions):
    statements = [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{b}/*",
                   "Condition": condition} for condition in conditions]
    s3.put_bucket_policy(Bucket=b, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))


def test_policies_say_how_objects_have_to_be_encrypted():
    b = new_bucket(s3)
    put = {"Bucket": b, "Key": "k", "Body": b"x"}
    name = "s3:x-amz-server-side-encryption"
    with_policy(b, {"StringNotEquals": {name: "AES256"}}, {"Null": {name: "true"}})
    refused(403, "AccessDenied", s3.put_object, **put)
    refused(403, "AccessDenied", s3.put_object, **put, **KMS)
    s3.put_object(**put, **MASTER)
    with_policy(b, {"StringNotEquals": {name: "aws:kms"}}, {"Null": {name: "true"}})
    refused(403, "AccessDenied", s3.put_object, **put)
    refused(403, "AccessDenied", s3.put_object, **put, **MASTER)
    s3.put_object(**put, **KMS)
    with_policy(b, {"StringNotEquals": {name + "-aws-kms-key-id": "testkey-1"}})
    refused(403, "AccessDenied", s3.put_object, **put, **{**KMS, "SSEKMSKeyId": "testkey-2"})
    s3.put_object(**put, **KMS)
    with_policy(b, {"Null": {name + "-customer-algorithm": "true"}})
    refused(403, "AccessDenied", s3.put_object, **put)
    s3.put_object(**put, **CUSTOMER)
    with_policy(b, {"StringNotEquals": {name + "-customer-algorithm": "AES256"}})
    key = base64.b64encode(b"k" * 32).decode()
    odd = with_headers(x_amz_server_side_encryption_customer_algorithm="AES192",
                       x_amz_server_side_encryption_customer_key=key,
                       x_amz_server_side_encryption_customer_key_md5=CUSTOMER_MD5)
    refused(403, "AccessDenied", odd.put_object, **put)
    s3.put_object(**put, **CUSTOMER)


def post(bucket, fields, body=b"bar"):
    """Uploads by a form that is signed as browsers' are; the answer's status and headers."""
    conditions = [{"bucket": bucket}, ["content-length-range", 0, 1 << 20]]
    conditions += [["starts-with", "$" + name, ""] for name in fields]
    policy = base64.b64encode(json.dumps(
        {"expiration": "2099-01-01T00:00:00Z", "conditions": conditions}).encode())
    access, secret = KEYS["main"]
    signature = base64.b64encode(hmac.new(secret.encode(), policy, hashlib.sha1).digest()).decode()
    fields = {**fields, "AWSAccessKeyId": access, "signature": signature, "policy": policy.decode()}
    form = b"".join(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
                    for name, value in fields.items())
    form += b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + body + b"\r\n--b--\r\n"
    request = urllib.request.Request(f"{ENDPOINT}/{bucket}", form, {"Content-Type": "multipart/form-data; boundary=b"})
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}
    except urllib.error.HTTPError as error:
        return error.code, {}


def test_forms_say_how_their_file_is_encrypted():
    b = new_bucket(s3)
    name = "x-amz-server-side-encryption"
    customer = {name + "-customer-algorithm": "AES256", name + "-customer-key": base64.b64encode(b"k" * 32).decode(),
                name + "-customer-key-md5": CUSTOMER_MD5}
    status, headers = post(b, {"key": "c", **customer})
    assert status == 204 and headers[name + "-customer-key-md5"] == CUSTOMER_MD5
    assert s3.get_object(Bucket=b, Key="c", **CUSTOMER)["Body"].read() == b"bar"
    refused(400, "InvalidRequest", s3.get_object, Bucket=b, Key="c")
    assert post(b, {"key": "c", **customer, name + "-customer-key-md5": "AAAA"})[0] == 400
    assert post(b, {"key": "k", name: "aws:kms", name + "-aws-kms-key-id": "testkey-1"})[0] == 204
    assert headers_of(s3.head_object(Bucket=b, Key="k"))[name + "-aws-kms-key-id"] == "testkey-1"
    assert post(b, {"key": "k", name: "aws:kms", name + "-aws-kms-key-id": "testkey-9"})[0] == 400
    with_policy(b, {"StringNotEquals": {"s3:" + name: "AES256"}})
    assert post(b, {"key": "m"})[0] == 403
    assert post(b, {"key": "m", name: "AES256"})[0] == 204
    # What a bucket says goes for forms, too.
    default = bucket_with_default("AES256")
    assert post(default, {"key": "k"})[1][name] == "AES256"
    assert s3.get_object(Bucket=default, Key="k")["Body"].read() == b"bar"


def test_a_new_master_key_takes_over_and_the_old_one_still_opens():
    b = new_bucket(s3)
    once = client(retries={"total_max_attempts": 1})
    path = os.path.join(os.path.dirname(os.environ["BASALT_CONFIG"]), "s3.keys")
    with open(path, encoding="ascii") as file:
        before = file.read()

    def now(text):
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        time.sleep(2.5)
    s3.put_object(Bucket=b, Key="old", Body=b"old", **MASTER)
    newer = f"master newer {os.urandom(32).hex()}\n"
    try:
        now(newer + before)
        s3.put_object(Bucket=b, Key="new", Body=b"new", **MASTER)
        assert s3.get_object(Bucket=b, Key="old")["Body"].read() == b"old"
        now("master what is this\n")
        # What can't be read changes nothing.
        assert s3.get_object(Bucket=b, Key="new")["Body"].read() == b"new"
        now(before)
        refused(500, "InternalError", once.get_object, Bucket=b, Key="new")
        assert s3.get_object(Bucket=b, Key="old")["Body"].read() == b"old"
        now(newer)
        refused(500, "InternalError", once.get_object, Bucket=b, Key="old")
        assert s3.get_object(Bucket=b, Key="new")["Body"].read() == b"new"
    finally:
        now(before)


def test_a_gateway_without_tls_takes_no_clients_key_unless_told_so():
    """As `basaltd s3` is configured by default, and not as `basaltd dev` is."""
    port = free_port()
    process = start(configuration(port), port)
    plain = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id=KEYS["main"][0],
                         aws_secret_access_key=KEYS["main"][1], region_name="us-east-1",
                         config=botocore.client.Config(retries={"total_max_attempts": 1}))
    b = new_bucket(plain)
    s3.put_object(Bucket=b, Key="k", Body=b"x", **CUSTOMER)
    refused(400, "InvalidRequest", plain.get_object, Bucket=b, Key="k", **CUSTOMER)
    refused(400, "InvalidRequest", plain.put_object, Bucket=b, Key="k", Body=b"y", **CUSTOMER)
    # It was given no keys either.
    refused(501, "NotImplemented", plain.put_object, Bucket=b, Key="k", Body=b"y", **MASTER)
    refused(400, "InvalidArgument", plain.put_object, Bucket=b, Key="k", Body=b"y", **KMS)
    process.terminate()
    process.wait(20)


def test_a_file_of_keys_that_others_can_read_is_not_taken():
    path = configuration(free_port(), 'encryption_keys = "keys"\n')
    keys = os.path.join(os.path.dirname(path), "keys")
    for mode, text in ((0o644, f"master a {'00' * 32}\n"), (0o600, "master a 00\n")):
        with open(keys, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(keys, mode)
        ended = subprocess.run([os.environ["S3_BASALTD"], "s3", "--config", path], capture_output=True, text=True,
                               timeout=30)
        assert ended.returncode == 22 and keys in ended.stderr, ended


def test_nothing_of_it_is_stored_in_the_clear():
    b = new_bucket(s3)
    secret, plain = b"not-for-the-disks-" + os.urandom(8).hex().encode(), b"in-clear-text-" + os.urandom(8).hex().encode()
    s3.put_object(Bucket=b, Key="plain", Body=plain)
    for key, options in (("c", CUSTOMER), ("m", MASTER), ("k", KMS)):
        s3.put_object(Bucket=b, Key=key, Body=secret * 100, **options)
    path = os.path.join(os.path.dirname(os.environ["BASALT_CONFIG"]), "s3.keys")
    assert os.stat(path).st_mode & 0o777 == 0o600
    with open(path, encoding="ascii") as file:
        lines = [line.split() for line in file if line.strip()]
    assert [line[0] for line in lines] == ["master", "kms", "kms"]
    keys = [b"k" * 32] + [bytes.fromhex(line[2]) for line in lines]
    words = keys + [form for key in keys for form in (base64.b64encode(key), key.hex().encode())]
    # That what is not encrypted is found shows that the rest would be.
    assert stored(plain, secret, *words) == {plain}


if __name__ == "__main__":
    run(sys.modules[__name__])
