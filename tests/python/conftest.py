"""Fixtures: a server for a whole file, and servers for one test."""

import pytest
from ringwire_server import Server


@pytest.fixture(scope="module")
def server():
    """A server on two shards without a feed, the same for all tests of a file. It must outlive them all."""
    running = Server("--shards", "2")
    yield running
    try:
        assert running.process.poll() is None, f"the server ended by itself:\n{running.output()}"
        assert running.stop() == 0, running.output()
    finally:
        running.kill()


@pytest.fixture
def serve():
    """Starts servers for one test, and kills at its end those that still run."""
    started = []

    def start(*arguments, **options):
        started.append(Server(*arguments, **options))
        return started[-1]

    yield start
    for running in started:
        running.kill()
