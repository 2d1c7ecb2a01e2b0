"""What the tests have in common: asyncio scenarios with a time limit, connections, curl, and a bare socket."""

import asyncio
import functools
import re
import socket
import subprocess

import websockets.asyncio.client

HANDSHAKE_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
HANDSHAKE_ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3


def scenario(seconds):
    """Makes a test of a coroutine, which fails when it takes longer than `seconds`."""

    def decorate(coroutine):
        @functools.wraps(coroutine)
        def test(*arguments, **fixtures):
            asyncio.run(asyncio.wait_for(coroutine(*arguments, **fixtures), seconds))

        return test

    return decorate


def connect(url, **options):
    """A websockets client with its defaults (it offers compression), no proxy and no limit on messages."""
    return websockets.asyncio.client.connect(url, proxy=None, max_size=None, **options)


class Answer:
    """An HTTP response: status, headers (names in lower case), body as bytes."""

    def __init__(self, raw):
        while True:
            head, separator, raw = raw.partition(b"\r\n\r\n")
            assert separator, f"not a whole HTTP response head: {head!r}"
            lines = head.decode("latin-1").split("\r\n")
            self.status = int(re.fullmatch(r"HTTP/1\.1 (\d{3})( .*)?", lines[0])[1])
            if self.status != 100:
                break
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        self.body = raw

    @property
    def text(self):
        return self.body.decode()


def curl(*arguments, stdin=b""):
    """curl's answer, with the response head as the server sent it."""
    command = ["curl", "--silent", "--show-error", "--include", "--noproxy", "*", "--max-time", "10", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=20)
    assert done.returncode == 0, done.stderr.decode()
    return Answer(done.stdout)


def raw_socket(server, timeout_s=10.0):
    """A connected TCP socket."""
    return socket.create_connection(server.endpoint, timeout=timeout_s)


def raw_websocket(server, path):
    """A TCP socket on which the opening handshake has been made by hand."""
    connection = raw_socket(server)
    connection.sendall(
        f"GET {path} HTTP/1.1\r\nHost: {server.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {HANDSHAKE_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        more = connection.recv(1)
        assert more, f"the server hung up in the handshake: {head!r}"
        head += more
    assert Answer(head).status == 101, head
    return connection


def read_to_end(connection):
    """All bytes up to the end of the stream."""
    received = b""
    while more := connection.recv(65536):
        received += more
    return received
