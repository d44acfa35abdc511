"""A bucket's index is cut anew while requests go on: nobody is refused, nothing is lost or listed twice, and the counts are right; also when
who does it is killed, wherever he was."""

import concurrent.futures
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import botocore.client
import boto3

from gateway import ENDPOINT, KEYS, basalt, client, new_bucket, run
from killed import configuration, free_port, start

s3 = client()
STEADY = 1500


def stats(bucket):
    return json.loads(basalt("bucket", "stats", "--bucket", bucket))


def reshard(bucket, shards):
    return json.loads(basalt("bucket", "reshard", "--bucket", bucket, "--num-shards", str(shards)))


def once(port=None):
    """A client that tries nothing twice."""
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}" if port else ENDPOINT, aws_access_key_id=KEYS["main"][0],
                        aws_secret_access_key=KEYS["main"][1], region_name="us-east-1",
                        config=botocore.client.Config(retries={"max_attempts": 0}, read_timeout=60))


def fill(bucket, count=STEADY):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        done = [pool.submit(s3.put_object, Bucket=bucket, Key=f"steady/{number:05}", Body=b"x" * (number % 50)) for number in range(count)]
        for one in done:
            one.result()


def check_counts(bucket):
    """What is counted is what is there, version by version."""
    seen, size = 0, 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        seen += len(page.get("Versions", [])) + len(page.get("DeleteMarkers", []))
        size += sum(item["Size"] for item in page.get("Versions", []))
    counted = stats(bucket)["usage"].get("rgw.main", {"num_objects": 0, "size": 0})
    assert (counted["num_objects"], counted["size"]) == (seen, size), (counted, seen, size)


class Busy:
    """Writers, a lister and slow uploads, until it is left; then each key is as its last writer was told."""

    def __init__(self, bucket, ports=(None,), versions=False):
        self.bucket, self.ports, self.versions = bucket, ports, versions
        self.stop = threading.Event()
        self.expected = {}
        self.longest = 0.0
        self.asked = 0

    def __enter__(self):
        self.pool = concurrent.futures.ThreadPoolExecutor(16)
        self.running = [self.pool.submit(self.write, worker) for worker in range(6)]
        self.running += [self.pool.submit(self.list), self.pool.submit(self.upload)]
        return self

    def __exit__(self, *failed):
        self.stop.set()
        self.pool.shutdown()
        for one in self.running:
            one.result()
        assert self.asked > 50, f"only {self.asked} requests came in between"
        seen = {}
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for item in page.get("Contents", []):
                assert item["Key"] not in seen
                seen[item["Key"]] = item["ETag"].strip('"')
        found = {key: tag for key, tag in seen.items() if not key.startswith("steady/")}
        assert found == {key: tag for key, tag in self.expected.items() if tag}, "what was acknowledged is not what is there"
        assert len(seen) - len(found) == STEADY

    def timed(self, function, **words):
        begun = time.monotonic()
        answer = function(Bucket=self.bucket, **words)
        self.longest = max(self.longest, time.monotonic() - begun)
        self.asked += 1
        return answer

    def write(self, worker):
        generator = random.Random(worker)
        mine = once(self.ports[worker % len(self.ports)])
        while not self.stop.is_set():
            key = f"w{worker}/{generator.randrange(40)}"
            body = generator.randbytes(generator.choice([0, 10, 3000]))
            kind = generator.choice(["put", "put", "put", "delete", "parts", "tag"])
            if kind == "delete":
                self.timed(mine.delete_object, Key=key)
                self.expected[key] = None
            elif kind == "parts":
                upload = self.timed(mine.create_multipart_upload, Key=key)["UploadId"]
                part = self.timed(mine.upload_part, Key=key, UploadId=upload, PartNumber=1, Body=body or b"1")
                if generator.random() < 0.2:
                    self.timed(mine.abort_multipart_upload, Key=key, UploadId=upload)
                    continue
                done = self.timed(mine.complete_multipart_upload, Key=key, UploadId=upload, MultipartUpload={
                    "Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]})
                self.expected[key] = done["ETag"].strip('"')
            elif kind == "tag":
                if self.expected.get(key):
                    self.timed(mine.put_object_tagging, Key=key, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
            else:
                self.timed(mine.put_object, Key=key, Body=body)
                self.expected[key] = hashlib.md5(body).hexdigest()
                # What was acknowledged is there at once, through any gateway.
                got = once(self.ports[0]).get_object(Bucket=self.bucket, Key=key)["Body"].read()
                assert got == body, key

    def list(self):
        mine = once(self.ports[-1])
        while not self.stop.is_set():
            keys = [item["Key"] for page in mine.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix="steady/",
                                                                                           PaginationConfig={"PageSize": 400})
                    for item in page.get("Contents", [])]
            assert keys == [f"steady/{number:05}" for number in range(STEADY)], f"{len(keys)} keys are listed"

    def upload(self):
        """In parts, begun long before it is completed, and one body that comes in slowly."""
        mine = once(self.ports[0])
        number = 0
        while not self.stop.is_set():
            key = f"slow/{number}"
            number += 1
            upload = mine.create_multipart_upload(Bucket=self.bucket, Key=key)["UploadId"]
            time.sleep(0.3)
            first = mine.upload_part(Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"a" * (5 << 20))
            time.sleep(0.3)
            second = mine.upload_part(Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=2, Body=b"b")
            listed = mine.list_parts(Bucket=self.bucket, Key=key, UploadId=upload)["Parts"]
            assert [part["PartNumber"] for part in listed] == [1, 2], listed
            done = mine.complete_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload, MultipartUpload={
                "Parts": [{"PartNumber": 1, "ETag": first["ETag"]}, {"PartNumber": 2, "ETag": second["ETag"]}]})
            self.expected[key] = done["ETag"].strip('"')


def leave_nothing(bucket):
    basalt("bucket", "rm", "--bucket", bucket, "--purge-objects")
    basalt("gc", "process", "--include-all")
    left = basalt("obj", "ls", "s3.index").split()
    assert left == [], left


def test_requests_go_on_through_two_gateways():
    bucket = new_bucket(s3)
    fill(bucket)
    assert stats(bucket)["num_shards"] == 16
    check_counts(bucket)
    port = free_port()
    process = start(configuration(port), port)
    try:
        with Busy(bucket, (None, port)) as busy:
            for shards in (64, 7, 1, 33):
                time.sleep(0.5)
                done = reshard(bucket, shards)
                print(done)
                assert done["copied"] >= STEADY and stats(bucket)["num_shards"] == shards
            time.sleep(0.5)
        print(f"{busy.asked} requests, the longest took {busy.longest:.3f} s")
        assert busy.longest < 5
    finally:
        process.terminate()
        process.wait(timeout=30)
    check_counts(bucket)
    leave_nothing(bucket)


def test_versions_and_uploads_are_taken_along():
    bucket = new_bucket(s3)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for number in range(30):
        for body in (b"one", b"two more", b"three"):
            s3.put_object(Bucket=bucket, Key=f"k\u0000{number % 10}" if number < 10 else f"k{number}", Body=body)
        if number % 3 == 0:
            s3.delete_object(Bucket=bucket, Key=f"k{number}")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    tags = [s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=number, Body=b"p" * (5 << 20))["ETag"] for number in (1, 2)]

    def look():
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
        found = [(item["Key"], item["VersionId"], item["IsLatest"], item.get("Size")) for page in pages
                 for kind in ("Versions", "DeleteMarkers") for item in page.get(kind, [])]
        uploads = [(item["Key"], item["UploadId"]) for item in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
        return found, uploads, stats(bucket)["usage"]

    before = look()
    assert len(before[0]) == 100 and len(before[1]) == 1
    reshard(bucket, 5)
    assert look() == before
    reshard(bucket, 50)
    assert look() == before
    check_counts(bucket)
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload={
        "Parts": [{"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1)]})
    assert s3.head_object(Bucket=bucket, Key="parts")["ContentLength"] == 10 << 20
    newest = next(version for key, version, is_latest, _ in before[0] if key == "k11" and is_latest)
    s3.delete_object(Bucket=bucket, Key="k11", VersionId=newest)
    assert s3.get_object(Bucket=bucket, Key="k11")["Body"].read() == b"two more"
    check_counts(bucket)
    leave_nothing(bucket)


def test_whoever_does_it_may_be_killed_at_any_time():
    bucket = new_bucket(s3)
    fill(bucket)
    generator = random.Random(5)
    command = [os.environ["S3_BASALT"], "bucket", "reshard", "--bucket", bucket, "--num-shards"]
    # How long one takes that is let be.
    begun = time.monotonic()
    reshard(bucket, 20)
    takes = time.monotonic() - begun
    killed = 0
    with Busy(bucket):
        for attempt in range(10):
            process = subprocess.Popen([*command, str(8 + attempt)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(takes * generator.uniform(0.3, 1.2))
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
            if attempt % 3 == 0:
                # Somebody does not wait for it to be taken for dead.
                basalt("bucket", "reshard", "--bucket", bucket, "--cancel")
                reshard(bucket, 30 + attempt)
            elif stats(bucket)["resharding"]:
                basalt("bucket", "reshard", "--bucket", bucket, "--cancel")
    assert killed >= 4, f"only {killed} of them were killed in the middle"
    check_counts(bucket)
    leave_nothing(bucket)


def record(bucket):
    path = os.path.join(tempfile.mkdtemp(), "record")
    basalt("obj", "get", "s3.meta", f"bucket.{bucket}", path)
    with open(path) as file:
        return path, json.load(file)


def write_record(bucket, path, known):
    with open(path, "w") as file:
        json.dump(known, file)
    basalt("obj", "put", "s3.meta", f"bucket.{bucket}", path)


def stop_shards(bucket, token, which):
    known = record(bucket)[1]
    for shard in which:
        name = f"{known['id']}.{known['generation']}.{shard}"
        basalt("obj", "setomapval", "s3.index", name, "!closed", f"stop {token}")


def test_changes_wait_for_who_died_while_they_did_but_not_for_long():
    bucket = new_bucket(s3)
    fill(bucket, 100)
    path, known = record(bucket)
    now = time.time_ns()
    known["generations"] = 1
    known["resharding"] = {"token": "dead", "generation": 1, "shards": 20, "since_ns": now, "beat_ns": now}
    write_record(bucket, path, known)
    stop_shards(bucket, "dead", range(16))
    mine = once()
    assert len(mine.list_objects_v2(Bucket=bucket)["Contents"]) == 100
    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(mine.put_object, Bucket=bucket, Key=f"steady/{number:05}", Body=b"new") for number in range(40)]:
            done.result()
    waited = time.monotonic() - begun
    assert 3 < waited < 15, f"waited for {waited:.1f} s"
    now = stats(bucket)
    assert now["num_shards"] == 16 and now["resharding"] is None
    # One that somebody has given up, who died before he opened the shards.
    stop_shards(bucket, "given-up", range(16))
    begun = time.monotonic()
    mine.put_object(Bucket=bucket, Key="steady/00001", Body=b"newer")
    assert time.monotonic() - begun < 2
    check_counts(bucket)
    assert mine.get_object(Bucket=bucket, Key="steady/00001")["Body"].read() == b"newer"
    leave_nothing(bucket)


def test_a_bucket_that_grows_gets_more_shards_by_itself():
    port = free_port()
    process = start(configuration(port, "objects_per_shard = 40\n"), port)
    try:
        bucket = new_bucket(s3)
        fill(bucket, 600)
        time.sleep(12)
        assert stats(bucket)["num_shards"] == 16
        fill(bucket)
        with Busy(bucket, (None, port)):
            for _ in range(60):
                time.sleep(0.5)
                if stats(bucket)["num_shards"] > 16:
                    break
        assert stats(bucket)["num_shards"] >= 64
    finally:
        process.terminate()
        process.wait(timeout=30)
    check_counts(bucket)
    leave_nothing(bucket)


def test_a_bucket_is_removed_while_its_index_is_cut_anew():
    bucket = new_bucket(s3)
    fill(bucket, 300)
    process = subprocess.Popen([os.environ["S3_BASALT"], "bucket", "reshard", "--bucket", bucket, "--num-shards", "40"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(200):
        if process.poll() is not None or stats(bucket)["resharding"]:
            break
    basalt("bucket", "rm", "--bucket", bucket, "--purge-objects")
    process.wait()
    refused = subprocess.run([os.environ["S3_BASALT"], "bucket", "reshard", "--bucket", bucket, "--num-shards", "40"], capture_output=True, text=True)
    assert refused.returncode == 2 and "there is no bucket" in refused.stderr, refused
    for _ in range(3):
        basalt("gc", "process", "--include-all")
    left = basalt("obj", "ls", "s3.index").split()
    assert left == [], left


if __name__ == "__main__":
    run(sys.modules[__name__])
