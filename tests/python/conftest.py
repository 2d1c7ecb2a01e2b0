"""Fixtures: a server for a whole file, servers for one test, and a certificate."""

import subprocess

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


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for this machine and its key, as files."""
    folder = tmp_path_factory.mktemp("certificate")
    files = (str(folder / "cert.pem"), str(folder / "key.pem"))
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=ringwire.tests"
    extensions = ["basicConstraints=critical,CA:FALSE", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    options = [part for extension in extensions for part in ("-addext", extension)]
    made = subprocess.run(
        [*command.split(), *options, "-out", files[0], "-keyout", files[1]], capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 0, made.stderr
    return files


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
