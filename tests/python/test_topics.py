"""Publishing and subscribing: raw, combined, over WebSocket and over HTTP."""

import asyncio
import contextlib
import json
import socket

import pytest
import websockets
from clients import connect, curl, scenario

SUBSCRIBERS = 200
MESSAGES = 400
TRICKY = 'é"\\'


def post(server, topic, payload):
    """Publishes over HTTP; gives the `seq` of the answer."""
    answer = curl("--data-binary", "@-", server.http(f"/publish/{topic}"), stdin=payload.encode())
    assert answer.status == 200, answer.text
    return json.loads(answer.text)["seq"]


def topic_of(server, name):
    """The topic's entry in `/topics`; `None` if it has none."""
    topics = json.loads(curl(server.http("/topics")).text)["topics"]
    return next((topic for topic in topics if topic["name"] == name), None)


def subscribers(server, name):
    """How many subscriptions `/topics` counts."""
    topic = topic_of(server, name)
    return topic["subscribers"] if topic else 0


async def subscribed(server, name, count):
    """Waits until the topic has this many subscribers."""
    loop = asyncio.get_running_loop()
    for _ in range(500):
        if await loop.run_in_executor(None, subscribers, server, name) == count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{name} has {subscribers(server, name)} subscribers and not {count}")


@scenario(seconds=30)
async def test_what_is_posted_reaches_a_raw_subscriber_as_it_is(server):
    payloads = ['{"p":"1.50"}', "not json", "é€𝄞", "x" * 100_000]
    async with connect(server.ws("/ws/posted")) as client:
        await subscribed(server, "posted", 1)
        for payload in payloads:
            await asyncio.to_thread(post, server, "posted", payload)
            assert await client.recv() == payload


def test_the_sequence_of_a_topic_counts_by_one(server):
    first = post(server, "counted", "a")
    assert [post(server, "counted", "b") for _ in range(5)] == list(range(first + 1, first + 6))
    assert post(server, "counted.too", "a") == first
    assert topic_of(server, "counted")["seq"] == first + 5


@scenario(seconds=30)
async def test_what_is_published_over_websocket_keeps_type_and_order(server):
    messages = [b"\x00\xff binary", "text", "", b"", "x" * 70_000, b"\x80" * 200_000]
    async with connect(server.ws("/ws/typed")) as client, connect(server.ws("/pub/typed")) as publisher:
        await subscribed(server, "typed", 1)
        for message in messages:
            await publisher.send(message)
        assert [await client.recv() for _ in messages] == messages


@scenario(seconds=30)
async def test_a_topic_reaches_its_own_subscribers_only(server):
    async with connect(server.ws("/ws/mine")) as mine, connect(server.ws("/ws/yours")) as yours:
        await subscribed(server, "mine", 1)
        await subscribed(server, "yours", 1)
        await asyncio.to_thread(post, server, "mine", "for me")
        await asyncio.to_thread(post, server, "yours", "for you")
        assert await mine.recv() == "for me"
        assert await yours.recv() == "for you"


@scenario(seconds=30)
async def test_a_combined_stream_names_the_topic_of_each_message(server):
    async with connect(server.ws("/stream?streams=left/right")) as client:
        await subscribed(server, "left", 1)
        await subscribed(server, "right", 1)
        sent = {"left": [], "right": []}
        for number in range(50):
            topic = "left" if number % 3 else "right"
            await asyncio.to_thread(post, server, topic, json.dumps({"n": number, "s": TRICKY}))
            sent[topic].append({"n": number, "s": TRICKY})
        received = {"left": [], "right": []}
        for _ in range(50):
            message = json.loads(await client.recv())
            assert sorted(message) == ["data", "stream"]
            received[message["stream"]].append(message["data"])
        assert received == sent


@pytest.mark.parametrize("path", ["/ws/refusing", "/stream?streams=refusing"])
@scenario(seconds=30)
async def test_a_message_from_a_subscriber_is_refused_with_a_clear_close(server, path):
    async with connect(server.ws(path)) as client:
        await client.send("may I?")
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await client.recv()
    assert closed.value.rcvd.code in (1003, 1008), closed.value
    assert closed.value.rcvd.reason, "the close gives no reason"


@scenario(seconds=30)
async def test_a_subscriber_that_leaves_is_no_longer_counted(server):
    async with connect(server.ws("/ws/left.behind")):
        async with connect(server.ws("/ws/left.behind")):
            await subscribed(server, "left.behind", 2)
        await subscribed(server, "left.behind", 1)
    await subscribed(server, "left.behind", 0)


@scenario(seconds=30)
async def test_a_subscriber_that_is_cut_off_is_no_longer_counted(server):
    client = await connect(server.ws("/ws/cut"))
    await subscribed(server, "cut", 1)
    # SO_LINGER with no time: the close is a reset.
    sock = client.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.transport.abort()
    await subscribed(server, "cut", 0)


@scenario(seconds=120)
async def test_two_hundred_subscribers_on_two_shards_see_the_same_order(server):
    """Four publishers at once: any order is right, as long as it is everyone's."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(server.ws("/ws/crowd"), ping_interval=None))
            for _ in range(SUBSCRIBERS)
        ]
        publishers = [await stack.enter_async_context(connect(server.ws("/pub/crowd"))) for _ in range(4)]
        await subscribed(server, "crowd", SUBSCRIBERS)

        async def publish(who, publisher):
            for number in range(MESSAGES // 4):
                await publisher.send(f"{who}:{number}")
                if number % 10 == 0:
                    await asyncio.sleep(0)

        async def receive(client):
            return [await client.recv() for _ in range(MESSAGES)]

        receiving = [asyncio.create_task(receive(client)) for client in clients]
        await asyncio.gather(*(publish(who, publisher) for who, publisher in enumerate(publishers)))
        received = await asyncio.gather(*receiving)
    assert all(messages == received[0] for messages in received)
    for who in range(4):
        own = [message for message in received[0] if message.startswith(f"{who}:")]
        assert own == [f"{who}:{number}" for number in range(MESSAGES // 4)]
