#!/usr/bin/env python3
"""What idle connections cost: usage idle.py RINGWIRE RINGLOAD CONNECTIONS...

For each count, a server of one shard is started, has served some thousand visits of which at most 16 were there at a time
(so that its receive buffers, which are its own and not its connections', are there), and is looked at before and after so
many connections have been open and silent for 14 seconds: longer than handshakes are remembered.

User memory is the growth of the server's RSS (/proc/PID/statm). Kernel memory is the growth of Slab, PageTables, KernelStack
and VmallocUsed (/proc/meminfo) and of what TCP has for buffers (/proc/net/sockstat), of both ends of each connection: the
generator's are of the same kind and number, so half of it is the server's.
"""

import os
import re
import subprocess
import sys
import time


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def kernel_bytes():
    with open("/proc/meminfo") as file:
        lines = dict(line.split(":") for line in file)
    kib = sum(int(lines[name].split()[0]) for name in ("Slab", "PageTables", "KernelStack", "VmallocUsed"))
    with open("/proc/net/sockstat") as file:
        pages = int(re.search(r"TCP:.* mem (\d+)", file.read()).group(1))
    return kib * 1024 + pages * os.sysconf("SC_PAGESIZE")


def measure(ringwire, ringload, connections):
    command = [ringwire, "serve", "--listen", "127.0.0.1:0", "--shards", "1", "--feed", "none"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = ""
        while "ready" not in said:
            said += server.stdout.readline()
        port = re.search(r"127\.0\.0\.1:(\d+)", said).group(1)
        target = [f"ws://127.0.0.1:{port}/echo", "--progress", "off"]
        visits = [ringload, "storm", *target, "--concurrency", "16", "--seconds", "3"]
        subprocess.run(visits, stdout=subprocess.DEVNULL, check=True)
        time.sleep(2)
        user, kernel = resident_bytes(server.pid), kernel_bytes()
        held = ["--connections", str(connections), "--warm-up", "14", "--seconds", "4"]
        holder = subprocess.Popen([ringload, "idle", *target, *held], stdout=subprocess.DEVNULL)
        time.sleep(16)
        user, kernel = resident_bytes(server.pid) - user, kernel_bytes() - kernel
        holder.wait()
        print(f"{connections:>7} connections: {user / connections:6.0f} bytes each of the server's memory, "
              f"{kernel / connections:6.0f} of the kernel's for both ends", flush=True)
    finally:
        server.terminate()
        server.wait()


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    for connections in sys.argv[3:]:
        measure(sys.argv[1], sys.argv[2], int(connections))


main()
