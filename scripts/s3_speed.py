#!/usr/bin/env python3
"""Puts and gets a second by S3, from presigned requests that curl sends over kept connections: s3_speed.py ENDPOINT ACCESS SECRET [options].

With --listings, how long a page of 1000 keys takes in buckets of more and more keys, instead.
"""

import argparse
import concurrent.futures
import hashlib
import hmac
import http.client
import os
import subprocess
import tempfile
import time
import urllib.parse


def presign(arguments, method, path, query=()):
    """Version 4, with everything in the query."""
    host = urllib.parse.urlparse(arguments.endpoint).netloc
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    scope = f"{now[:8]}/us-east-1/s3/aws4_request"
    pairs = [("X-Amz-Algorithm", "AWS4-HMAC-SHA256"), ("X-Amz-Credential", f"{arguments.access}/{scope}"), ("X-Amz-Date", now),
             ("X-Amz-Expires", "86400"), ("X-Amz-SignedHeaders", "host"), *query]
    asked = "&".join(f"{urllib.parse.quote(name, safe='')}={urllib.parse.quote(value, safe='')}" for name, value in sorted(pairs))
    path = urllib.parse.quote(path)
    canonical = f"{method}\n{path}\n{asked}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    key = b"AWS4" + arguments.secret.encode()
    for word in scope.split("/"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    return f"{path}?{asked}&X-Amz-Signature={signature}"


def ask(arguments, method, path, body=None, query=()):
    connection = http.client.HTTPConnection(urllib.parse.urlparse(arguments.endpoint).netloc, timeout=60)
    connection.request(method, presign(arguments, method, path, query), body)
    answer = connection.getresponse()
    content = answer.read()
    assert answer.status in (200, 204), (method, path, answer.status, content)
    return content


def curl(arguments, folder, method, keys, file):
    """Seconds in all, and each request's."""
    with open(f"{folder}/requests", "w") as requests:
        for key in keys:
            url = arguments.endpoint + presign(arguments, method, key)
            more = f'upload-file = "{file}"\n' if method == "PUT" else ""
            requests.write(f'url = "{url}"\n{more}output = "/dev/null"\n')
    begun = time.monotonic()
    done = subprocess.run(["curl", "-sS", "--parallel", "--parallel-max", str(arguments.clients), "--config", f"{folder}/requests",
                           "-w", "%{http_code} %{time_total}\n"], check=True, capture_output=True, text=True)
    took = time.monotonic() - begun
    answers = [line.split() for line in done.stdout.splitlines()]
    wrong = [code for code, _ in answers if code != "200"]
    assert len(answers) == len(keys) and not wrong, f"{len(answers)} answers, {len(wrong)} of them not 200: {wrong[:3]}"
    return took, sorted(float(seconds) for _, seconds in answers)


def speed(arguments):
    with tempfile.TemporaryDirectory() as folder:
        body = os.urandom(arguments.kib << 10)
        with open(f"{folder}/body", "wb") as file:
            file.write(body)
        bucket = f"/speed-{os.getpid()}"
        ask(arguments, "PUT", bucket)
        keys = [f"{bucket}/{number:08}" for number in range(arguments.requests)]
        # What is done for the first time is not what lasts.
        curl(arguments, folder, "PUT", keys[: arguments.requests // 10], f"{folder}/body")
        for _ in range(arguments.rounds):
            for method, name in (("PUT", "puts"), ("GET", "gets")):
                took, each = curl(arguments, folder, method, keys, f"{folder}/body")
                at = [each[int(len(each) * part)] * 1000 for part in (0.5, 0.99)]
                print(f"{name}: {len(each) / took:6.0f} a second of {arguments.kib} KiB with {arguments.clients} clients, "
                      f"median {at[0]:.1f} ms, 99 % {at[1]:.1f} ms", flush=True)
        assert ask(arguments, "GET", keys[-1]) == body


def put_empty(arguments, bucket, numbers):
    """Small objects as fast as one connection goes; the bucket lets everybody write."""
    connection = http.client.HTTPConnection(urllib.parse.urlparse(arguments.endpoint).netloc, timeout=60)
    connection.connect()
    window, waiting = 32, 0
    answers = connection.sock.makefile("rb")
    host = urllib.parse.urlparse(arguments.endpoint).netloc

    def take():
        status = answers.readline()
        assert b" 200 " in status, status
        while answers.readline() not in (b"\r\n", b""):
            pass

    for number in numbers:
        # Spread over the whole order, as keys are that begin with a hash.
        key = hashlib.md5(str(number).encode()).hexdigest()
        connection.sock.sendall(f"PUT {bucket}/{key} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
        waiting += 1
        if waiting >= window:
            take()
            waiting -= 1
    for _ in range(waiting):
        take()


def listings(arguments):
    bucket = f"/listing-{os.getpid()}"
    ask(arguments, "PUT", bucket)
    ask(arguments, "PUT", bucket, '{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:PutObject", '
        f'"Resource": "arn:aws:s3:::{bucket[1:]}/*"}}]}}', [("policy", "")])
    there = 0
    for wanted in (1000, 10_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000):
        if wanted > arguments.keys:
            break
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(arguments.clients) as pool:
            done = [pool.submit(put_empty, arguments, bucket, range(there + part, wanted, arguments.clients)) for part in range(arguments.clients)]
            for one in done:
                one.result()
        filled, there = time.monotonic() - begun, wanted
        pages = []
        for attempt in range(60):
            after = f"{attempt * 3:02x}"
            begun = time.monotonic()
            content = ask(arguments, "GET", bucket, None, [("list-type", "2"), ("start-after", after if there > 5000 else ""), ("max-keys", "500")])
            pages.append((time.monotonic() - begun) * 1000)
            assert content.count(b"<Key>") > 300, content[:300]
        pages.sort()
        print(f"{there:9} keys: a page of 500 takes {pages[30]:.1f} ms (median), {pages[54]:.1f} ms (90 %); filled in {filled:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("endpoint")
    parser.add_argument("access")
    parser.add_argument("secret")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--kib", type=int, default=64)
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--listings", action="store_true")
    parser.add_argument("--keys", type=int, default=1_000_000)
    arguments = parser.parse_args()
    listings(arguments) if arguments.listings else speed(arguments)


if __name__ == "__main__":
    main()
