"""Locks of objects, who owns what others write, and deletions that are bound to conditions."""

import datetime
import json
import sys
import time

from gateway import KEYS, client, new_bucket, refused, run

s3 = client()
other = client("other")
UTC = datetime.timezone.utc
FAR = datetime.datetime(2100, 1, 1, tzinfo=UTC)
NEARER = datetime.datetime(2099, 1, 1, tzinfo=UTC)


def everything_to_everybody(bucket):
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:*",
         "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}]}))


def governed(until):
    return {"Mode": "GOVERNANCE", "RetainUntilDate": until}


def test_a_bucket_that_locks_keeps_versions_for_good():
    b = new_bucket(s3, ObjectLockEnabledForBucket=True)
    assert s3.get_bucket_versioning(Bucket=b)["Status"] == "Enabled"
    refused(409, "InvalidBucketState", s3.put_bucket_versioning, Bucket=b, VersioningConfiguration={"Status": "Suspended"})
    wanted = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Years": 2}}}
    s3.put_object_lock_configuration(Bucket=b, ObjectLockConfiguration=wanted)
    assert s3.get_object_lock_configuration(Bucket=b)["ObjectLockConfiguration"] == wanted
    for rule, code in [({"Mode": "COMPLIANCE", "Years": 0}, "InvalidRetentionPeriod"),
                       ({"Mode": "COMPLIANCE", "Years": 1, "Days": 1}, "MalformedXML"),
                       ({"Mode": "none", "Days": 1}, "MalformedXML")]:
        wrong = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": rule}}
        refused(400, code, s3.put_object_lock_configuration, Bucket=b, ObjectLockConfiguration=wrong)
    plain = new_bucket(s3)
    refused(404, "ObjectLockConfigurationNotFoundError", s3.get_object_lock_configuration, Bucket=plain)
    refused(409, "InvalidBucketState", s3.put_object_lock_configuration, Bucket=plain, ObjectLockConfiguration=wanted)
    s3.put_object(Bucket=plain, Key="k", Body=b"")
    refused(400, "InvalidRequest", s3.put_object_retention, Bucket=plain, Key="k", Retention=governed(FAR))
    refused(400, "InvalidRequest", s3.put_object, Bucket=plain, Key="k", ObjectLockLegalHoldStatus="ON")


def test_governance_can_be_bypassed_by_who_says_so():
    b = new_bucket(s3, ObjectLockEnabledForBucket=True)
    version = s3.put_object(Bucket=b, Key="k", Body=b"x")["VersionId"]
    named = {"Bucket": b, "Key": "k"}
    s3.put_object_retention(Retention=governed(FAR), **named)
    assert s3.get_object_retention(**named)["Retention"] == governed(FAR)
    seen = s3.head_object(**named)
    assert (seen["ObjectLockMode"], seen["ObjectLockRetainUntilDate"]) == ("GOVERNANCE", FAR)
    refused(403, "AccessDenied", s3.delete_object, VersionId=version, **named)
    refused(403, "AccessDenied", s3.put_object_retention, Retention=governed(NEARER), **named)
    marker = s3.delete_object(**named)["VersionId"]
    refused(403, "AccessDenied", s3.delete_object, VersionId=version, **named)
    s3.delete_object(VersionId=marker, **named)
    assert s3.get_object(**named)["Body"].read() == b"x"
    everything_to_everybody(b)
    s3.put_object_retention(Retention=governed(NEARER), BypassGovernanceRetention=True, **named)
    answer = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": "k", "VersionId": version}]})
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"] and "Deleted" not in answer
    s3.delete_bucket_policy(Bucket=b)
    refused(403, "AccessDenied", other.delete_object, VersionId=version, BypassGovernanceRetention=True, **named)
    s3.delete_object(VersionId=version, BypassGovernanceRetention=True, **named)
    s3.delete_bucket(Bucket=b)


def test_compliance_and_legal_holds_bind_everybody():
    b = new_bucket(s3, ObjectLockEnabledForBucket=True)
    until = datetime.datetime.now(UTC) + datetime.timedelta(seconds=4)
    named = {"Bucket": b, "Key": "k"}
    started = s3.create_multipart_upload(ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until,
                                         ObjectLockLegalHoldStatus="ON", **named)["UploadId"]
    part = s3.upload_part(UploadId=started, PartNumber=1, Body=b"x", **named)["ETag"]
    version = s3.complete_multipart_upload(UploadId=started, MultipartUpload={
        "Parts": [{"PartNumber": 1, "ETag": part}]}, **named)["VersionId"]
    force = {"VersionId": version, "BypassGovernanceRetention": True, **named}
    refused(403, "AccessDenied", s3.put_object_retention, Retention=governed(FAR), BypassGovernanceRetention=True, **named)
    refused(403, "AccessDenied", s3.delete_object, **force)
    time.sleep(max(0, (until - datetime.datetime.now(UTC)).total_seconds()) + 0.1)
    assert s3.get_object_legal_hold(**named)["LegalHold"] == {"Status": "ON"}
    refused(403, "AccessDenied", s3.delete_object, **force)
    s3.put_object_legal_hold(LegalHold={"Status": "OFF"}, **named)
    s3.delete_object(VersionId=version, **named)
    s3.delete_bucket(Bucket=b)


def test_objects_get_the_buckets_retention():
    b = new_bucket(s3, ObjectLockEnabledForBucket=True)
    s3.put_object_lock_configuration(Bucket=b, ObjectLockConfiguration={
        "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}})
    before = datetime.datetime.now(UTC)
    version = s3.put_object(Bucket=b, Key="k", Body=b"x")["VersionId"]
    s3.copy_object(Bucket=b, Key="copy", CopySource={"Bucket": b, "Key": "k"})
    for key in ("k", "copy"):
        seen = s3.get_object_retention(Bucket=b, Key=key)["Retention"]
        assert seen["Mode"] == "GOVERNANCE"
        assert datetime.timedelta(hours=23) < seen["RetainUntilDate"] - before < datetime.timedelta(hours=25)
    refused(403, "AccessDenied", s3.delete_object, Bucket=b, Key="k", VersionId=version)


def owner_of(bucket, key):
    return other.get_object_acl(Bucket=bucket, Key=key)["Owner"]


def test_who_owns_what_others_write():
    mine = {"ID": "main", "DisplayName": "main user"}
    theirs = {"ID": "other", "DisplayName": "other user"}
    assert set(KEYS) == {"main", "other"}
    for ownership, plain, handed_over in [("ObjectWriter", theirs, theirs), ("BucketOwnerPreferred", theirs, mine),
                                          ("BucketOwnerEnforced", mine, mine)]:
        b = new_bucket(s3, ObjectOwnership=ownership)
        seen = s3.get_bucket_ownership_controls(Bucket=b)["OwnershipControls"]["Rules"]
        assert seen == [{"ObjectOwnership": ownership}]
        everything_to_everybody(b)
        other.put_object(Bucket=b, Key="plain", Body=b"x")
        assert owner_of(b, "plain") == plain
        other.put_object(Bucket=b, Key="handed", Body=b"x", ACL="bucket-owner-full-control")
        assert owner_of(b, "handed") == handed_over
        other.copy_object(Bucket=b, Key="copy", CopySource={"Bucket": b, "Key": "plain"}, ACL="bucket-owner-full-control")
        assert owner_of(b, "copy") == handed_over


def test_without_acls_only_policies_count():
    b = new_bucket(s3, ACL="public-read")
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    refused(400, "InvalidBucketAclWithObjectOwnership", s3.put_bucket_ownership_controls, Bucket=b, OwnershipControls=enforced)
    s3.put_object(Bucket=b, Key="k", Body=b"x", ACL="public-read")
    assert other.get_object(Bucket=b, Key="k")["Body"].read() == b"x"
    s3.put_bucket_acl(Bucket=b, ACL="private")
    s3.put_bucket_ownership_controls(Bucket=b, OwnershipControls=enforced)
    refused(403, "AccessDenied", other.get_object, Bucket=b, Key="k")
    for call, named in [(s3.put_bucket_acl, {}), (s3.put_object_acl, {"Key": "k"}), (s3.put_object, {"Key": "n"})]:
        refused(400, "AccessControlListNotSupported", call, Bucket=b, ACL="private", **named)
    s3.delete_bucket_ownership_controls(Bucket=b)
    refused(404, "OwnershipControlsNotFoundError", s3.get_bucket_ownership_controls, Bucket=b)
    assert other.get_object(Bucket=b, Key="k")["Body"].read() == b"x"


def test_deletions_bound_to_what_is_there():
    wrong_time = datetime.datetime(2015, 1, 1, tzinfo=UTC)
    for keeps_versions in (False, True):
        b = new_bucket(s3)
        if keeps_versions:
            s3.put_bucket_versioning(Bucket=b, VersioningConfiguration={"Status": "Enabled"})
        for wrong in [{"IfMatch": "none"}, {"IfMatchSize": 9}, {"IfMatchLastModifiedTime": wrong_time}]:
            s3.delete_object(Bucket=b, Key="k", **wrong)
        assert "DeleteMarkers" not in s3.list_object_versions(Bucket=b), "nothing was there to be marked"
        etag = s3.put_object(Bucket=b, Key="k", Body=b"abc")["ETag"]
        modified = s3.head_object(Bucket=b, Key="k")["LastModified"]
        for wrong in [{"IfMatch": "none"}, {"IfMatchSize": 9}, {"IfMatchLastModifiedTime": wrong_time}]:
            refused(412, "PreconditionFailed", s3.delete_object, Bucket=b, Key="k", **wrong)
        answer = s3.delete_objects(Bucket=b, Delete={"Objects": [{"Key": "k", "Size": 9}]})
        assert answer["Errors"][0]["Code"] == "PreconditionFailed"
        s3.delete_object(Bucket=b, Key="k", IfMatch=etag, IfMatchSize=3, IfMatchLastModifiedTime=modified)
        seen = refused(404, "404", s3.head_object, Bucket=b, Key="k").response["ResponseMetadata"]["HTTPHeaders"]
        assert seen["x-amz-delete-marker"] == str(keeps_versions).lower()


if __name__ == "__main__":
    run(sys.modules[__name__])
