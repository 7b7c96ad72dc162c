# SPDX-License-Identifier: Apache-2.0
"""busy.py DIRECTORY ADDRESS: a bit of everything that the dashboards show, until SIGTERM: files, page cache beyond the memory
limit, faults, TCP, UDP, DNS at ADDRESS, pipes, locks, processes. Stops itself at the start, so that it can be put into a
cgroup."""

import mmap
import os
import signal
import socket
import sys
import threading
import time

BLOCK = b"x" * (1 << 20)
FILE_MIB = 64
DNS_QUERY = bytes.fromhex("123401000001000000000000") + b"\x04shop\x04test\x00\x00\x01\x00\x01"


def repeat(work, pause):
    """Does it in a thread of its own, again and again."""
    def run():
        while True:
            work()
            time.sleep(pause)
    threading.Thread(target=run, daemon=True).start()


def files(directory):
    """Writes, fsync, reads that miss the page cache, a failed read, a mapping whose pages are not there."""
    file = os.open(f"{directory}/file-{os.getpid()}", os.O_RDWR | os.O_CREAT, 0o600)
    only_written = os.open(f"{directory}/log-{os.getpid()}", os.O_WRONLY | os.O_CREAT, 0o600)

    def work():
        for i in range(FILE_MIB):
            os.pwrite(file, BLOCK, i * len(BLOCK))
        os.fsync(file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        with mmap.mmap(file, 4 * len(BLOCK), prot=mmap.PROT_READ) as mapped:
            mapped[3 * len(BLOCK)]
        for i in range(FILE_MIB):
            os.pread(file, len(BLOCK), i * len(BLOCK))
        try:
            os.read(only_written, 1)
        except OSError:
            pass
    return work


def connections():
    """As client and server; and one that is refused."""
    listener = socket.create_server(("127.0.0.1", 0))
    refused = socket.socket()  # bound, but it does not listen
    refused.bind(("127.0.0.1", 0))

    def serve():
        while True:
            peer, _ = listener.accept()
            while data := peer.recv(4096):
                peer.sendall(data)
            peer.close()
    threading.Thread(target=serve, daemon=True).start()

    def work():
        with socket.create_connection(listener.getsockname()) as client:
            for _ in range(10):
                client.sendall(b"hello")
                client.recv(4096)
        with socket.socket() as client:
            client.connect_ex(refused.getsockname())
    return work


def lookups(address):
    """A server that answers every query with its question; the first process that comes has it."""
    server, client = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    client.settimeout(1)
    try:
        server.bind((address, 53))
    except OSError:
        return lambda: None

    def answer():
        while True:
            query, peer = server.recvfrom(512)
            server.sendto(query[:2] + b"\x81\x80" + query[4:], peer)
    threading.Thread(target=answer, daemon=True).start()

    def work():
        client.sendto(DNS_QUERY, (address, 53))
        try:
            client.recv(512)
        except TimeoutError:  # on a machine that has much else to do
            pass
    return work


def pipes():
    ends = os.pipe()
    repeat(lambda: os.write(ends[1], b"p"), 0.02)
    return lambda: os.read(ends[0], 1)


def locks():
    """Two threads, one of which always finds it taken."""
    lock = threading.Lock()

    def hold():
        with lock:
            time.sleep(0.01)
    repeat(hold, 0.001)
    return hold


def processes():
    child = os.fork()
    if child == 0:
        os.execv("/bin/true", ["true"])
    os.waitpid(child, 0)


def main():
    directory, address = sys.argv[1:]
    os.kill(os.getpid(), signal.SIGSTOP)
    for work, pause in ((files(directory), 0.5), (connections(), 0.1), (lookups(address), 0.1), (pipes(), 0), (locks(), 0.001),
                        (processes, 0.3)):
        repeat(work, pause)
    signal.sigwait({signal.SIGTERM})
    os._exit(0)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main()
