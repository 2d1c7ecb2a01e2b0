"""Where io_uring is refused, the server says why and what to do, and exits with a code of its own."""

import ctypes
import platform
import struct
import subprocess

import pytest
from ringwire_server import binary

EXIT_NO_IO_URING = 69
IO_URING_SETUP = 425
EPERM, ENOSYS = 1, 38
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD_WORD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
RET_ALLOW, RET_ERRNO = 0x7FFF0000, 0x00050000


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def refuse_io_uring(errno):
    """Installs a seccomp filter like those of container runtimes, which answers io_uring_setup with `errno`."""
    instructions = [
        (LOAD_WORD, 0, 0, 0),
        (JUMP_EQUAL, 0, 1, IO_URING_SETUP),
        (RETURN, 0, 0, RET_ERRNO | errno),
        (RETURN, 0, 0, RET_ALLOW),
    ]
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    program = _Program(len(instructions), code)
    assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the filter has x86-64's system call number")
@pytest.mark.parametrize("errno", [EPERM, ENOSYS])
def test_a_seccomp_filter_is_named_with_its_remedy(errno):
    ended = subprocess.run(
        [binary(), "serve", "--listen", "127.0.0.1:0", "--feed", "none"],
        preexec_fn=lambda: refuse_io_uring(errno),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == EXIT_NO_IO_URING, ended
    assert "seccomp" in ended.stderr and "io_uring_setup" in ended.stderr, ended
    assert "ready" not in ended.stdout.splitlines()
