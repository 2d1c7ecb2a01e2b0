"""The end: what clients see when the server is told to stop, and that it does stop."""

import asyncio
import signal
import socket
import time

import pytest
import websockets
from clients import connect, raw_socket, raw_websocket, scenario


@pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT])
@scenario(seconds=40)
async def test_every_client_is_closed_with_1001_and_the_server_exits_well(serve, with_signal):
    running = serve("--shards", "2")
    paths = ["/echo", "/ws/a", "/pub/a", "/stream?streams=a/b"] * 5
    clients = [await connect(running.ws(path)) for path in paths]
    stopped = asyncio.create_task(asyncio.to_thread(running.stop, with_signal))
    for client in clients:
        with pytest.raises(websockets.ConnectionClosed):
            await client.recv()
    assert {client.close_code for client in clients} == {1001}
    assert await stopped == 0, running.output()


@scenario(seconds=40)
async def test_a_client_that_never_answers_the_close_does_not_hold_the_server(serve):
    running = serve("--shards", "2")
    with raw_websocket(running, "/echo") as silent:
        assert await asyncio.to_thread(running.stop) == 0
        frame = silent.recv(4)
        assert (frame[0], frame[2:4]) == (0x88, b"\x03\xe9"), "no close frame with 1001"


@scenario(seconds=40)
async def test_an_unfinished_request_does_not_hold_the_server(serve):
    running = serve("--shards", "1")
    with raw_socket(running) as half:
        half.sendall(b"GET /health HTTP/1.1\r\nHos")
        assert await asyncio.to_thread(running.stop) == 0


@scenario(seconds=40)
async def test_nobody_is_accepted_once_the_server_is_gone(serve):
    running = serve("--shards", "2")
    assert await asyncio.to_thread(running.stop) == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(running.endpoint, timeout=5)


@scenario(seconds=40)
async def test_a_server_without_clients_stops_at_once(serve):
    running = serve("--shards", "2")
    started = time.monotonic()
    assert await asyncio.to_thread(running.stop) == 0
    assert time.monotonic() - started < 3
