"""Python's websockets as a peer: `/echo`, `/ws/TOPIC`, `/pub/TOPIC`, 404 for all else.

On uvloop, as its documentation advises, without compression and without pings. What is published goes out through the
library's `broadcast`, which makes the frame once for all subscribers.
"""

import argparse
import asyncio
from collections import defaultdict

import uvloop
from websockets.asyncio.server import broadcast, serve
from websockets.exceptions import ConnectionClosed

topics = defaultdict(set)


def refuse_unknown_paths(connection, request):
    """Answers 404 unless the path is one of the three."""
    path = request.path
    if path == "/echo" or any(path.startswith(start) and path != start for start in ("/ws/", "/pub/")):
        return None
    return connection.respond(404, "Not Found\n")


async def handle(socket):
    """Serves one connection until it closes."""
    path = socket.request.path
    try:
        if path == "/echo":
            async for message in socket:
                await socket.send(message)
        elif path.startswith("/ws/"):
            await subscribe(socket, path.removeprefix("/ws/"))
        else:
            topic = path.removeprefix("/pub/")
            async for message in socket:
                broadcast(topics[topic], message)
    except ConnectionClosed:
        pass


async def subscribe(socket, topic):
    """Is in the topic until the connection closes; what it says is dropped."""
    topics[topic].add(socket)
    try:
        async for _ in socket:
            pass
    finally:
        topics[topic].discard(socket)


async def main(port):
    """Serves for ever."""
    options = {"compression": None, "ping_interval": None, "max_size": 64 << 20, "server_header": None}
    async with serve(handle, "127.0.0.1", port, process_request=refuse_unknown_paths, **options) as server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=8090)
    uvloop.run(main(parser.parse_args().port))
