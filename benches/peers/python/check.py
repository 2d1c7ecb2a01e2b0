"""Whether a peer keeps its contract, told by a client that nobody here wrote: Python's websockets.

    check.py ws://127.0.0.1:PORT        a peer with `/echo`, `/ws/TOPIC` and `/pub/TOPIC`
    check.py --socketio ws://...        one that speaks Socket.IO 5: the events subscribe, publish and message

Each message comes back as it was sent, at lengths on both sides of each of a frame's three forms and beyond one
segment; three subscribers are sent all that is published, in order; a path that is nobody's is answered 404. Ends with
0 if all is so, and else says what was not.
"""

import argparse
import asyncio
import json
import random
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

LENGTHS = [0, 1, 7, 125, 126, 127, 1000, 16_384, 65_535, 65_536, 70_000]
PUBLISHED = 200
SUBSCRIBERS = 3
# Seconds for any one message.
PATIENCE = 10
# Seconds until subscribers are surely in their topic: the contract has no confirmation.
SETTLING = 5

PLAIN = {"compression": None, "max_size": None, "proxy": None, "ping_interval": None}


class Broken(Exception):
    """The contract is not kept."""


def messages():
    """Binary and text of every length, some of it beyond ASCII."""
    source = random.Random(7)
    for length in LENGTHS:
        yield source.randbytes(length)
        yield "".join(source.choice("abcdefgh 0123456789{}\"") for _ in range(length))
    yield "grüße, 世界 🎉" * 1000


def shown(message):
    """A message as a fault names it."""
    return f"{type(message).__name__} of {len(message)}, {message[:20]!r}..."


async def receive(socket):
    """The next message, in its time."""
    return await asyncio.wait_for(socket.recv(), PATIENCE)


def same(expected, received, where):
    """That it is the same message, of the same type."""
    if type(expected) is not type(received) or expected != received:
        raise Broken(f"{where}: {shown(received)} came instead of {shown(expected)}")


async def check_echo(base):
    """One by one, and then many at once."""
    async with connect(f"{base}/echo", **PLAIN | {"compression": "deflate"}) as socket:
        if socket.response.headers.get("Sec-WebSocket-Extensions"):
            raise Broken("/echo compresses, which no peer does")
    async with connect(f"{base}/echo", **PLAIN) as socket:
        for message in messages():
            await socket.send(message)
            same(message, await receive(socket), "/echo")
        sent = [f"message {index}" if index % 2 else b"\0" * index for index in range(PUBLISHED)]
        for message in sent:
            await socket.send(message)
        for message in sent:
            same(message, await receive(socket), "/echo, many at once")
        pong = await socket.ping()
        await asyncio.wait_for(pong, PATIENCE)


async def settle(subscribers, publisher, topic):
    """Publishes until each subscriber has heard something, and then until the last of it has come."""
    waiting = set(range(len(subscribers)))
    for attempt in range(SETTLING * 20):
        await publisher.send(f"settle {attempt}")
        for index in list(waiting):
            try:
                await asyncio.wait_for(subscribers[index].recv(), 0.05)
                waiting.discard(index)
            except TimeoutError:
                pass
        if not waiting:
            await publisher.send("settled")
            for subscriber in subscribers:
                while await receive(subscriber) != "settled":
                    pass
            return
    raise Broken(f"/ws/{topic}: {len(waiting)} of {len(subscribers)} subscribers are sent nothing")


async def check_topics(base):
    """All that is published comes to each subscriber of the topic, in order, and to no other."""
    topic = "check.topic-1"
    async with (
        connect(f"{base}/ws/{topic}", **PLAIN) as first,
        connect(f"{base}/ws/{topic}", **PLAIN) as second,
        connect(f"{base}/ws/{topic}", **PLAIN) as third,
        connect(f"{base}/ws/another", **PLAIN) as other,
        connect(f"{base}/pub/{topic}", **PLAIN) as publisher,
    ):
        subscribers = [first, second, third][:SUBSCRIBERS]
        await settle(subscribers, publisher, topic)
        sent = [f"message {index}" if index % 2 else bytes([index % 256]) * index for index in range(PUBLISHED)]
        sent += list(messages())

        async def publish():
            for message in sent:
                await publisher.send(message)

        async def hear(subscriber):
            for message in sent:
                same(message, await receive(subscriber), f"/ws/{topic}")

        await asyncio.gather(publish(), *map(hear, subscribers))
        # Subscribers that leave, whichever way, do not keep the others from their messages.
        await first.close()
        second.transport.abort()
        await publisher.send("after")
        same("after", await receive(third), f"/ws/{topic}, after two left")
        for subscriber, who in [(other, "another topic's subscriber"), (publisher, "the publisher")]:
            try:
                message = await asyncio.wait_for(subscriber.recv(), 0.2)
                raise Broken(f"{who} is sent {shown(message)}")
            except TimeoutError:
                pass


async def check_unknown(base):
    """404, before anything is agreed."""
    for path in ["/", "/nothing", "/echo/more", "/ws/", "/pub/"]:
        try:
            async with connect(f"{base}{path}", **PLAIN):
                raise Broken(f"{path}: is served")
        except InvalidStatus as refused:
            if refused.response.status_code != 404:
                raise Broken(f"{path}: HTTP {refused.response.status_code} instead of 404") from None


class SocketIo:
    """A client of Socket.IO 5 on Engine.IO 4, as far as the check needs one."""

    def __init__(self, socket):
        self.socket = socket
        self.acknowledgements = 0

    async def next(self, kind):
        """The next packet, which is of this kind; pings are answered."""
        while True:
            packet = await receive(self.socket)
            if packet == "2":
                await self.socket.send("3")
            elif packet.startswith(kind):
                return packet[len(kind) :]
            else:
                raise Broken(f"a packet {packet[:60]!r} instead of one that begins with {kind!r}")

    async def open(self):
        """The two handshakes."""
        if "sid" not in json.loads(await self.next("0")):
            raise Broken("the Engine.IO handshake names no session")
        await self.socket.send("40")
        await self.next("40")
        return self

    async def emit(self, *arguments):
        """An event without an acknowledgement."""
        await self.socket.send("42" + json.dumps(arguments))

    async def subscribe(self, topic):
        """Subscribes and waits for the acknowledgement."""
        number = self.acknowledgements
        self.acknowledgements += 1
        await self.socket.send(f"42{number}" + json.dumps(["subscribe", topic]))
        await self.next(f"43{number}")


async def check_socketio(base):
    """The three events, and 404 for other paths."""
    url = f"{base}/socket.io/?EIO=4&transport=websocket"
    async with (
        connect(url, **PLAIN) as first,
        connect(url, **PLAIN) as second,
        connect(url, **PLAIN) as third,
        connect(url, **PLAIN) as last,
    ):
        *subscribers, publisher = [await SocketIo(socket).open() for socket in (first, second, third, last)]
        topic = "check.topic-1"
        for subscriber in subscribers:
            await subscriber.subscribe(topic)
        sent = [f"message {index}" if index % 2 else {"index": index} for index in range(PUBLISHED)]
        sent += [message for message in messages() if isinstance(message, str)]

        async def publish():
            for data in sent:
                await publisher.emit("publish", topic, data)

        async def hear(subscriber):
            for data in sent:
                heard = json.loads(await subscriber.next("42"))
                if heard != ["message", topic, data]:
                    raise Broken(f"{str(heard)[:80]} came instead of {str(data)[:80]}")

        await asyncio.gather(publish(), *map(hear, subscribers))
    await check_unknown(base)


async def main(arguments):
    """All checks; the first fault ends them."""
    checks = [check_socketio] if arguments.socketio else [check_echo, check_topics, check_unknown]
    for check in checks:
        try:
            await check(arguments.base)
        except Exception as fault:  # Whatever it is, it is the peer's fault, and said with the check's name.
            sys.exit(f"{check.__name__}: {fault or type(fault).__name__}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--socketio", action="store_true")
    parser.add_argument("base")
    asyncio.run(main(parser.parse_args()))
