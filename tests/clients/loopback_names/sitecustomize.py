"""For Python's clients, by PYTHONPATH: names below localhost are this machine, as RFC 6761 wants it and not every resolver has it."""

import socket

resolve = socket.getaddrinfo


def getaddrinfo(host, *arguments, **named):
    if isinstance(host, str) and host.endswith(".localhost"):
        host = "127.0.0.1"
    return resolve(host, *arguments, **named)


socket.getaddrinfo = getaddrinfo
