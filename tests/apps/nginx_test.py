# SPDX-License-Identifier: Apache-2.0
"""wrk against nginx: what the access log says of every request, and the server of its connections."""

import pathlib
import re
import socket

import program
from case import AppCase, bytes_moved
from support import machine

CONFIG = """
user root;
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log warn;
events {{ worker_connections 128; }}
http {{
  log_format counts '$request_length $bytes_sent $body_bytes_sent $status';
  access_log {directory}/access.log counts;
  sendfile {sendfile};
  output_buffers 1 64k;
  keepalive_requests 100;
  client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {directory}/www;
    location = /status {{ stub_status; access_log off; }}
  }}
}}
"""
SIZE = 20_000
CLIENTS = 8
SCRIPT = """
function done(summary)
  print(string.format("done %d %d %d", summary.requests, summary.bytes,
        summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout))
end
"""


class Server:
    def __init__(self, case, group, sendfile):
        self.directory = pathlib.Path(case.directory) / f"nginx-{group.path.rpartition('-')[2]}"
        (self.directory / "www").mkdir(parents=True)
        (self.directory / "www/page").write_bytes(b"x" * SIZE)
        self.port = machine.free_port()
        config = self.directory / "nginx.conf"
        config.write_text(CONFIG.format(directory=self.directory, port=self.port, sendfile=sendfile))
        self.program = program.Program(case, [case.need("nginx"), "-e", self.directory / "error.log", "-c", config,
                                              "-p", self.directory], cgroup=group).go()
        self.program.wait_until(lambda: machine.listens(self.port), "nginx listens")

    def status(self):
        """(connections accepted, requests), this one included; the reply's and the request's length"""
        request = b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port), 10) as client:
            client.sendall(request)
            reply = b""
            while part := client.recv(4096):
                reply += part
        numbers = re.search(rb"requests\s+(\d+) (\d+) (\d+)", reply)
        return int(numbers[1]), int(numbers[3]), len(reply), len(request)

    def log(self):
        """(requests, bytes received, sent, of bodies), of the access log"""
        rows = [tuple(map(int, line.split())) for line in (self.directory / "access.log").read_text().splitlines()]
        return len(rows), *(sum(row[i] for row in rows) for i in range(3))


class Nginx(AppCase):
    def serve(self, sendfile):
        wrk = self.need("wrk")
        script = pathlib.Path(self.directory) / "pages.lua"
        script.write_text(SCRIPT)
        group, other = self.cgroup(), self.cgroup("unselected")
        self.measure(group)
        servers = [Server(self, one, sendfile) for one in (group, other)]
        told = [program.run(self, [wrk, "-t", 1, "-c", CLIENTS, "-d", "1s", "-s", script, f"http://127.0.0.1:{one.port}/page"],
                            cgroup=self.client) for one in servers]
        server = servers[0]
        accepted, _, reply, request = server.status()
        for one in servers:
            one.program.stop()
        requests, received, sent, bodies = server.log()
        done, answered, errors = map(int, re.search(r"done (\d+) (\d+) (\d+)", told[0]).groups())
        metrics, where = self.finish(other), group.path
        # wrk counts an answer when it has read it; those under way when it stopped are the server's alone.
        self.between(metrics, "requests of the log beside those of wrk", requests - done, 0, CLIENTS)
        self.between(metrics, "bytes of the log beside those of wrk", sent - answered, 0, CLIENTS * (SIZE + 1000))
        self.assertEqual(errors, 0)
        self.assertGreater(done, 100)
        self.compare(metrics, {
            "bytes written in all": (bytes_moved(metrics, where, "write"), server.program.did.wchar),
            "bytes read in all": (bytes_moved(metrics, where, "read") + program.exec_bytes(self.need("nginx")),
                                  server.program.did.rchar),
            "bytes to files": (metrics.total("sonde.file.io", where, disk__io__direction="write"), self.files(server)),
            "bytes to sockets": (metrics.total("sonde.stream.io", where, sonde__stream__target="socket",
                                               disk__io__direction="write"), sent + reply),
            "bytes transmitted": (metrics.total("sonde.tcp.io", where, network__io__direction="transmit"), sent + reply),
            "connections": (metrics.total("sonde.tcp.connections.opened", where, network__tcp__handshake__role="server"),
                            accepted),
        })
        # When wrk stops, a request may have come in that nginx did not read any more.
        came = metrics.total("sonde.tcp.io", where, network__io__direction="receive")
        self.between(metrics, "bytes received beside those of the log", came - received - request, 0, CLIENTS * received // requests)
        # Beside the pages it reads its libraries and configuration.
        read = metrics.total("sonde.file.io", where, disk__io__direction="read")
        self.between(metrics, "bytes of files beside those of pages", read - bodies, 0, 200_000 + CLIENTS * SIZE)
        self.assert_scheduling(metrics, where, server.program.did)
        self.assert_thread_time(metrics, where, server.program.held)
        self.assert_processes(metrics, where, execs=1, forks=1)
        return metrics, server, requests, accepted

    def files(self, server):
        """All that nginx wrote to files: its logs and the number of its process."""
        logs = sum((server.directory / name).stat().st_size for name in ("access.log", "error.log"))
        return logs + len(f"{server.program.pid}\n")

    def test_sendfile(self):
        self.serve("on")

    def test_read_and_write(self):
        self.serve("off")
