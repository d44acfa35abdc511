"""Bodies whose length nobody announces, and forms: stored while they come in, and not held in memory."""

import base64
import hashlib
import hmac
import http.client
import json
import socket
import sys
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials

from gateway import ENDPOINT, KEYS, client, new_bucket, refused, run

s3 = client()
signing = client(signature_version="s3v4")
HOST = urllib.parse.urlparse(ENDPOINT).netloc
PIECE = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(1 << 15))


def send(method, target, headers, pieces):
    """Sends a body in chunks; the answer's status and what it says. No status: the gateway said no and hung up before it was sent all."""
    connection = http.client.HTTPConnection(HOST)
    try:
        connection.request(method, target, body=iter(pieces), headers={**headers, "Transfer-Encoding": "chunked"},
                           encode_chunked=True)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (BrokenPipeError, ConnectionResetError):
        return None, ""
    finally:
        connection.close()


def put(url, pieces, **headers):
    parts = urllib.parse.urlparse(url)
    return send("PUT", f"{parts.path}?{parts.query}", {"Host": parts.netloc, **headers}, pieces)


def url_of(operation, **parameters):
    return signing.generate_presigned_url(operation, Params=parameters)


def test_a_body_of_unknown_length_may_be_large():
    b = new_bucket(s3)
    assert put(url_of("put_object", Bucket=b, Key="k"), [PIECE] * 100)[0] == 200
    head = s3.head_object(Bucket=b, Key="k")
    assert head["ContentLength"] == 100 * len(PIECE)
    assert head["ETag"] == '"' + hashlib.md5(PIECE * 100).hexdigest() + '"'
    assert s3.get_object(Bucket=b, Key="k", Range=f"bytes={70 * len(PIECE)}-")["Body"].read() == PIECE * 30
    assert put(url_of("put_object", Bucket=b, Key="none"), [])[0] == 200
    assert s3.head_object(Bucket=b, Key="none")["ContentLength"] == 0


def test_parts_of_unknown_length():
    b = new_bucket(s3)
    upload = s3.create_multipart_upload(Bucket=b, Key="k")["UploadId"]
    for number in (1, 2):
        url = url_of("upload_part", Bucket=b, Key="k", UploadId=upload, PartNumber=number)
        assert put(url, [PIECE] * 6)[0] == 200
    parts = s3.list_parts(Bucket=b, Key="k", UploadId=upload)["Parts"]
    assert [part["Size"] for part in parts] == [6 * len(PIECE)] * 2
    named = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in parts]
    s3.complete_multipart_upload(Bucket=b, Key="k", UploadId=upload, MultipartUpload={"Parts": named})
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == PIECE * 12


def test_what_was_signed_is_what_comes_in():
    b = new_bucket(s3)
    credentials = botocore.credentials.Credentials(*KEYS["main"])

    def signed(body):
        request = botocore.awsrequest.AWSRequest("PUT", f"{ENDPOINT}/{b}/k", data=body)
        request.headers["x-amz-content-sha256"] = hashlib.sha256(body).hexdigest()
        botocore.auth.S3SigV4Auth(credentials, "s3", "us-east-1").add_auth(request)
        return {"Host": HOST, **{name: value for name, value in request.headers.items()}}
    assert send("PUT", f"/{b}/k", signed(b"one two"), [b"one ", b"two"])[0] == 200
    status, said = send("PUT", f"/{b}/k", signed(b"one two"), [b"one ", b"six"])
    assert status == 400 and "<Code>XAmzContentSHA256Mismatch</Code>" in said, said
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"one two"
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    status, said = put(url_of("put_object", Bucket=b, Key="k"), [b"x"], **{"Content-MD5": wrong})
    assert status in (400, 403, None), said
    status, said = send("PUT", f"/{b}/k", {"Host": HOST}, [b"x"])
    assert status in (403, None), said
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"one two"


def test_documents_of_unknown_length_are_bounded():
    b = new_bucket(s3)
    policy = json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{b}/*"}]}).encode()
    assert put(url_of("put_bucket_policy", Bucket=b, Policy=""), [policy])[0] in (200, 204)
    assert json.loads(s3.get_bucket_policy(Bucket=b)["Policy"]) == json.loads(policy)
    assert put(url_of("put_bucket_policy", Bucket=b, Policy=""), [PIECE] * 8)[0] in (400, None)


def test_a_bucket_named_by_its_host_takes_large_objects():
    b = new_bucket(s3)
    port = HOST.rsplit(":", 1)[1]
    request = botocore.awsrequest.AWSRequest("PUT", f"http://{b}.localhost:{port}/k")
    botocore.auth.S3SigV4QueryAuth(botocore.credentials.Credentials(*KEYS["main"]), "s3", "us-east-1").add_auth(request)
    parts = urllib.parse.urlparse(request.url)
    connection = http.client.HTTPConnection(HOST)
    connection.request("PUT", f"{parts.path}?{parts.query}", body=PIECE * 5, headers={"Host": parts.netloc})
    assert connection.getresponse().status == 200
    assert s3.head_object(Bucket=b, Key="k")["ContentLength"] == 5 * len(PIECE)


def form(bucket, key, low, high):
    """What is before the file, and what is behind it."""
    conditions = [{"bucket": bucket}, {"key": key}, ["content-length-range", low, high]]
    policy = base64.b64encode(json.dumps({"expiration": "2099-01-01T00:00:00Z", "conditions": conditions}).encode())
    access, secret = KEYS["main"]
    signature = base64.b64encode(hmac.new(secret.encode(), policy, hashlib.sha1).digest()).decode()
    fields = {"key": key, "AWSAccessKeyId": access, "signature": signature, "policy": policy.decode()}
    head = b"".join(f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
                    for name, value in fields.items())
    return head + b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n', b"\r\n--b--\r\n"


def post(bucket, pieces):
    return send("POST", f"/{bucket}", {"Host": HOST, "Content-Type": "multipart/form-data; boundary=b"}, pieces)


def test_a_forms_file_may_be_large():
    b = new_bucket(s3)
    head, tail = form(b, "k", 0, 1 << 30)
    assert post(b, [head, *[PIECE] * 80, tail])[0] == 204
    got = s3.get_object(Bucket=b, Key="k")
    assert got["ContentLength"] == 80 * len(PIECE) and got["ETag"] == '"' + hashlib.md5(PIECE * 80).hexdigest() + '"'
    # What looks like the end of a form, and comes in pieces of any kind.
    tricky = b"\r\n--a\r\n\r\n--\r\n-\r"
    whole = head + tricky + tail
    for size in (1, 7, len(whole)):
        assert post(b, [whole[at:at + size] for at in range(0, len(whole), size)])[0] == 204
        assert s3.get_object(Bucket=b, Key="k")["Body"].read() == tricky


def test_a_forms_file_is_of_the_length_that_its_policy_wants():
    b = new_bucket(s3)
    for low, high in ((5, 10), (100_000, 200_000)):
        head, tail = form(b, "k", low, high)
        for size, status in ((low - 1, 400), (low, 204), (high, 204), (high + 1, 400)):
            seen, said = post(b, [head, b"x" * size, tail])
            assert seen == status, (low, high, size, seen, said)
            code = "EntityTooSmall" if size < low else "EntityTooLarge"
            assert status == 204 or f"<Code>{code}</Code>" in said, said
    assert s3.head_object(Bucket=b, Key="k")["ContentLength"] == 200_000


def test_a_form_without_an_end_stores_nothing():
    b = new_bucket(s3)
    head, tail = form(b, "k", 0, 1 << 20)
    for pieces in ([head, b"bytes"], [head, b"bytes", tail[:4]], [head[:200]], [b"nonsense"]):
        status, said = post(b, pieces)
        assert status in (400, None), (status, said)
    status, said = post(b, [b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + PIECE])
    assert status is None or status == 400 and "<Code>EntityTooLarge</Code>" in said, said
    refused(404, "404", s3.head_object, Bucket=b, Key="k")


def test_forms_that_stall_hold_up_nobody():
    b = new_bucket(s3)
    head, tail = form(b, "k", 0, 1 << 20)
    stalled = []
    for index in range(40):
        connection = socket.create_connection(HOST.rsplit(":", 1))
        begin = f"POST /{b} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: multipart/form-data; boundary=b\r\n" \
                "Content-Length: 1000000\r\n\r\n"
        # Some within the fields, some within the file.
        connection.sendall(begin.encode() + (head + b"x" * 5000 if index % 2 else head[:50]))
        stalled.append(connection)
    assert post(b, [head, b"other", tail])[0] == 204
    for connection in stalled:
        connection.close()
    assert s3.get_object(Bucket=b, Key="k")["Body"].read() == b"other"


if __name__ == "__main__":
    run(sys.modules[__name__])
