"""ACLs, policies, anonymous requests and cross-origin rules."""

import http.client
import json
import sys
import urllib.error
import urllib.request

import botocore
import botocore.exceptions

from gateway import ENDPOINT, client, new_bucket, refused, run

s3 = client()
other = client("other")
anonymous = client(None)


def fetch(path, method="GET", **headers):
    request = urllib.request.Request(ENDPOINT + path, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def allow(bucket, action, resource, principal="*", effect="Allow", **more):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": effect, "Principal": principal, "Action": action, "Resource": resource, **more}]})


def test_private_is_private():
    b = new_bucket(s3)
    s3.put_object(Bucket=b, Key="k", Body=b"x")
    for who in (other, anonymous):
        refused(403, "AccessDenied", who.get_object, Bucket=b, Key="k")
        refused(403, "AccessDenied", who.get_object, Bucket=b, Key="none")
        refused(403, "403", who.head_object, Bucket=b, Key="k")
        refused(403, "AccessDenied", who.list_objects, Bucket=b)
        refused(403, "AccessDenied", who.list_objects_v2, Bucket=b)
        refused(403, "AccessDenied", who.list_object_versions, Bucket=b)
        refused(403, "AccessDenied", who.put_object, Bucket=b, Key="k", Body=b"y")
        refused(403, "AccessDenied", who.delete_object, Bucket=b, Key="k")
        refused(403, "AccessDenied", who.get_bucket_acl, Bucket=b)
        refused(403, "AccessDenied", who.put_bucket_acl, Bucket=b, ACL="public-read")
        refused(403, "AccessDenied", who.get_object_acl, Bucket=b, Key="k")
        refused(403, "AccessDenied", who.put_object_acl, Bucket=b, Key="k", ACL="public-read")
        refused(403, "AccessDenied", who.get_bucket_policy, Bucket=b)
        refused(403, "AccessDenied", who.put_bucket_policy, Bucket=b, Policy=allow(b, "s3:*", f"arn:aws:s3:::{b}"))
        refused(403, "AccessDenied", who.delete_bucket_policy, Bucket=b)
        refused(403, "AccessDenied", who.get_bucket_versioning, Bucket=b)
        refused(403, "AccessDenied", who.put_bucket_versioning, Bucket=b, VersioningConfiguration={"Status": "Enabled"})
        refused(403, "AccessDenied", who.create_multipart_upload, Bucket=b, Key="k")
        refused(403, "AccessDenied", who.list_multipart_uploads, Bucket=b)
        refused(403, "AccessDenied", who.get_object_tagging, Bucket=b, Key="k")
        refused(403, "AccessDenied", who.put_bucket_tagging, Bucket=b, Tagging={"TagSet": []})
        refused(403, "AccessDenied", who.get_bucket_cors, Bucket=b)
        refused(403, "AccessDenied", who.delete_bucket, Bucket=b)
    refused(403, "AccessDenied", anonymous.create_bucket, Bucket=b + "-2")
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"x"


# Of nobody's bucket, or of kinds of buckets that are not here.
NOT_OF_A_BUCKET = {"ListBuckets", "ListDirectoryBuckets", "CreateBucket", "CreateSession", "WriteGetObjectResponse"}


def filled(shape, known):
    """The least that the library lets pass for a shape."""
    if shape.type_name == "structure":
        names = shape.required_members or (list(shape.members)[:1] if getattr(shape, "is_tagged_union", False) else [])
        return {name: known[name] if name in known else filled(shape.members[name], known) for name in names}
    if shape.type_name == "list":
        return [filled(shape.member, known)]
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else "x" * max(1, shape.metadata.get("min", 1))
    return {"integer": 1, "long": 1, "boolean": True, "timestamp": "2030-01-01T00:00:00Z", "blob": b"x"}[shape.type_name]


def test_no_call_whatever_is_answered_to_strangers():
    bucket = new_bucket(s3)
    s3.put_object(Bucket=bucket, Key="k", Body=b"mine")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    known = {"Bucket": bucket, "Key": "k", "UploadId": upload, "CopySource": {"Bucket": bucket, "Key": "k"}, "PartNumber": 1,
             "Policy": allow(bucket, "s3:*", f"arn:aws:s3:::{bucket}"), "RenameSource": f"/{bucket}/k"}
    # Where the least is too little to be looked at.
    rule = {"ID": "x", "Status": "Enabled", "Prefix": "", "Expiration": {"Days": 1}}
    whole = {
        "CompleteMultipartUpload": {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": "x"}]}},
        "PutBucketAcl": {"ACL": "public-read"},
        "PutBucketCors": {"CORSConfiguration": {"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}},
        "PutBucketEncryption": {"ServerSideEncryptionConfiguration": {"Rules": [
            {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]}},
        "PutBucketLifecycle": {"LifecycleConfiguration": {"Rules": [rule]}},
        "PutBucketLifecycleConfiguration": {"LifecycleConfiguration": {"Rules": [rule]}},
        "PutBucketVersioning": {"VersioningConfiguration": {"Status": "Enabled"}},
        "PutBucketWebsite": {"WebsiteConfiguration": {"IndexDocument": {"Suffix": "i"}}},
        "PutObjectAcl": {"ACL": "public-read"},
        "PutObjectLegalHold": {"LegalHold": {"Status": "ON"}},
        "PutObjectLockConfiguration": {"ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}},
        "PutObjectRetention": {"Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": "2030-01-01T00:00:00Z"}},
    }
    model = s3.meta.service_model
    calls, told = 0, []
    for name in sorted(set(model.operation_names) - NOT_OF_A_BUCKET):
        words = filled(model.operation_model(name).input_shape, known) | whole.get(name, {})
        for who in (other, anonymous):
            calls += 1
            try:
                answer = getattr(who, botocore.xform_name(name))(**words)
                if not (name == "DeleteObjects" and [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]):
                    told.append((name, who is anonymous, answer))
            except botocore.exceptions.ClientError as error:
                code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
                # An answer to HEAD has no code. What is not here is not here for anybody.
                if status != 403 and code != "NotImplemented":
                    told.append((name, who is anonymous, status, code))
    assert calls > 150, calls
    assert not told, told
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"mine"
    assert "Parts" not in s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)


def test_canned_acls():
    b = new_bucket(s3, ACL="public-read")
    s3.put_object(Bucket=b, Key="private", Body=b"x")
    s3.put_object(Bucket=b, Key="public", Body=b"x", ACL="public-read")
    s3.put_object(Bucket=b, Key="known", Body=b"x", ACL="authenticated-read")
    assert len(anonymous.list_objects(Bucket=b)["Contents"]) == 3
    assert anonymous.get_object(Bucket=b, Key="public")["Body"].read() == b"x"
    refused(403, "AccessDenied", anonymous.get_object, Bucket=b, Key="private")
    refused(403, "AccessDenied", anonymous.get_object, Bucket=b, Key="known")
    refused(404, "NoSuchKey", anonymous.get_object, Bucket=b, Key="none")
    assert other.get_object(Bucket=b, Key="known")["Body"].read() == b"x"
    refused(403, "AccessDenied", other.put_object, Bucket=b, Key="k", Body=b"")
    s3.put_bucket_acl(Bucket=b, ACL="public-read-write")
    other.put_object(Bucket=b, Key="theirs", Body=b"")
    anonymous.put_object(Bucket=b, Key="nobodys", Body=b"")
    refused(403, "AccessDenied", s3.get_object, Bucket=b, Key="theirs")
    other.put_object(Bucket=b, Key="theirs", Body=b"", ACL="bucket-owner-read")
    s3.get_object(Bucket=b, Key="theirs")
    s3.put_object_acl(Bucket=b, Key="public", ACL="private")
    refused(403, "AccessDenied", anonymous.get_object, Bucket=b, Key="public")


def test_acls_as_documents_and_grants():
    b = new_bucket(s3)
    acl = s3.get_bucket_acl(Bucket=b)
    assert acl["Owner"]["ID"] == "main"
    assert [(grant["Grantee"]["ID"], grant["Grantee"]["Type"], grant["Permission"]) for grant in acl["Grants"]] == [
        ("main", "CanonicalUser", "FULL_CONTROL")]
    for permission, listing, writing, acp in [("READ", True, False, False), ("WRITE", False, True, False),
                                              ("READ_ACP", False, False, True), ("FULL_CONTROL", True, True, True)]:
        grants = acl["Grants"] + [{"Grantee": {"Type": "CanonicalUser", "ID": "other"}, "Permission": permission}]
        s3.put_bucket_acl(Bucket=b, AccessControlPolicy={"Owner": acl["Owner"], "Grants": grants})
        for may, call, options in [(listing, other.list_objects, {}), (writing, other.put_object, {"Key": "k", "Body": b""}),
                                   (acp, other.get_bucket_acl, {})]:
            if may:
                call(Bucket=b, **options)
            else:
                refused(403, "AccessDenied", call, Bucket=b, **options)
    s3.put_object(Bucket=b, Key="g", Body=b"x", GrantRead='emailAddress="other@example.net"')
    assert other.get_object(Bucket=b, Key="g")["Body"].read() == b"x"
    refused(400, "UnresolvableGrantByEmailAddress", s3.put_object, Bucket=b, Key="g", Body=b"", GrantRead='emailAddress="no@one"')
    refused(400, "InvalidArgument", s3.put_object, Bucket=b, Key="g", Body=b"", GrantRead="id=nobody")


def test_a_policy_counts_from_the_next_request_on():
    b = new_bucket(s3)
    s3.put_object(Bucket=b, Key="dir/k", Body=b"x")
    refused(404, "NoSuchBucketPolicy", s3.get_bucket_policy, Bucket=b)
    for resource in [f"arn:aws:s3:::{b}/*", f"arn:aws:s3::*:{b}/dir/*"]:
        text = allow(b, "s3:GetObject", resource)
        s3.put_bucket_policy(Bucket=b, Policy=text)
        assert s3.get_bucket_policy(Bucket=b)["Policy"] == text
        assert fetch(f"/{b}/dir/k")[:2] == (200, b"x")
        assert fetch(f"/{b}")[0] == 403 and fetch(f"/{b}/dir/none")[0] == 403
        assert fetch(f"/{b}/dir/k", method="DELETE")[0] == 403
        s3.delete_bucket_policy(Bucket=b)
        assert fetch(f"/{b}/dir/k")[0] == 403
    s3.put_bucket_policy(Bucket=b, Policy=allow(b, "s3:ListBucket", f"arn:aws:s3:::{b}",
                                                principal={"AWS": "arn:aws:iam:::user/other"}))
    assert len(other.list_objects(Bucket=b)["Contents"]) == 1
    assert len(other.list_objects_v2(Bucket=b)["Contents"]) == 1
    refused(403, "AccessDenied", anonymous.list_objects, Bucket=b)
    s3.put_bucket_policy(Bucket=b, Policy=allow(b, "s3:GetObject", f"arn:aws:s3:::{b}/*", effect="Deny"))
    refused(403, "AccessDenied", s3.get_object, Bucket=b, Key="dir/k")
    s3.put_bucket_policy(Bucket=b, Policy=allow(b, "s3:ListBucket", f"arn:aws:s3:::{b}",
                                                Condition={"StringEquals": {"s3:prefix": "dir/"}}))
    anonymous.list_objects(Bucket=b, Prefix="dir/")
    refused(403, "AccessDenied", anonymous.list_objects, Bucket=b, Prefix="other/")
    s3.put_bucket_policy(Bucket=b, Policy=allow(b, "s3:GetObject", f"arn:aws:s3:::{b}/*",
                                                Condition={"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}))
    assert fetch(f"/{b}/dir/k")[0] == 200
    s3.put_bucket_policy(Bucket=b, Policy=allow(b, "s3:GetObject", f"arn:aws:s3:::{b}/*",
                                                Condition={"Bool": {"aws:SecureTransport": "true"}}))
    assert fetch(f"/{b}/dir/k")[0] == 403
    refused(400, "MalformedPolicy", s3.put_bucket_policy, Bucket=b, Policy="{}")
    refused(400, "MalformedPolicy", s3.put_bucket_policy, Bucket=b, Policy="no json")


def test_a_policy_lets_nobody_in_by_leaving_some_out():
    b = new_bucket(s3)
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "NotPrincipal": {"AWS": "other"},
                                                      "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{b}/*"}]}
    refused(400, "MalformedPolicy", s3.put_bucket_policy, Bucket=b, Policy=json.dumps(policy))


def test_public_access_is_blocked():
    b = new_bucket(s3)
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": True, "RestrictPublicBuckets": False}
    refused(404, "NoSuchPublicAccessBlockConfiguration", s3.get_public_access_block, Bucket=b)
    s3.put_public_access_block(Bucket=b, PublicAccessBlockConfiguration=block)
    assert s3.get_public_access_block(Bucket=b)["PublicAccessBlockConfiguration"] == block
    refused(403, "AccessDenied", s3.put_bucket_acl, Bucket=b, ACL="public-read")
    refused(403, "AccessDenied", s3.put_object, Bucket=b, Key="k", Body=b"", ACL="public-read")
    refused(403, "AccessDenied", s3.put_bucket_policy, Bucket=b, Policy=allow(b, "s3:GetObject", f"arn:aws:s3:::{b}/*"))
    s3.delete_public_access_block(Bucket=b)
    s3.put_bucket_acl(Bucket=b, ACL="public-read")
    assert s3.get_bucket_policy_status(Bucket=b)["PolicyStatus"]["IsPublic"]
    s3.put_public_access_block(Bucket=b, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    refused(403, "AccessDenied", anonymous.list_objects, Bucket=b)


def test_cross_origin():
    b = new_bucket(s3)
    s3.put_object(Bucket=b, Key="k", Body=b"x", ACL="public-read")
    refused(404, "NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=b)
    rules = [{"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://*.example.net"], "AllowedHeaders": ["x-amz-*"],
              "ExposeHeaders": ["x-amz-meta-a"], "MaxAgeSeconds": 50}]
    s3.put_bucket_cors(Bucket=b, CORSConfiguration={"CORSRules": rules})
    assert s3.get_bucket_cors(Bucket=b)["CORSRules"] == rules
    status, _, headers = fetch(f"/{b}/k", "OPTIONS", Origin="https://a.example.net",
                               **{"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-amz-a"})
    assert status == 200 and headers["Access-Control-Allow-Origin"] == "https://a.example.net"
    assert headers["Access-Control-Allow-Headers"] == "x-amz-a" and headers["Access-Control-Max-Age"] == "50"
    assert fetch(f"/{b}/k", "OPTIONS", Origin="https://evil", **{"Access-Control-Request-Method": "GET"})[0] == 403
    assert fetch(f"/{b}/k", "OPTIONS", Origin="https://a.example.net", **{"Access-Control-Request-Method": "DELETE"})[0] == 403
    assert fetch(f"/{b}/k", "OPTIONS")[0] == 400
    _, _, headers = fetch(f"/{b}/k", Origin="https://a.example.net")
    assert headers["Access-Control-Allow-Origin"] == "https://a.example.net"
    assert headers["Access-Control-Expose-Headers"] == "x-amz-meta-a"
    assert fetch(f"/{b}/k", Origin="https://evil")[2]["Access-Control-Allow-Origin"] is None
    s3.delete_bucket_cors(Bucket=b)
    refused(404, "NoSuchCORSConfiguration", s3.get_bucket_cors, Bucket=b)


def test_websites():
    b = new_bucket(s3)
    host = f"{b}.s3-website.localhost"

    def visit(path, method="GET", at=host):
        """Follows no redirection."""
        connection = http.client.HTTPConnection(ENDPOINT.removeprefix("http://"))
        connection.request(method, path, headers={"Host": at})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers

    assert visit("/")[0] == 404 and b"NoSuchWebsiteConfiguration" in visit("/")[1]
    refused(404, "NoSuchWebsiteConfiguration", s3.get_bucket_website, Bucket=b)
    wanted = {"IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "sorry.html"}}
    s3.put_bucket_website(Bucket=b, WebsiteConfiguration=wanted)
    seen = s3.get_bucket_website(Bucket=b)
    assert {name: seen[name] for name in wanted} == wanted
    refused(403, "AccessDenied", other.get_bucket_website, Bucket=b)
    for key in ["index.html", "a b/index.html", "page", "sorry.html"]:
        s3.put_object(Bucket=b, Key=key, Body=key.encode(), ContentType="text/html", ACL="public-read")
    s3.put_object(Bucket=b, Key="hidden", Body=b"secret")
    assert visit("/")[:2] == (200, b"index.html") and visit("/page")[:2] == (200, b"page")
    assert visit("/")[2]["Content-Type"] == "text/html"
    assert visit("/a%20b/")[:2] == (200, b"a b/index.html")
    status, _, headers = visit("/a%20b")
    assert (status, headers["Location"]) == (302, "/a%20b/")
    # Who may not list learns nothing of what is there.
    assert visit("/none")[:2] == (403, b"sorry.html") and visit("/hidden")[:2] == (403, b"sorry.html")
    s3.put_bucket_acl(Bucket=b, ACL="public-read")
    assert visit("/none")[:2] == (404, b"sorry.html") and visit("/none", "HEAD")[:2] == (404, b"")
    assert visit("/page", "PUT")[0] == 405 and visit("/page?acl")[1] == b"page"
    rules = [{"Condition": {"KeyPrefixEquals": "docs/"}, "Redirect": {"ReplaceKeyPrefixWith": "a b/"}},
             {"Condition": {"HttpErrorCodeReturnedEquals": "404", "KeyPrefixEquals": "old/"},
              "Redirect": {"HostName": "example.net", "Protocol": "https", "HttpRedirectCode": "302",
                           "ReplaceKeyWith": "gone.html"}}]
    s3.put_bucket_website(Bucket=b, WebsiteConfiguration={**wanted, "RoutingRules": rules})
    assert s3.get_bucket_website(Bucket=b)["RoutingRules"] == rules

    def sent(path):
        status, _, headers = visit(path)
        return status, headers["Location"]
    assert sent("/docs/x%20y") == (301, f"http://{host}/a%20b/x%20y")
    assert sent("/old/x") == (302, "https://example.net/gone.html")
    s3.put_object(Bucket=b, Key="old/there", Body=b"there", ACL="public-read")
    assert visit("/old/there")[:2] == (200, b"there") and visit("/none")[:2] == (404, b"sorry.html")
    for nonsense in ({"Redirect": {"HttpRedirectCode": "302"}},
                     {"Redirect": {"ReplaceKeyWith": "a", "ReplaceKeyPrefixWith": "b"}},
                     {"Redirect": {"HostName": "h", "HttpRedirectCode": "200"}},
                     {"Condition": {"HttpErrorCodeReturnedEquals": "200"}, "Redirect": {"HostName": "h"}}):
        refused(400, "InvalidArgument", s3.put_bucket_website, Bucket=b,
                WebsiteConfiguration={**wanted, "RoutingRules": [nonsense]})
    s3.put_bucket_website(Bucket=b, WebsiteConfiguration={"RedirectAllRequestsTo": {"HostName": "example.net", "Protocol": "https"}})
    status, _, headers = visit("/page?x=1")
    assert (status, headers["Location"]) == (301, "https://example.net/page?x=1")
    s3.delete_bucket_website(Bucket=b)
    assert visit("/page")[0] == 404
    assert visit("/", at="none.s3-website.localhost")[0] == 404


def test_cross_origin_by_the_buckets_host():
    b = new_bucket(s3, ACL="public-read")
    s3.put_bucket_cors(Bucket=b, CORSConfiguration={"CORSRules": [
        {"AllowedMethods": ["GET"], "AllowedOrigins": ["https://a.example"]}]})
    status, _, headers = fetch("/", Host=f"{b}.localhost", Origin="https://a.example")
    assert status == 200 and headers["Access-Control-Allow-Origin"] == "https://a.example"


def test_errors_are_xml_with_the_request():
    status, body, headers = fetch("/no-such-bucket-here")
    assert status == 404 and b"<Code>NoSuchBucket</Code>" in body, body
    assert headers["x-amz-request-id"].encode() in body


if __name__ == "__main__":
    run(sys.modules[__name__])
