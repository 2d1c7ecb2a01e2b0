"""The recorded feeds, replayed faster than they were."""

import asyncio
import contextlib
import json
import pathlib
import time

from clients import connect, curl, scenario

DATA = pathlib.Path(__file__).parent.parent / "fixtures/data"
BITCOIN = DATA / "btcusdt-2021-01-08.jsonl"
RIPPLE = DATA / "xrpusdt-orderbook-2024-12-01.jsonl"
SPEED = 20


def recorded(file, topic):
    """The `data` of each event of the topic, byte for byte as the file has it."""
    found = []
    for line in file.read_bytes().splitlines():
        if json.loads(line)["topic"] == topic:
            _, data = line.split(b',"data":', 1)
            found.append(data.removesuffix(b"}"))
    return found


def replay(serve, file, subscribers, *arguments):
    """A server whose feed starts once there are this many subscriptions."""
    feed = ("--feed", str(file), "--speed", str(SPEED), "--feed-start-subscribers", str(subscribers))
    return serve("--shards", "2", *feed, *arguments)


async def receive(client, count):
    """The payloads of the next `count` messages, as bytes."""
    return [await client.recv(decode=False) for _ in range(count)]


def test_the_fixture_is_what_the_tests_say_it_is():
    trades = recorded(BITCOIN, "trades.BTCUSDT")
    assert len(trades) == 2001
    assert all(json.loads(trade)["e"] == "trade" for trade in trades)


@scenario(seconds=60)
async def test_all_trades_arrive_in_order_and_byte_for_byte_at_the_recorded_pace(serve):
    trades = recorded(BITCOIN, "trades.BTCUSDT")
    running = replay(serve, BITCOIN, 1)
    async with connect(running.ws("/ws/trades.BTCUSDT")) as client:
        started = time.monotonic()
        assert await receive(client, len(trades)) == trades
        took_s = time.monotonic() - started
    events = BITCOIN.read_bytes().splitlines()
    span_s = (json.loads(events[-1])["ts"] - json.loads(events[0])["ts"]) / 1e9 / SPEED
    # The last trade is not the last event, but close; nothing may come early, and the machine may be busy.
    assert 0.9 * span_s < took_s < span_s + 5, f"{took_s:.2f} s for {span_s:.2f} s"


@scenario(seconds=60)
async def test_a_combined_stream_carries_each_topic_of_the_recording_in_order(serve):
    topics = ["trades.BTCUSDT", "quotes.BTCUSDT"]
    expected = {topic: recorded(BITCOIN, topic) for topic in topics}
    running = replay(serve, BITCOIN, 2)
    received = {topic: [] for topic in topics}
    async with connect(running.ws(f"/stream?streams={'/'.join(topics)}")) as client:
        for message in await receive(client, sum(map(len, expected.values()))):
            for topic in topics:
                head = f'{{"stream":"{topic}","data":'.encode()
                if message.startswith(head):
                    received[topic].append(message.removeprefix(head).removesuffix(b"}"))
    assert received == expected


@scenario(seconds=60)
async def test_order_book_messages_of_tens_of_kilobytes_arrive_whole(serve):
    book = recorded(RIPPLE, "book.XRPUSDT")
    assert len(book) == 50
    running = replay(serve, RIPPLE, 1)
    async with connect(running.ws("/ws/book.XRPUSDT")) as client:
        assert await receive(client, len(book)) == book


@scenario(seconds=120)
async def test_two_hundred_subscribers_on_two_shards_get_every_trade(serve):
    trades = recorded(BITCOIN, "trades.BTCUSDT")
    running = replay(serve, BITCOIN, 200)
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(running.ws("/ws/trades.BTCUSDT"), ping_interval=None))
            for _ in range(200)
        ]
        for received in await asyncio.gather(*(receive(client, len(trades)) for client in clients)):
            assert received == trades


@scenario(seconds=60)
async def test_a_looped_feed_starts_over(serve):
    book = recorded(RIPPLE, "book.XRPUSDT")
    running = replay(serve, RIPPLE, 1, "--loop")
    async with connect(running.ws("/ws/book.XRPUSDT")) as client:
        received = await receive(client, 2 * len(book) + 1)
    assert received == book + book + book[:1]


@scenario(seconds=60)
async def test_the_synthetic_market_repeats_exactly(serve):
    any_market = serve("--shards", "1", "--feed", "demo")
    topic = (await asyncio.to_thread(quote_topics, any_market))[0]
    any_market.kill()

    async def first_quotes():
        running = serve("--shards", "1", "--feed", "demo", "--feed-start-subscribers", "1")
        async with connect(running.ws(f"/ws/{topic}")) as client:
            quotes = [json.loads(message) for message in await receive(client, 30)]
        # Prices and sizes are strings, as exchanges write them. Times are numbers, and differ from run to run.
        return [{key: value for key, value in quote.items() if isinstance(value, str)} for quote in quotes]

    first = await first_quotes()
    assert len({json.dumps(quote) for quote in first}) > 10, "the market does not move"
    assert await first_quotes() == first


def quote_topics(running):
    """The names of the quote topics, once there are any."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        topics = json.loads(curl(running.http("/topics")).text)["topics"]
        names = sorted(topic["name"] for topic in topics if topic["name"].startswith("quotes."))
        if names:
            return names
        time.sleep(0.05)
    raise AssertionError("the synthetic market has no quotes")
