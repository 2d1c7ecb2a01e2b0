"""The server under test as a child process.

`$RINGWIRE_BIN` names the binary. Each server listens on a port that the kernel picks, is ready when a constructor
returns, and is gone when `stop` or `kill` returns. What it prints goes to a temporary file, so that no pipe can fill.
"""

import os
import re
import signal
import subprocess
import tempfile
import time

START_LIMIT_S = 20.0
STOP_LIMIT_S = 20.0


def binary():
    """The path of the `ringwire` binary."""
    try:
        return os.environ["RINGWIRE_BIN"]
    except KeyError:
        raise RuntimeError("RINGWIRE_BIN must name the ringwire binary: run `cargo xtask test --only python`") from None


class Server:
    """`ringwire serve` with these arguments; feed `none` unless they name one."""

    def __init__(self, *arguments, listen="127.0.0.1:0"):
        if "--feed" not in arguments:
            arguments = ("--feed", "none", *arguments)
        self._output = tempfile.TemporaryFile()
        command = [binary(), "serve", "--listen", listen, *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise
        found = re.search(r"http(s?)://([0-9.:\[\]]+)", self.output())
        assert found, f"the server did not say where it listens:\n{self.output()}"
        self._s, self.address = found.groups()
        host, _, port = self.address.rpartition(":")
        self.endpoint = (host.strip("[]"), int(port))

    def output(self):
        """All that the server has printed so far."""
        length = os.fstat(self._output.fileno()).st_size
        return os.pread(self._output.fileno(), length, 0).decode(errors="replace")

    def ws(self, path):
        """A WebSocket URL on this server."""
        return f"ws{self._s}://{self.address}{path}"

    def http(self, path):
        """An HTTP URL on this server."""
        return f"http{self._s}://{self.address}{path}"

    def stop(self, with_signal=signal.SIGTERM):
        """Asks the server to drain and waits for its end; gives its exit code."""
        self.process.send_signal(with_signal)
        return self.process.wait(STOP_LIMIT_S)

    def kill(self):
        """Ends the server at once, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(STOP_LIMIT_S)

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_LIMIT_S
        while "ready" not in self.output().splitlines():
            assert self.process.poll() is None, f"the server ended before it was ready:\n{self.output()}"
            assert time.monotonic() < deadline, f"the server was not ready in time:\n{self.output()}"
            time.sleep(0.01)
