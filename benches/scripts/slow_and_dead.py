"""What TCP_NOTSENT_LOWAT and TCP_USER_TIMEOUT bring: a subscriber that reads slowly, and one that is gone.

`slow BINARY`: for each value of shards.notsent_lowat_bytes, a publisher of 200 KB/s and a subscriber that reads 20 KB/s.
How old is what it reads, and how much of it waits in the kernel? The topic keeps 64 KiB, so that what is beyond the
kernel's own is dropped, and little of the age is the log's. There are no pings: behind what waits in the kernel, they would
be answered too late.

`dead BINARY` (as root): a subscriber in a network namespace of its own, whose packets are dropped from some moment on while
the topic goes on. For each value of timeouts.unacknowledged_timeout_ms and with and without pings: how long until the
server has let go of it?

Only the standard library is needed.
"""

import http.client
import json
import multiprocessing
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

RATE = 20_000
PAYLOAD_BYTES = 200
MESSAGES_PER_SECOND = 1000
SETTLE_SECONDS = 60
MEASURE_SECONDS = 30
DEAD_SECONDS_MAX = 1200


class Server:
    """A server of its own, with one shard and `lines` of configuration."""

    def __init__(self, binary, lines, address="127.0.0.1", prefix=()):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, "config.toml")
        with open(path, "w") as file:
            file.write(lines + f'\n[[listen]]\naddress = "{address}:{self.port}"\n')
        command = [*prefix, binary, "serve", "--config", path]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def open_socket(address, path):
    """A WebSocket, as a blocking socket behind its handshake."""
    for attempt in range(100):
        try:
            stream = socket.create_connection(address, 10)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    request = (
        f"GET {path} HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    stream.sendall(request.encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += stream.recv(1)
    assert b" 101 " in head, head
    stream.settimeout(None)
    return stream


def frame(payload):
    """A masked text frame. The mask key is zero, which masks nothing."""
    assert 126 <= len(payload) < 65536
    return b"\x81\xfe" + struct.pack(">HI", len(payload), 0) + payload


def payloads(buffer):
    """Takes the payloads of whole frames off `buffer`."""
    found = []
    while len(buffer) >= 4:
        length, start = buffer[1] & 127, 2
        if length == 126:
            length, start = struct.unpack(">H", buffer[2:4])[0], 4
        if len(buffer) < start + length:
            break
        found.append(bytes(buffer[start : start + length]))
        del buffer[: start + length]
    return found


def queued(port, peer_port):
    """Bytes that the kernel keeps of a connection of loopback: not acknowledged or not sent, and not read."""
    unsent = unread = 0
    with open("/proc/net/tcp") as table:
        for line in list(table)[1:]:
            fields = line.split()
            local, remote = (int(field.split(":")[1], 16) for field in fields[1:3])
            tx, rx = (int(part, 16) for part in fields[4].split(":"))
            if (local, remote) == (port, peer_port):
                unsent = tx
            if (local, remote) == (peer_port, port):
                unread = rx
    return unsent, unread


def slow_once(binary, lowat, unacknowledged):
    lines = f"""
[feed]
source = "none"
[publish]
insecure = true
[shards]
count = 1
notsent_lowat_bytes = {lowat}
[timeouts]
ping_interval_ms = 0
unacknowledged_timeout_ms = {unacknowledged}
[deflate]
enabled = false
[[topics]]
match = ">"
slow = "drop"
retention = {{ bytes = 65536 }}
"""
    server = Server(binary, lines)
    address = ("127.0.0.1", server.port)
    reader, writer = open_socket(address, "/ws/t"), open_socket(address, "/pub/t")
    reader.setblocking(False)
    buffer, ages, kernel = bytearray(), [], []
    start = time.monotonic()
    sent = read = 0
    while (now := time.monotonic() - start) < SETTLE_SECONDS + MEASURE_SECONDS:
        while sent < now * MESSAGES_PER_SECOND:
            text = b"%020d" % time.monotonic_ns()
            writer.sendall(frame(text.ljust(PAYLOAD_BYTES, b".")))
            sent += 1
        due = int(now * RATE) - read
        if due > 0:
            try:
                chunk = reader.recv(due)
            except BlockingIOError:
                chunk = b""
            except ConnectionResetError:
                print(f"notsent_lowat {lowat}, unacknowledged {unacknowledged}: reset after {now:.0f} s", flush=True)
                return server.stop()
            read += len(chunk)
            buffer += chunk
            arrived = time.monotonic_ns()
            fresh = [(arrived - int(payload[:20])) / 1e9 for payload in payloads(buffer)]
            if now > SETTLE_SECONDS:
                ages += fresh
                kernel.append(queued(server.port, reader.getsockname()[1]))
        time.sleep(0.005)
    server.stop()
    unsent, unread = (statistics.median(column) for column in zip(*kernel))
    words = "off" if lowat == 0 else f"{lowat // 1024} KiB"
    print(
        f"notsent_lowat {words}, unacknowledged {unacknowledged // 1000} s: age {statistics.median(ages):.1f} s (median), {max(ages):.1f} s (most); "
        f"kernel keeps {unsent / 1024:.0f} KiB of the server's, {unread / 1024:.0f} KiB of the subscriber's",
        flush=True,
    )


def slow(binary):
    cases = [(0, 0), (131_072, 0), (32_768, 0), (16_384, 0), (131_072, 60_000)]
    with multiprocessing.Pool(len(cases)) as pool:
        pool.starmap(slow_once, [(binary, *case) for case in cases])


def run(*command):
    subprocess.run(command, check=True)


def dead(binary):
    here, there = f"rw-a-{os.getpid()}", f"rw-b-{os.getpid()}"
    inside = ["ip", "netns", "exec", here]
    cases = [(60_000, 0), (10_000, 0), (60_000, 25_000), (0, 25_000), (0, 0)]
    servers, readers = [], []
    for name in [here, there]:
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "lo", "up")
    try:
        run("ip", "link", "add", "va", "netns", here, "type", "veth", "peer", "name", "vb", "netns", there)
        for name, device, address in [(here, "va", "10.9.0.1/24"), (there, "vb", "10.9.0.2/24")]:
            run("ip", "-n", name, "addr", "add", address, "dev", device)
            run("ip", "-n", name, "link", "set", device, "up")
        for unacknowledged, ping in cases:
            lines = f"""
[feed]
source = "none"
[publish]
insecure = true
[auth]
insecure = true
[shards]
count = 1
[timeouts]
unacknowledged_timeout_ms = {unacknowledged}
ping_interval_ms = {ping}
"""
            servers.append(Server(binary, lines, "0.0.0.0", inside))
        code = f"import sys; sys.path.insert(0, {os.path.dirname(os.path.abspath(__file__))!r}); import slow_and_dead as s\n"
        ports = [server.port for server in servers]
        reader = code + f"""
import threading, time
def read(stream):
    while stream.recv(65536): pass
for port in {ports}:
    threading.Thread(target=read, args=(s.open_socket(("10.9.0.1", port), "/ws/t"),), daemon=True).start()
print("open", flush=True)
time.sleep({DEAD_SECONDS_MAX} + 60)
"""
        command = ["ip", "netns", "exec", there, sys.executable, "-c", reader]
        readers.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert readers[0].stdout.readline() == b"open\n"
        # The way back stays known, so that packets go out and are dropped there, as behind a router.
        link = json.loads(subprocess.check_output(["ip", "-j", "-n", there, "link", "show", "vb"]))[0]["address"]
        run("ip", "-n", here, "neigh", "replace", "10.9.0.2", "lladdr", link, "dev", "va", "nud", "permanent")
        watcher = code + f"s.watch({list(zip(ports, cases))!r}, {there!r})"
        subprocess.run([*inside, sys.executable, "-c", watcher], check=True)
    finally:
        for process in [server.process for server in servers] + readers:
            process.kill()
            process.wait(20)
        for name in [here, there]:
            run("ip", "netns", "del", name)


def watch(servers, there):
    """Publishes to each server, and waits until it has no subscriber."""
    publishers = [http.client.HTTPConnection("127.0.0.1", port) for port, _ in servers]
    run("ip", "-n", there, "addr", "del", "10.9.0.2/24", "dev", "vb")
    start = time.monotonic()
    left = dict(zip(publishers, servers))
    while left and time.monotonic() - start < DEAD_SECONDS_MAX:
        for publisher, (_, (unacknowledged, ping)) in list(left.items()):
            publisher.request("POST", "/publish/t", b"x" * PAYLOAD_BYTES)
            publisher.getresponse().read()
            publisher.request("GET", "/health")
            if json.loads(publisher.getresponse().read())["subscriptions"] == 0:
                seconds = time.monotonic() - start
                words = f"{unacknowledged // 1000} s" if unacknowledged else "off"
                pings = f"after {ping // 1000} s" if ping else "off"
                print(f"unacknowledged {words}, pings {pings}: gone after {seconds:.1f} s", flush=True)
                del left[publisher]
        time.sleep(0.25)
    for _, case in left.values():
        print(f"{case}: still there after {DEAD_SECONDS_MAX} s", flush=True)


if __name__ == "__main__":
    {"slow": slow, "dead": dead}[sys.argv[1]](sys.argv[2])
