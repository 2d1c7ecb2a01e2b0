"""A server of Python's websockets as the upstream of ringwire."""

import asyncio
import json
import threading

import websockets.asyncio.server
from clients import curl


def published(server, count):
    """Asks /health until so much has come from the source."""
    for _ in range(2000):
        source = json.loads(curl(server.http("/health")).body)["sources"][0]
        if source["published"] + source["dropped"] >= count:
            return source
    raise AssertionError(source)


def test_messages_are_mapped_and_the_subscription_is_sent(serve, tmp_path):
    asked, ready, ended = [], threading.Event(), threading.Event()
    port = []

    async def exchange(connection):
        asked.append((connection.request.headers["X-Key"], await connection.recv()))
        for price in ("1.50", "1.60"):
            await connection.send(json.dumps({"e": "trade", "s": "BTC-USD", "p": price, "E": 5}))
        await connection.send(json.dumps({"result": None, "id": 1}))
        await connection.wait_closed()

    async def run():
        async with websockets.asyncio.server.serve(exchange, "127.0.0.1", 0) as upstream:
            port.append(upstream.sockets[0].getsockname()[1])
            ready.set()
            await asyncio.to_thread(ended.wait, 60)

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    try:
        assert ready.wait(20)
        config = tmp_path / "ringwire.toml"
        config.write_text(
            f'[[upstream]]\nurl = "ws://127.0.0.1:{port[0]}/ws?token=secret"\nheaders = ["X-Key: 7"]\n'
            """subscribe = ['{"method":"SUBSCRIBE","params":["btcusd@trade"],"id":1}']\n"""
            'topic = "trades.{/s}"\nseq_at = "/E"\n'
        )
        server = serve("--config", str(config))
        source = published(server, 3)
        assert (source["state"], source["published"], source["dropped"]) == ("running", 2, 1)
        assert asked == [("7", '{"method":"SUBSCRIBE","params":["btcusd@trade"],"id":1}')]
        topics = json.loads(curl(server.http("/topics")).body)["topics"]
        assert [(topic["name"], topic["seq"]) for topic in topics if topic["seq"]] == [("trades.BTC-USD", 2)]
        assert "secret" not in server.output() and "secret" not in curl(server.http("/metrics")).text
    finally:
        ended.set()
        thread.join(20)
