"""The HTTP paths as curl sees them, and a few requests that curl does not make."""

import json
import subprocess

import pytest
from clients import HANDSHAKE_ACCEPT, HANDSHAKE_KEY, Answer, curl, raw_socket, read_to_end


def handshake(**changes):
    """curl's options for an opening handshake, with headers changed or (with None) left out."""
    headers = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": HANDSHAKE_KEY,
        "Sec-WebSocket-Version": "13",
    }
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    return [part for name, value in headers.items() if value is not None for part in ("--header", f"{name}: {value}")]


def exchange(server, request):
    """The response to raw bytes, after which the server must close."""
    with raw_socket(server) as connection:
        connection.sendall(request)
        return Answer(read_to_end(connection))


def connections_made(*arguments):
    """How many connections curl opened for each of several transfers, one after the other."""
    command = ["curl", "--silent", "--noproxy", "*", "--max-time", "10", "--write-out", "%{stderr}%{num_connects}\n"]
    done = subprocess.run([*command, *arguments], capture_output=True, timeout=20, check=True)
    return [int(count) for count in done.stderr.split()]


def test_health_is_200(server):
    assert curl(server.http("/health")).status == 200


def test_topics_is_json(server):
    curl("--data", "x", server.http("/publish/listed"))
    answer = curl(server.http("/topics"))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    listed = [topic for topic in json.loads(answer.text)["topics"] if topic["name"] == "listed"]
    assert [(topic["subscribers"], topic["seq"] >= 0) for topic in listed] == [(0, True)]


def test_the_page_is_html(server):
    answer = curl(server.http("/"))
    assert answer.status == 200
    assert answer.headers["content-type"].lower().replace(" ", "") == "text/html;charset=utf-8"
    assert answer.text.lstrip().lower().startswith("<!doctype html>")


@pytest.mark.parametrize("path", ["/nowhere", "/ws", "/healthy"])
def test_an_unknown_path_is_404_with_a_hint(server, path):
    answer = curl(server.http(path))
    assert answer.status == 404
    assert "/ws/" in answer.text, f"no hint in {answer.text!r}"


def test_publish_answers_with_the_seq_as_json(server):
    answer = curl("--data", "x", server.http("/publish/answered"))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("application/json")
    assert isinstance(json.loads(answer.text)["seq"], int)


@pytest.mark.parametrize(
    "method, path, allowed",
    [("DELETE", "/health", "GET"), ("PUT", "/publish/x", "POST"), ("GET", "/publish/x", "POST")],
)
def test_a_wrong_method_is_405_and_names_the_right_one(server, method, path, allowed):
    answer = curl("--request", method, server.http(path))
    assert answer.status == 405
    assert allowed in answer.headers["allow"]


def test_head_has_the_head_of_get_and_no_body(server):
    got = curl(server.http("/health"))
    head = curl("--head", server.http("/health"))
    assert head.status == got.status == 200
    assert head.headers["content-length"] == got.headers["content-length"] == str(len(got.body))
    assert head.body == b""


def test_several_requests_use_one_connection(server):
    urls = [server.http(path) for path in ("/health", "/topics", "/nowhere", "/health")]
    assert connections_made(*urls) == [1, 0, 0, 0]


def test_publishing_keeps_the_connection(server):
    urls = [server.http("/publish/kept"), server.http("/publish/kept")]
    assert connections_made("--data", "x", *urls) == [1, 0]


def test_requests_sent_together_are_answered_in_order(server):
    requests = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with raw_socket(server) as connection:
        connection.sendall(requests)
        received = read_to_end(connection)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1 404") == 1


def test_a_request_byte_by_byte_is_answered(server):
    with raw_socket(server) as connection:
        for byte in b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert Answer(read_to_end(connection)).status == 200


def test_headers_that_are_too_large_are_431(server):
    assert curl("--header", f"X-Large: {'x' * 40_000}", server.http("/health")).status == 431


def test_what_is_no_http_is_refused(server):
    assert exchange(server, b"this is no HTTP\r\n\r\n").status == 400


def test_a_client_that_expects_100_gets_it(server):
    url = server.http("/publish/expected")
    command = ["curl", "--silent", "--verbose", "--noproxy", "*", "--max-time", "10", "--expect100-timeout", "8"]
    done = subprocess.run(
        [
            *command,
            "--header",
            "Expect: 100-continue",
            "--data",
            "x",
            "--write-out",
            "\n%{http_code} %{time_total}",
            url,
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    status, seconds = done.stdout.splitlines()[-1].split()
    assert status == "200"
    assert "HTTP/1.1 100" in done.stderr
    assert float(seconds) < 4, "curl waited in vain for the 100"


def test_a_body_in_chunks_is_taken(server):
    answer = curl("--header", "Transfer-Encoding: chunked", "--data", "in chunks", server.http("/publish/chunked"))
    assert answer.status == 200, answer.text
    assert answer.body


def test_a_body_with_two_lengths_is_refused(server):
    request = (
        b"POST /publish/smuggled HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\n"
    )
    assert exchange(server, request).status in (400, 411, 501)


def test_a_body_over_the_limit_is_413(server):
    request = b"POST /publish/large HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n"
    assert exchange(server, request).status == 413


def test_the_opening_handshake_is_answered_as_the_rfc_says(server):
    with raw_socket(server) as connection:
        connection.sendall(
            f"GET /echo HTTP/1.1\r\nHost: x\r\nUPGRADE: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
            f"Sec-WebSocket-Key: {HANDSHAKE_KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            more = connection.recv(4096)
            assert more, head
            head += more
    answer = Answer(head)
    assert answer.status == 101
    assert answer.headers["upgrade"].lower() == "websocket"
    assert answer.headers["connection"].lower() == "upgrade"
    assert answer.headers["sec-websocket-accept"] == HANDSHAKE_ACCEPT


@pytest.mark.parametrize("version", ["8", "12", "14", "x"])
def test_another_version_of_the_protocol_is_426_and_names_13(server, version):
    answer = curl(*handshake(Sec_WebSocket_Version=version), server.http("/echo"))
    assert answer.status == 426
    assert answer.headers["sec-websocket-version"] == "13"


@pytest.mark.parametrize("key", [None, "", "short", "not base64 at all!!!!!!!"])
def test_a_handshake_without_a_good_key_is_400(server, key):
    # curl drops a header without a value; the empty key is asked for with a semicolon.
    options = ["--header", "Sec-WebSocket-Key;"] if key == "" else []
    assert curl(*handshake(Sec_WebSocket_Key=key or None), *options, server.http("/echo")).status == 400


@pytest.mark.parametrize("path", ["/echo", "/ws/a", "/pub/a", "/stream?streams=a"])
def test_a_websocket_path_asked_for_plainly_is_426(server, path):
    answer = curl(server.http(path))
    assert answer.status == 426
    assert answer.headers["upgrade"].lower() == "websocket"


def test_a_handshake_on_an_unknown_path_is_404(server):
    assert curl(*handshake(), server.http("/nowhere")).status == 404
