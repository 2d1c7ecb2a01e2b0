"""`ringwire subscribe` and `ringwire publish`, which stand in pipes, and what `ringwire` says of wrong arguments."""

import subprocess
import time

from clients import curl
from ringwire_server import Server, binary
from test_topics import subscribers

LINES = [f'{{"n":{number},"s":"é"}}' for number in range(1000)]


def wait_for_subscriber(server, topic):
    deadline = time.monotonic() + 10
    while subscribers(server, topic) == 0:
        assert time.monotonic() < deadline, "the subscriber did not come"
        time.sleep(0.02)


def test_lines_published_come_out_of_subscribe_as_they_went_in(server):
    command = [binary(), "subscribe", server.ws("/ws/piped"), "--count", str(len(LINES))]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8")
    try:
        wait_for_subscriber(server, "piped")
        command = [binary(), "publish", server.ws("/pub/piped")]
        published = subprocess.run(
            command, input="".join(f"{line}\n" for line in LINES).encode(), capture_output=True, timeout=30
        )
        assert published.returncode == 0, published.stderr.decode()
        assert published.stdout == b""
        printed, _ = reader.communicate(timeout=30)
    finally:
        reader.kill()
        reader.wait()
    assert printed.splitlines() == LINES
    assert reader.returncode == 0


def test_subscribe_ends_quietly_when_its_reader_goes_away(server):
    command = [binary(), "subscribe", server.ws("/ws/abandoned")]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        wait_for_subscriber(server, "abandoned")
        reader.stdout.close()
        deadline = time.monotonic() + 15
        while reader.poll() is None and time.monotonic() < deadline:
            subprocess.run(
                [binary(), "publish", server.ws("/pub/abandoned")], input=b"x\n" * 100, capture_output=True, timeout=30
            )
        assert reader.poll() is not None, "subscribe still runs with nobody reading"
        assert b"panicked" not in reader.stderr.read()
    finally:
        reader.kill()
        reader.wait()


def test_a_server_that_is_not_there_is_said_so(serve):
    running = serve("--shards", "1")
    running.kill()
    done = subprocess.run([binary(), "subscribe", running.ws("/ws/x")], capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert done.stderr.strip() and "panicked" not in done.stderr


def test_wrong_arguments_are_refused_in_words():
    for arguments in (
        ["serve", "--listen", "nowhere"],
        ["serve", "--feed", "/no/such.jsonl"],
        ["serve", "--speed", "-1"],
    ):
        done = subprocess.run([binary(), *arguments], capture_output=True, text=True, timeout=20)
        assert done.returncode != 0, arguments
        assert done.stderr.strip() and "panicked" not in done.stderr, (arguments, done.stderr)


def test_publishing_is_not_open_on_an_address_that_others_reach():
    """Publishing is open on loopback only: elsewhere it needs a token, or to be told."""
    running = Server("--shards", "1", "--insecure", listen="0.0.0.0:0")
    try:
        url = f"http://127.0.0.1:{running.endpoint[1]}/publish/x"
        assert curl("--data", "x", url).status in (401, 403)
    finally:
        running.kill()
