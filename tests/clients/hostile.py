"""Requests that are wrong on purpose: each is answered as S3 does, and none harms another."""

import http.client
import socket
import sys
import threading
import time
from urllib.parse import urlsplit

from gateway import ENDPOINT, client, new_bucket, refused, run

s3 = client()
ADDRESS = (urlsplit(ENDPOINT).hostname, urlsplit(ENDPOINT).port)


def signed(method, path, body=b"", headers=None, change=lambda request: None):
    """Sends a signed request after changing what was signed."""
    import os
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    request = AWSRequest(method=method, url=ENDPOINT + path, data=body, headers=headers or {})
    S3SigV4Auth(Credentials(os.environ["S3_ACCESS"], os.environ["S3_SECRET"]), "s3", "us-east-1").add_auth(request)
    change(request)
    connection = http.client.HTTPConnection(*ADDRESS, timeout=20)
    prepared = dict(request.headers.items())
    connection.request(method, path, body=body, headers=prepared)
    answer = connection.getresponse()
    return answer.status, answer.read()


def raw(data, wait=5):
    with socket.create_connection(ADDRESS, timeout=wait) as connection:
        connection.sendall(data)
        try:
            return connection.recv(65536)
        except TimeoutError:
            return None


def test_changed_requests_are_refused():
    b = new_bucket(s3)
    s3.put_object(Bucket=b, Key="k", Body=b"x")
    assert signed("GET", f"/{b}/k")[0] == 200

    def other_date(request):
        request.headers.replace_header("X-Amz-Date", "20200101T000000Z")
    assert signed("GET", f"/{b}/k", change=other_date)[0] == 403

    def other_body(request):
        request.headers.replace_header("X-Amz-Content-SHA256", "0" * 64)
    assert signed("GET", f"/{b}/k", change=other_body)[0] == 403

    def garbled(request):
        request.headers.replace_header("Authorization", "AWS4-HMAC-SHA256 nonsense")
    status, body = signed("GET", f"/{b}/k", change=garbled)
    assert status in (400, 403), (status, body)


def test_a_clock_that_is_wrong():
    import datetime
    from unittest import mock
    import botocore.auth
    real = datetime.datetime.now(datetime.timezone.utc)
    for hours in (-1, 1):
        wrong = real + datetime.timedelta(hours=hours)
        with mock.patch.object(botocore.auth, "get_current_datetime", create=True, return_value=wrong.replace(tzinfo=None)):
            status, body = signed("GET", "/")
            assert status == 403 and b"RequestTimeTooSkewed" in body, (status, body)


def test_documents_that_are_none():
    b = new_bucket(s3)
    for path in [f"/{b}?delete", f"/{b}?cors", f"/{b}?lifecycle", f"/{b}?versioning", f"/{b}?tagging", f"/{b}?acl"]:
        method = "POST" if "delete" in path else "PUT"
        for body in [b"", b"<", b"<a></a>", b"\xff\xfe", b"<Delete>" * 1000]:
            status, answer = signed(method, path, body)
            assert status in (400, 403, 411), (path, body[:20], status, answer)
    answer = raw(f"POST /{b}?delete HTTP/1.1\r\nHost: x\r\nContent-Length: {5 << 20}\r\n\r\n".encode())
    assert answer.split()[1] == b"400" and b"MaxMessageLengthExceeded" in answer, answer
    s3.list_objects(Bucket=b)


def test_paths_that_go_elsewhere():
    b = new_bucket(s3)
    for key in ["../../etc/passwd", "a/../b", "./x", "//", "%2e%2e/%2e", "a\nb", "x" * 1024]:
        s3.put_object(Bucket=b, Key=key, Body=key.encode())
        assert s3.get_object(Bucket=b, Key=key)["Body"].read() == key.encode()
    assert len(s3.list_objects(Bucket=b)["Contents"]) == 7
    refused(400, "KeyTooLongError", s3.put_object, Bucket=b, Key="x" * 1025, Body=b"")
    for path in [b"/../../etc/passwd", b"/%2e%2e/%2e%2e/etc/passwd", b"/%00", b"/%ff", b"//x/y"]:
        answer = raw(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.split()[1] in (b"400", b"403", b"404"), (path, answer)


def test_what_is_no_http():
    for data in [b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]:
        answer = raw(data)
        assert not answer or answer.split()[1] == b"400", (data, answer)
    long = raw(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 200_000 + b"\r\n\r\n")
    assert not long or long.split()[1] in (b"400", b"431"), long[:100]
    s3.list_buckets()


def test_lengths_that_are_wrong():
    b = new_bucket(s3)

    def length(value):
        def change(request):
            request.headers["Content-Length"] = str(value)
        return change
    s3.put_bucket_acl(Bucket=b, ACL="public-read-write")
    head = f"PUT /{b}/k HTTP/1.1\r\nHost: x\r\n".encode()
    with socket.create_connection(ADDRESS, timeout=20) as connection:
        connection.sendall(head + b"Content-Length: 1000\r\n\r\nonly this")
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65536)
    refused(404, "NoSuchKey", s3.get_object, Bucket=b, Key="k")
    answer = raw(head + b"Content-Length: 6000000000\r\n\r\n")
    assert answer.split()[1] == b"400" and b"EntityTooLarge" in answer, answer
    for wrong in (b"-1", b"x", b"1e9"):
        answer = raw(head + b"Content-Length: " + wrong + b"\r\n\r\n")
        assert answer.split()[1] == b"400", answer
    refused(404, "NoSuchKey", s3.get_object, Bucket=b, Key="k")


def test_a_refused_body_is_not_waited_for():
    """Who is refused before he has sent his body leaves it out, and what he sends next is a request."""
    b = new_bucket(s3)
    with socket.create_connection(ADDRESS, timeout=10) as connection:
        connection.sendall(f"PUT /{b}/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n".encode())
        answer = b""
        while b"</Error>" not in answer:
            piece = connection.recv(65536)
            assert piece, answer
            answer += piece
        assert answer.startswith(b"HTTP/1.1 403") and b"connection: close" in answer.lower(), answer
        try:
            connection.sendall(b"DELETE /x/y HTTP/1.1\r\nHost: x\r\n\r\n")
            assert connection.recv(65536) == b""
        except ConnectionError:
            pass


def test_those_who_dawdle_hold_nobody_up():
    sleepers = []
    for _ in range(200):
        connection = socket.create_connection(ADDRESS, timeout=30)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
        sleepers.append(connection)
    begun = time.monotonic()
    for _ in range(20):
        s3.list_buckets()
    assert time.monotonic() - begun < 10
    # The header's time is over.
    ended = 0
    for connection in sleepers:
        try:
            data = connection.recv(1000)
            ended += 1
            assert not data or b"408" in data.split(b"\r\n")[0] or b"400" in data.split(b"\r\n")[0], data
        except ConnectionError:
            ended += 1
    assert ended == len(sleepers) and time.monotonic() - begun < 30


if __name__ == "__main__":
    run(sys.modules[__name__])
