"""HTTPS by a gateway of its own, which takes a new certificate without being started again."""

import hashlib
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

import boto3

from killed import configuration, free_port, start


def make(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", f"{folder}/key.new", "-out", f"{folder}/chain.new"], check=True, capture_output=True)
    os.rename(f"{folder}/key.new", f"{folder}/key.pem")
    os.rename(f"{folder}/chain.new", f"{folder}/chain.pem")


def served(port):
    return hashlib.sha256(ssl.get_server_certificate(("127.0.0.1", port)).encode()).hexdigest()


def main():
    folder = tempfile.mkdtemp()
    make(folder, "first")
    port = free_port()
    path = configuration(port)
    with open(path, "a") as file:
        file.write(f'tls_certificate = "{folder}/chain.pem"\ntls_key = "{folder}/key.pem"\n')
    process = start(path, port)
    try:
        s3 = boto3.client("s3", endpoint_url=f"https://127.0.0.1:{port}", aws_access_key_id=os.environ["S3_ACCESS"],
                          aws_secret_access_key=os.environ["S3_SECRET"], region_name="us-east-1", verify=f"{folder}/chain.pem")
        s3.create_bucket(Bucket="secure")
        body = os.urandom(6_000_000)
        s3.put_object(Bucket="secure", Key="k", Body=body)
        assert s3.get_object(Bucket="secure", Key="k")["Body"].read() == body
        s3.put_bucket_policy(Bucket="secure", Policy="""{"Statement": [{"Effect": "Allow", "Principal": "*",
            "Action": "s3:GetObject", "Resource": "arn:aws:s3:::secure/*", "Condition": {"Bool": {"aws:SecureTransport": "true"}}}]}""")
        context = ssl.create_default_context(cafile=f"{folder}/chain.pem")
        assert urllib.request.urlopen(f"https://127.0.0.1:{port}/secure/k", context=context).read() == body
        first = served(port)
        make(folder, "second")
        for _ in range(100):
            if served(port) != first:
                break
            time.sleep(0.1)
        assert served(port) != first, "the new certificate is not served"
        with socket.create_connection(("127.0.0.1", port)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert not plain.recv(1000).startswith(b"HTTP/1.1 200")
    finally:
        process.terminate()
        process.wait(timeout=30)


if __name__ == "__main__":
    main()
    sys.exit(0)
