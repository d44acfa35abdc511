"""Where Amazon leaves it open, or has it otherwise: what clients of Ceph's gateway rely on, case by case."""

import base64
import hashlib
import http.client
import json
import sys
import time

from gateway import ENDPOINT, client, new_bucket, refused, run

s3, other, nobody = client(), client("other"), client(None)
KEY = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32}
WRONG = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "w" * 32}


def connection():
    return http.client.HTTPConnection(ENDPOINT.removeprefix("http://"), timeout=20)


def asked(method, path, headers=(), body=None, over=None):
    """Asks by plain HTTP, with these headers only."""
    over = over or connection()
    over.putrequest(method, path, skip_accept_encoding=True)
    for name, value in headers:
        over.putheader(name, value)
    over.endheaders(body)
    answer = over.getresponse()
    return answer.status, answer.read()


def allow(bucket, action, **more):
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": action, **more}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def test_calls_of_later_days_touch_nothing():
    """Each has a name in its query, and without that would be a plain PUT or DELETE."""
    bucket, empty = new_bucket(s3), new_bucket(s3)
    s3.put_object(Bucket=bucket, Key="k", Body=b"as it was")
    named = {"Bucket": bucket, "Key": "k"}
    refused(501, "NotImplemented", s3.rename_object, RenameSource=f"/{bucket}/k", Bucket=bucket, Key="other")
    refused(501, "NotImplemented", s3.put_object_annotation, AnnotationName="a", AnnotationPayload=b"x", **named)
    refused(501, "NotImplemented", s3.delete_object_annotation, AnnotationName="a", **named)
    refused(501, "NotImplemented", s3.get_object_annotation, AnnotationName="a", **named)
    refused(501, "NotImplemented", s3.update_object_encryption, ObjectEncryption={"SSEKMS": {"KMSKeyArn": "k" * 20}}, **named)
    refused(501, "NotImplemented", s3.delete_bucket_metadata_configuration, Bucket=empty)
    refused(501, "NotImplemented", s3.get_bucket_abac, Bucket=bucket)
    refused(501, "NotImplemented", s3.put_bucket_abac, Bucket=bucket, AbacStatus={"Status": "Enabled"})
    allow(bucket, "s3:*", Resource=[f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"])
    for method in ("PUT", "DELETE", "POST"):
        for query in ("anything", "anything=", "annotation&annotationName=a"):
            status, said = asked(method, f"/{bucket}/k?{query}", [("Content-Length", "1")] if method != "DELETE" else [], b"x" if method != "DELETE" else None)
            assert status == 501 and b"NotImplemented" in said, (method, query, status, said)
    # What has a value is somebody's own remark.
    assert asked("GET", f"/{bucket}/k?anything=else")[1] == b"as it was"
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"as it was"
    assert s3.head_bucket(Bucket=empty)


def test_a_versioning_that_is_none():
    refused(400, "IllegalVersioningConfigurationException", s3.put_bucket_versioning, Bucket=new_bucket(s3), VersioningConfiguration={})


def test_a_region_that_is_none():
    refused(400, "InvalidLocationConstraint", s3.create_bucket, Bucket="conformance-nowhere",
            CreateBucketConfiguration={"LocationConstraint": "nowhere-1"})


def test_a_part_may_be_named_twice_and_the_later_name_counts():
    b = new_bucket(s3)
    upload = s3.create_multipart_upload(Bucket=b, Key="k")["UploadId"]
    etags = [s3.upload_part(Bucket=b, Key="k", UploadId=upload, PartNumber=1, Body=body)["ETag"] for body in (b"1", b"2")]
    named = [{"PartNumber": 1, "ETag": etag} for etag in etags]

    def complete(parts):
        return s3.complete_multipart_upload(Bucket=b, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    refused(400, "InvalidPart", complete, named[::-1])
    second = {"PartNumber": 2, "ETag": s3.upload_part(Bucket=b, Key="k", UploadId=upload, PartNumber=2, Body=b"")["ETag"]}
    refused(400, "InvalidPartOrder", complete, [second, named[1]])
    complete(named)
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"2"


def test_an_upload_with_a_clients_key_is_completed_with_it():
    b = new_bucket(s3)
    upload = s3.create_multipart_upload(Bucket=b, Key="k", **KEY)["UploadId"]
    etag = s3.upload_part(Bucket=b, Key="k", UploadId=upload, PartNumber=1, Body=b"part", **KEY)["ETag"]
    whole = {"Bucket": b, "Key": "k", "UploadId": upload, "MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": etag}]}}
    for wrong in ({}, WRONG):
        try:
            s3.complete_multipart_upload(**whole, **wrong)
        except s3.exceptions.ClientError as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400, error
        else:
            raise AssertionError(f"it was completed with {wrong}")
    done = s3.complete_multipart_upload(**whole, **KEY)["ResponseMetadata"]["HTTPHeaders"]
    assert done["x-amz-server-side-encryption-customer-algorithm"] == "AES256"
    md5 = base64.b64encode(hashlib.md5(b"k" * 32).digest()).decode()
    assert done["x-amz-server-side-encryption-customer-key-md5"] == md5
    assert s3.get_object(Bucket=b, Key="k", **KEY)["Body"].read() == b"part"


def test_that_there_is_no_such_part_is_told_without_a_key():
    b = new_bucket(s3)
    s3.put_object(Bucket=b, Key="k", Body=b"sealed", **KEY)
    refused(400, "InvalidPart", s3.get_object, Bucket=b, Key="k", PartNumber=2)
    refused(400, "InvalidRequest", s3.get_object, Bucket=b, Key="k", PartNumber=1)
    assert s3.get_object(Bucket=b, Key="k", PartNumber=1, **KEY)["Body"].read() == b"sealed"


def test_whether_something_is_allowed_is_told_before_whether_it_makes_sense():
    b = new_bucket(s3)
    refused(400, "InvalidArgument", s3.put_object, Bucket=b, Key="k", ServerSideEncryption="AES192")
    s3.put_bucket_policy(Bucket=b, Policy=json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{b}/*",
        "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}}}]}))
    refused(403, "AccessDenied", s3.put_object, Bucket=b, Key="k", ServerSideEncryption="AES192")
    s3.put_object(Bucket=b, Key="k", ServerSideEncryption="AES256")


def test_a_statement_without_a_resource_is_about_the_bucket():
    b = new_bucket(s3)
    s3.put_object(Bucket=b, Key="k", Body=b"x")
    allow(b, ["s3:ListBucket", "s3:GetObject"])
    assert [entry["Key"] for entry in other.list_objects_v2(Bucket=b)["Contents"]] == ["k"]
    assert other.get_object(Bucket=b, Key="k")["Body"].read() == b"x"
    refused(403, "AccessDenied", other.put_object, Bucket=b, Key="k", Body=b"y")


def test_an_object_of_no_length_is_refused():
    b = new_bucket(s3, ACL="public-read-write")
    status, body = asked("PUT", f"/{b}/k")
    assert status == 411 and b"<Code>MissingContentLength</Code>" in body, (status, body)
    assert asked("PUT", f"/{b}/k", [("Content-Length", "0")])[0] == 200
    # A document may be none.
    assert asked("PUT", f"/{b}/k?acl", [("x-amz-acl", "public-read")])[0] in (200, 403)


def test_an_empty_authorization_is_none():
    b = new_bucket(s3, ACL="public-read-write")
    status, body = asked("PUT", f"/{b}/k", [("Authorization", ""), ("Content-Length", "0")])
    assert status == 403 and b"<Code>AccessDenied</Code>" in body, (status, body)


def test_an_authorization_that_is_nonsense():
    b = new_bucket(s3, ACL="public-read-write")
    status, body = asked("PUT", f"/{b}/k", [("Authorization", "AWS HAHAHA"), ("Content-Length", "0")])
    assert status == 400 and b"<Code>InvalidArgument</Code>" in body, (status, body)


def test_an_error_says_that_it_is_xml():
    b = new_bucket(s3, ACL="public-read")
    over = connection()
    over.request("GET", f"/{b}/none")
    answer = over.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (404, "application/xml"), answer.headers.items()
    assert b"<Code>NoSuchKey</Code>" in answer.read()


def test_who_sends_all_before_looking_finds_the_answer():
    b = new_bucket(s3)
    body = bytes(16 << 20)
    over = connection()
    for _ in range(3):
        # The connection is still good after the refusal.
        status, said = asked("PUT", f"/{b}/k", [("Content-Length", str(len(body)))], body, over)
        assert status == 403 and b"<Code>AccessDenied</Code>" in said, (status, said)
    status, _ = asked("GET", f"/{b}", over=over)
    assert status == 403


def test_a_body_without_end_is_not_taken_in_for_ever():
    b = new_bucket(s3)
    over = connection()
    over.putrequest("PUT", f"/{b}/k")
    over.putheader("Content-Length", str(1 << 40))
    over.endheaders()
    begun = time.monotonic()
    sent = 0
    try:
        while time.monotonic() < begun + 30:
            over.send(bytes(1 << 20))
            sent += 1
    except OSError:
        pass
    assert sent < 200 and time.monotonic() < begun + 20, (sent, time.monotonic() - begun)


def test_where_an_object_sends_its_visitors():
    b = new_bucket(s3, ACL="public-read")
    for location in ("/there", "http://example.net/x", "https://example.net/"):
        s3.put_object(Bucket=b, Key="k", Body=b"x", ACL="public-read", WebsiteRedirectLocation=location)
        assert s3.head_object(Bucket=b, Key="k")["WebsiteRedirectLocation"] == location
        assert s3.get_object(Bucket=b, Key="k")["WebsiteRedirectLocation"] == location
        over = connection()
        over.request("GET", "/k", headers={"Host": f"{b}.s3-website.localhost"})
        assert over.getresponse().status == 404, "the bucket is no website yet"
    s3.put_bucket_website(Bucket=b, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})

    def visit(key):
        over = connection()
        over.request("GET", f"/{key}", headers={"Host": f"{b}.s3-website.localhost"})
        answer = over.getresponse()
        return answer.status, answer.headers["Location"], answer.read()
    assert visit("k") == (301, "https://example.net/", b"")
    s3.put_object(Bucket=b, Key="hidden", Body=b"x", WebsiteRedirectLocation="/there")
    status, location, page = visit("hidden")
    assert (status, location) == (403, None) and b"<li>Code: AccessDenied</li>" in page
    # A copy has its own.
    s3.copy_object(Bucket=b, Key="copy", CopySource={"Bucket": b, "Key": "k"}, ACL="public-read")
    assert visit("copy") == (200, None, b"x") and "WebsiteRedirectLocation" not in s3.head_object(Bucket=b, Key="copy")
    s3.copy_object(Bucket=b, Key="copy", CopySource={"Bucket": b, "Key": "k"}, ACL="public-read",
                   WebsiteRedirectLocation="/other")
    assert visit("copy") == (301, "/other", b"")
    for nonsense in ("there", "ftp://x/", "/" + "x" * 2048):
        refused(400, "InvalidRedirectLocation", s3.put_object, Bucket=b, Key="k", WebsiteRedirectLocation=nonsense)


def test_errors_of_websites_are_pages():
    b = new_bucket(s3, ACL="public-read")
    over = connection()

    def visit(method):
        over.request(method, "/none", headers={"Host": f"{b}.s3-website.localhost"})
        answer = over.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.headers["x-amz-error-code"], answer.read()
    status, kind, code, page = visit("GET")
    assert (status, code) == (404, "NoSuchWebsiteConfiguration") and kind.startswith("text/html")
    assert b"<li>Code: NoSuchWebsiteConfiguration</li>" in page and b.encode() in page, page
    s3.put_bucket_website(Bucket=b, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}})
    assert b"<li>Code: NoSuchKey</li>" in visit("GET")[3] and visit("HEAD")[3] == b""


def test_who_asks_where_requesters_pay_says_that_he_knows():
    b = new_bucket(s3, ACL="public-read")
    s3.put_object(Bucket=b, Key="k", Body=b"x", ACL="public-read")
    assert s3.get_bucket_request_payment(Bucket=b)["Payer"] == "BucketOwner"
    other.list_objects_v2(Bucket=b)
    refused(403, "AccessDenied", other.put_bucket_request_payment, Bucket=b,
            RequestPaymentConfiguration={"Payer": "Requester"})
    refused(400, "MalformedXML", s3.put_bucket_request_payment, Bucket=b, RequestPaymentConfiguration={"Payer": "King"})
    s3.put_bucket_request_payment(Bucket=b, RequestPaymentConfiguration={"Payer": "Requester"})
    assert s3.get_bucket_request_payment(Bucket=b)["Payer"] == "Requester"
    refused(403, "AccessDenied", other.get_object, Bucket=b, Key="k")
    refused(403, "AccessDenied", nobody.get_object, Bucket=b, Key="k", RequestPayer="requester")
    assert other.get_object(Bucket=b, Key="k", RequestPayer="requester")["Body"].read() == b"x"
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"x"
    s3.put_bucket_request_payment(Bucket=b, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    other.get_object(Bucket=b, Key="k")


if __name__ == "__main__":
    run(sys.modules[__name__])
