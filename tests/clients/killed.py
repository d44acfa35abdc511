"""A gateway of its own is killed during uploads, again and again: what it acknowledged is there, nothing is there half, and after a garbage
pass the pool of data holds what the index refers to and nothing else. What was in the cluster before does not matter; nobody else may write to
it meanwhile."""

import atexit
import concurrent.futures
import hashlib
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import boto3
import botocore.client

from gateway import basalt

ROUNDS = 4
KIB = 1 << 10
MIB = 1 << 20


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def configuration(port, more=""):
    """The cluster's, for a process that is nothing but a gateway. `more`: of its section."""
    with open(os.environ["BASALT_CONFIG"]) as file:
        text = file.read()
    head = text.split("\n[")[0]
    folder = os.path.dirname(os.environ["BASALT_CONFIG"])
    head = re.sub(r'key_file = "([^/])', f'key_file = "{folder}/\\1', head)
    path = os.path.join(tempfile.mkdtemp(), "gateway.toml")
    with open(path, "w") as file:
        file.write(f'{head}\n[s3]\nlisten = "127.0.0.1:{port}"\n{more}')
    return path


def start(path, port):
    process = subprocess.Popen([os.environ["S3_BASALTD"], "s3", "--config", path], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process
        time.sleep(0.05)
    raise AssertionError("the gateway did not start")


def client(port):
    config = botocore.client.Config(retries={"max_attempts": 0}, connect_timeout=2, read_timeout=10)
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id=os.environ["S3_ACCESS"],
                        aws_secret_access_key=os.environ["S3_SECRET"], region_name="us-east-1", config=config)


def objects():
    """What is in the pools of data and of indexes."""
    return [set(basalt("obj", "ls", pool).split()) for pool in ("s3.data", "s3.index")]


def main():
    port = free_port()
    path = configuration(port)
    process = start(path, port)
    s3 = client(port)
    basalt("gc", "process", "--include-all")
    before = objects()
    name = uuid.uuid4().hex[:12]
    buckets = overwritten, kept = f"killed-{name}", f"kept-{name}"
    for bucket in buckets:
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=kept, VersioningConfiguration={"Status": "Enabled"})
    # By key: the digests that may be there. An answer that was lost leaves two.
    possible = {}
    lock = threading.Lock()

    def write(worker, stop, generator):
        mine = client(port)
        while not stop.is_set():
            key = f"w{worker}-{generator.randrange(6)}"
            body = generator.randbytes(generator.choice([0, 100, 64 * KIB, MIB, 9 * MIB]))
            digest = hashlib.md5(body).hexdigest()
            kind = generator.choices(["parts", "delete", "put"], [1, 1, 3])[0]
            if kind == "delete":
                digest = None
            with lock:
                possible[key] = possible.get(key, {None}) | {digest}
            try:
                if kind == "parts":
                    upload = mine.create_multipart_upload(Bucket=overwritten, Key=key)["UploadId"]
                    part = mine.upload_part(Bucket=overwritten, Key=key, UploadId=upload, PartNumber=1, Body=body)
                    mine.complete_multipart_upload(Bucket=overwritten, Key=key, UploadId=upload, MultipartUpload={
                        "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
                elif kind == "delete":
                    mine.delete_object(Bucket=overwritten, Key=key)
                else:
                    mine.put_object(Bucket=overwritten, Key=key, Body=body)
                    mine.put_object(Bucket=kept, Key=key, Body=body[:1000])
                with lock:
                    possible[key] = {digest}
            except Exception:
                # It may or may not have been done.
                time.sleep(0.05)

    for round in range(ROUNDS):
        stop = threading.Event()
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            workers = [pool.submit(write, worker, stop, random.Random(round * 100 + worker)) for worker in range(6)]
            time.sleep(1.5 + random.random())
            process.send_signal(signal.SIGKILL)
            process.wait()
            stop.set()
            for worker in workers:
                worker.result()
        process = start(path, port)
        seen = {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=overwritten):
            for item in page.get("Contents", []):
                body = s3.get_object(Bucket=overwritten, Key=item["Key"])["Body"].read()
                assert len(body) == item["Size"], item
                seen[item["Key"]] = hashlib.md5(body).hexdigest()
        for key, digests in possible.items():
            assert seen.get(key) in digests, (key, seen.get(key), digests)
            possible[key] = {seen.get(key)}
        assert set(seen) <= set(possible)

    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=overwritten):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=overwritten, Key=upload["Key"], UploadId=upload["UploadId"])
    print(basalt("gc", "process", "--include-all"))
    expected = 0
    for bucket in buckets:
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            expected += sum(-(-item["Size"] // (4 * MIB)) for item in page.get("Versions", []))
    found = len(objects()[0] - before[0])
    assert found == expected, f"{found} data objects, and {expected} that something refers to"
    for bucket in buckets:
        basalt("bucket", "rm", "--bucket", bucket, "--purge-objects")
    basalt("gc", "process", "--include-all")
    after = objects()
    assert (after[0] - before[0], after[1] - before[1]) == (set(), set()), after
    process.terminate()
    assert process.wait(timeout=30) == 0


if __name__ == "__main__":
    main()
    sys.exit(0)
