"""Logs of requests to buckets, as a gateway of its own stores them in another bucket, which the bucket's policy lets it do."""

import email.utils
import json
import os
import re
import sys
import time

import boto3
import botocore.client
import botocore.exceptions

from gateway import KEYS, refused, run
from killed import configuration, free_port, start

# Lines wait for minutes otherwise.
os.environ["BASALT_S3_LOG_ROLL"] = "1"
PORT = free_port()
PATH = configuration(PORT)
process = start(PATH, PORT)


def client(user="main"):
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{PORT}", aws_access_key_id=KEYS[user][0],
                        aws_secret_access_key=KEYS[user][1], region_name="us-east-1",
                        config=botocore.client.Config(s3={"addressing_style": "path"}))


s3, other = client(), client("other")
numbers = iter(range(1000))


def bucket(who=s3):
    name = f"log-{os.getpid()}-{next(numbers)}"
    who.create_bucket(Bucket=name)
    return name


def let_in(target, source, who=s3, effect="Allow", prefix="from/", account="main"):
    who.put_bucket_policy(Bucket=target, Policy=json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": effect, "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": ["s3:PutObject"],
        "Resource": f"arn:aws:s3:::{target}/{prefix}*",
        "Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{source}"},
                      "StringEquals": {"aws:SourceAccount": account}}}]}))


def enable(source, target, prefix="from/", **more):
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus={
        "LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix, **more}})


def lines_in(target, count, who=s3):
    """The lines of all logs in a bucket, when there are as many."""
    for _ in range(80):
        found = []
        for entry in who.list_objects_v2(Bucket=target).get("Contents", []):
            found += who.get_object(Bucket=target, Key=entry["Key"])["Body"].read().decode().splitlines()
        if len(found) >= count:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{len(found)} lines where {count} were expected: {found}")


FIELDS = re.compile(r'"[^"]*"|\[[^\]]*\]|\S+')


def test_each_request_is_a_line():
    source, target = bucket(), bucket()
    let_in(target, source)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=source)
    enable(source, target)
    seen = s3.get_bucket_logging(Bucket=source)["LoggingEnabled"]
    assert (seen["TargetBucket"], seen["TargetPrefix"]) == (target, "from/")
    put = s3.put_object(Bucket=source, Key="a key", Body=b"12345")
    s3.get_object(Bucket=source, Key="a key")["Body"].read()
    refused(404, "NoSuchKey", s3.get_object, Bucket=source, Key="none")
    refused(403, "AccessDenied", other.get_object, Bucket=source, Key="a key")
    s3.delete_object(Bucket=source, Key="a key")
    lines = [FIELDS.findall(line) for line in lines_in(target, 6)]
    assert all(len(fields) == 26 for fields in lines), lines
    assert all(fields[:2] == ["main", source] and fields[3] == "127.0.0.1" for fields in lines), lines
    told = [(fields[4], fields[6], fields[7], fields[9], fields[10]) for fields in lines]
    assert ("main", "REST.GET.LOGGING_STATUS", "-", "200", "-") in told, told
    for expected in [("main", "REST.PUT.OBJECT", "a%20key", "200", "-"), ("main", "REST.GET.OBJECT", "a%20key", "200", "-"),
                     ("main", "REST.GET.OBJECT", "none", "404", "NoSuchKey"),
                     ("other", "REST.GET.OBJECT", "a%20key", "403", "AccessDenied"),
                     ("main", "REST.DELETE.OBJECT", "a%20key", "204", "-")]:
        assert told.count(expected) == 1, (expected, told)
    by_id = {fields[5]: fields for fields in lines}
    assert by_id[put["ResponseMetadata"]["HTTPHeaders"]["x-amz-request-id"]][6] == "REST.PUT.OBJECT"
    got = next(fields for fields in lines if fields[6:8] == ["REST.GET.OBJECT", "a%20key"] and fields[9] == "200")
    assert got[11] == "5" and got[19] == "SigV4" and got[21] == "AuthHeader"
    # They are objects like others, and their bucket's owner's.
    entry = s3.list_objects_v2(Bucket=target, FetchOwner=True)["Contents"][0]
    assert entry["Key"].startswith("from/20") and entry["Owner"]["ID"] == "main"


def test_no_line_after_logging_ended():
    source, target = bucket(), bucket()
    let_in(target, source)
    enable(source, target)
    s3.head_bucket(Bucket=source)
    lines_in(target, 1)
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=source)
    s3.put_object(Bucket=source, Key="k", Body=b"")
    time.sleep(2)
    assert not [line for line in lines_in(target, 1) if "REST.PUT.OBJECT" in line]


def test_a_bucket_says_who_may_log_to_it():
    source, target = bucket(), bucket()
    refused(403, "AccessDenied", enable, source, target)
    let_in(target, "another")
    refused(403, "AccessDenied", enable, source, target)
    let_in(target, source, account="other")
    refused(403, "AccessDenied", enable, source, target)
    let_in(target, source, prefix="elsewhere/")
    refused(403, "AccessDenied", enable, source, target)
    let_in(target, source, effect="Deny")
    refused(403, "AccessDenied", enable, source, target)
    # Of somebody else's, who lets it in.
    theirs = bucket(other)
    let_in(theirs, source, who=other)
    enable(source, theirs)
    s3.head_bucket(Bucket=source)
    assert lines_in(theirs, 1, who=other)
    # And not any more.
    other.delete_bucket_policy(Bucket=theirs)
    before = len(lines_in(theirs, 1, who=other))
    s3.head_bucket(Bucket=source)
    time.sleep(2)
    assert len(lines_in(theirs, 1, who=other)) == before


def test_what_makes_no_sense_is_refused():
    source, target = bucket(), bucket()
    let_in(target, source)
    refused(404, "NoSuchKey", enable, source, target + "-none")
    let_in(source, source)
    refused(400, "InvalidArgument", enable, source, source)
    refused(403, "AccessDenied", other.put_bucket_logging, Bucket=source, BucketLoggingStatus={})
    refused(403, "AccessDenied", other.get_bucket_logging, Bucket=source)
    s3.put_bucket_encryption(Bucket=target, ServerSideEncryptionConfiguration={
        "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]})
    refused(400, "InvalidArgument", enable, source, target)
    s3.delete_bucket_encryption(Bucket=target)
    s3.put_bucket_request_payment(Bucket=target, RequestPaymentConfiguration={"Payer": "Requester"})
    refused(400, "InvalidArgument", enable, source, target)
    s3.put_bucket_request_payment(Bucket=target, RequestPaymentConfiguration={"Payer": "BucketOwner"})
    third = bucket()
    let_in(third, target)
    enable(target, third)
    refused(400, "InvalidArgument", enable, source, target)
    s3.put_bucket_logging(Bucket=target, BucketLoggingStatus={})
    grants = [{"Grantee": {"Type": "CanonicalUser", "ID": "other"}, "Permission": "READ"}]
    refused(501, "NotImplemented", enable, source, target, TargetGrants=grants)
    parted = {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}
    refused(501, "NotImplemented", enable, source, target, TargetObjectKeyFormat=parted)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=source)


def test_only_the_owner_says_where_the_log_goes():
    source, target = bucket(), bucket()
    let_in(target, source)
    s3.put_bucket_policy(Bucket=source, Policy=json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "s3:PutBucketLogging", "Resource": f"arn:aws:s3:::{source}"}]}))
    refused(403, "AccessDenied", other.put_bucket_logging, Bucket=source, BucketLoggingStatus={
        "LoggingEnabled": {"TargetBucket": target, "TargetPrefix": "from/"}})
    enable(source, target)
    refused(403, "AccessDenied", other.put_bucket_logging, Bucket=source, BucketLoggingStatus={})


def test_who_lets_everybody_in_lets_no_log_in():
    source, target = bucket(), bucket()
    s3.put_bucket_policy(Bucket=target, Policy=json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{target}/*"}]}))
    refused(403, "AccessDenied", enable, source, target)


def test_when_logging_was_changed_is_told():
    source, target = bucket(), bucket()
    let_in(target, source)
    let_in(target, source, prefix="")

    def modified():
        answer = s3.get_bucket_logging(Bucket=source)
        assert answer["LoggingEnabled"]["TargetObjectKeyFormat"] == {"SimplePrefix": {}}
        return email.utils.parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["last-modified"])
    enable(source, target)
    first = modified()
    time.sleep(1.1)
    enable(source, target)
    assert modified() == first
    enable(source, target, prefix="another/")
    assert modified() > first


def of_all(target, operation, count):
    for _ in range(80):
        found = [fields for fields in map(FIELDS.findall, lines_in(target, 1)) if fields[6] == operation]
        if len(found) >= count:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{len(found)} lines of {operation}")


def test_what_only_an_acl_let_through_is_marked():
    source, target = bucket(), bucket()
    let_in(target, source)
    s3.put_object(Bucket=source, Key="k", Body=b"x", ACL="public-read")
    enable(source, target)
    other.get_object(Bucket=source, Key="k")
    s3.get_object(Bucket=source, Key="k")
    marks = {fields[4]: fields[25] for fields in of_all(target, "REST.GET.OBJECT", 2)}
    assert marks == {"other": "Yes", "main": "-"}, marks


def test_each_of_many_deletions_is_a_line():
    source, target = bucket(), bucket()
    let_in(target, source)
    s3.put_object(Bucket=source, Key="a", Body=b"x")
    enable(source, target)
    s3.delete_objects(Bucket=source, Delete={"Objects": [{"Key": "a"}, {"Key": "b c"}]})
    keys = sorted(fields[7] for fields in of_all(target, "REST.POST.DELETE_MULTI_OBJECT", 3))
    assert keys == ["-", "a", "b%20c"], keys


def test_logs_of_the_same_place_share_their_objects_and_who_comes_late_finds_them():
    global process
    first, second, target = bucket(), bucket(), bucket()
    s3.put_bucket_policy(Bucket=target, Policy=json.dumps({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"Service": "logging.s3.amazonaws.com"}, "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{target}/from/*"}]}))
    enable(first, target)
    enable(second, target)
    process.terminate()
    assert process.wait(20) == 0
    # The pass over old logs comes too seldom to be what stores them.
    os.environ["BASALT_S3_LOG_ROLL"] = "4"
    process = start(PATH, PORT)
    try:
        before = len(s3.list_objects_v2(Bucket=target).get("Contents", []))
        for source in (first, second):
            s3.put_object(Bucket=source, Key="k", Body=b"x")
        time.sleep(4.2)
        s3.put_object(Bucket=second, Key="late", Body=b"x")
        entries = s3.list_objects_v2(Bucket=target)["Contents"][before:]
        assert len(entries) == 1, entries
        text = s3.get_object(Bucket=target, Key=entries[0]["Key"])["Body"].read().decode()
        assert {line.split()[1] for line in text.splitlines()} == {first, second} and " late " not in text, text
    finally:
        process.terminate()
        assert process.wait(20) == 0
        os.environ["BASALT_S3_LOG_ROLL"] = "1"
        process = start(PATH, PORT)


def test_keys_may_name_bucket_and_day():
    source, target = bucket(), bucket()
    let_in(target, source)
    parted = {"PartitionedPrefix": {"PartitionDateSource": "DeliveryTime"}}
    enable(source, target, TargetObjectKeyFormat=parted)
    assert s3.get_bucket_logging(Bucket=source)["LoggingEnabled"]["TargetObjectKeyFormat"] == parted
    lines_in(target, 1)
    key = s3.list_objects_v2(Bucket=target)["Contents"][0]["Key"]
    assert re.fullmatch(rf"from/main/default/{source}/\d{{4}}/\d\d/\d\d/\d{{4}}(-\d\d){{5}}-[0-9A-F]{{16}}", key), key


def test_what_was_gathered_is_stored_when_the_gateway_ends():
    global process
    source, target = bucket(), bucket()
    let_in(target, source)
    process.terminate()
    assert process.wait(20) == 0
    os.environ["BASALT_S3_LOG_ROLL"] = "3600"
    process = start(PATH, PORT)
    enable(source, target)
    s3.put_object(Bucket=source, Key="k", Body=b"")
    assert "Contents" not in s3.list_objects_v2(Bucket=target)
    process.terminate()
    assert process.wait(20) == 0
    process = start(PATH, PORT)
    assert [line for line in lines_in(target, 1) if "REST.PUT.OBJECT k " in line]


if __name__ == "__main__":
    run(sys.modules[__name__])
