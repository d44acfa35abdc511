"""What the tests with real S3 clients share: where the gateway is, and who its users are.

Environment: S3_ENDPOINT, S3_ACCESS and S3_SECRET of the user `main`, S3_ACCESS_2 and S3_SECRET_2 of the user `other`; S3_BASALT runs `basalt`.
"""

import os
import subprocess
import sys
import traceback
import uuid

import boto3
import botocore.client
import botocore.exceptions
import botocore.session

ENDPOINT = os.environ["S3_ENDPOINT"]
KEYS = {
    "main": (os.environ["S3_ACCESS"], os.environ["S3_SECRET"]),
    "other": (os.environ["S3_ACCESS_2"], os.environ["S3_SECRET_2"]),
}


def client(user="main", **config):
    """A client with the library's defaults, but for where the gateway is. `user=None`: anonymous."""
    if user is None:
        config["signature_version"] = botocore.UNSIGNED
        keys = ("", "")
    else:
        keys = KEYS[user]
    return boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        aws_access_key_id=keys[0] or None,
        aws_secret_access_key=keys[1] or None,
        region_name="us-east-1",
        config=botocore.client.Config(**config),
    )


def basalt(*words):
    """What `basalt WORDS` prints."""
    return subprocess.run([os.environ["S3_BASALT"], *words], check=True, capture_output=True, text=True).stdout


def new_bucket(s3, **options):
    name = "b-" + uuid.uuid4().hex[:16]
    s3.create_bucket(Bucket=name, **options)
    return name


def refused(status, code, function, *arguments, **named):
    """Checks that a call is refused, and how."""
    try:
        function(*arguments, **named)
    except botocore.exceptions.ClientError as error:
        seen = (error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"])
        assert seen == (status, code), f"expected {(status, code)}, seen {seen}: {error}"
        return error
    raise AssertionError(f"expected {(status, code)}, but it was done")


def run(module):
    """Runs every test of a module, or those whose names are given; exits 1 if one fails."""
    wanted = sys.argv[1:]
    tests = [(name, test) for name, test in vars(module).items() if name.startswith("test_") and callable(test)]
    failed = []
    for name, test in tests:
        if wanted and not any(word in name for word in wanted):
            continue
        try:
            test()
            print(f"ok      {name}")
        except Exception:
            failed.append(name)
            print(f"FAILED  {name}")
            traceback.print_exc(limit=4)
    print(f"{len(tests) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)
