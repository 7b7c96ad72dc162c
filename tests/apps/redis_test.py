# SPDX-License-Identifier: Apache-2.0
"""redis-benchmark against a Redis server: what the server says of its sockets and of its append-only file."""

import os
import pathlib
import socket

import program
from case import AppCase, bytes_moved, operations
from support import machine


class Redis(AppCase):
    def server(self, group, *options):
        """Listens on loopback. Debian's server is a link to this checker, in a package that would also start a service."""
        binary = pathlib.Path(self.directory) / "redis-server"
        if not binary.exists():
            binary.symlink_to(self.need("redis-check-rdb"))
        port = machine.free_port()
        data = pathlib.Path(self.directory) / f"data-{port}"
        data.mkdir()
        server = program.Program(self, [binary, "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", data,
                                        "--loglevel", "warning", *options], cgroup=group).go()
        server.wait_until(lambda: self.answers(port), "Redis answers")
        return server, port

    def answers(self, port):
        try:
            return self.ask(port, "PING")[0] == "+PONG\r\n"
        except ConnectionError:
            return False

    def ask(self, port, command):
        """(the reply, its length)"""
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            client.sendall(command.encode() + b"\r\n")
            with client.makefile("rb") as answer:
                first = answer.readline()
                rest = answer.read(int(first[1:]) + 2) if first.startswith(b"$") else b""
        return (first + rest).decode(), len(first + rest)

    def info(self, port):
        """INFO as a dictionary; total_net_output_bytes with this answer, which the server counts after it is sent."""
        text, length = self.ask(port, "INFO")
        told = dict(line.split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
        told["total_net_output_bytes"] = int(told["total_net_output_bytes"]) + length
        return told

    def load(self, port, *options):
        program.run(self, [self.need("redis-benchmark"), "-h", "127.0.0.1", "-p", port, "-q", *options],
                    cgroup=self.client)

    def test_sockets(self):
        self.need("redis-check-rdb", "redis-benchmark")
        group, other = self.cgroup(), self.cgroup("unselected")
        self.measure(group)
        (server, port), (second, second_port) = self.server(group), self.server(other)
        for one in (port, second_port):
            self.load(one, "-n", 10_000, "-c", 10, "-d", 100, "-t", "set,get")
        told, threads = self.info(port), server.threads()
        server.stop(), second.stop()
        metrics, where = self.finish(other), group.path

        def stream(direction):
            return metrics.total("sonde.stream.io", where, sonde__stream__target="socket", disk__io__direction=direction)
        self.assertGreaterEqual(int(told["total_commands_processed"]), 20_000)
        self.compare(metrics, {
            "bytes from sockets": (stream("read"), int(told["total_net_input_bytes"])),
            "bytes to sockets": (stream("write"), told["total_net_output_bytes"]),
            "bytes received": (metrics.total("sonde.tcp.io", where, network__io__direction="receive"),
                               int(told["total_net_input_bytes"])),
            "bytes transmitted": (metrics.total("sonde.tcp.io", where, network__io__direction="transmit"),
                                  told["total_net_output_bytes"]),
            "connections": (metrics.total("sonde.tcp.connections.opened", where, network__tcp__handshake__role="server"),
                            int(told["total_connections_received"])),
            "connections to others": (metrics.total("sonde.tcp.connections.opened", where,
                                                    network__tcp__handshake__role="client") or 0, 0),
            "bytes written in all": (bytes_moved(metrics, where, "write"), server.did.wchar),
            "bytes read in all": (bytes_moved(metrics, where, "read") + program.exec_bytes("/usr/bin/redis-check-rdb"),
                                  server.did.rchar),
        })
        self.assert_scheduling(metrics, where, server.did, threads)
        self.assert_processes(metrics, where, execs=1, forks=0)

    def test_append_only_file(self):
        """Each turn of the server's loop writes once to the file and syncs it once, before it answers."""
        self.need("redis-check-rdb", "redis-benchmark")
        group = self.cgroup()
        self.measure(group)
        server, port = self.server(group, "--appendonly", "yes", "--appendfsync", "always",
                                   "--auto-aof-rewrite-percentage", 0)
        self.ask(port, "SET first 1")
        told, before = self.info(port), self.settled(group)
        self.load(port, "-n", 1000, "-c", 4, "-d", 64, "-t", "set")
        now, after = self.info(port), self.settled(group)
        server.stop()
        where = group.path

        def moved(of):
            return of(after) - of(before)
        written = moved(lambda m: m.total("sonde.file.io", where, disk__io__direction="write"))
        syncs = moved(lambda m: operations(m, where, "fsync"))
        self.compare(after, {
            "bytes of the file": (written, int(now["aof_current_size"]) - int(told["aof_current_size"])),
            "syncs": (syncs, moved(lambda m: operations(m, where, "write"))),
        })
        self.between(after, "syncs", syncs, 1000 // 4, 1000)  # four clients may be served in one turn
        incremental = list(pathlib.Path(self.directory).glob("data-*/appendonlydir/*.incr.aof"))
        self.assertEqual(sum(os.path.getsize(path) for path in incremental), int(now["aof_current_size"]) -
                         int(now["aof_base_size"]))
        metrics = self.finish()
        self.compare(metrics, {"bytes written in all": (bytes_moved(metrics, where, "write"), server.did.wchar)})
