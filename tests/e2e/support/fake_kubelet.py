# SPDX-License-Identifier: Apache-2.0
"""A kubelet's HTTPS server that answers as it is told: with its pods, or with something else."""

import http.server
import json
import ssl
import threading

from . import machine

HUGE = 33 << 20  # more than the agent reads
NO_PODS = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Success"}).encode()
ANSWERS = {
    "garbage": (200, b"\x00\xff<html>no kubelet at all"),
    "half": (200, b'{"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"na'),
    "another object": (200, NO_PODS),
    "401": (401, b"Unauthorized"),
    "500": (500, b"Internal Server Error"),
    "huge": (200, b" " * HUGE),
}


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        status, body = ANSWERS.get(self.server.mood) or (200, self.server.pods)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if self.server.mood != "huge":  # its end is not told before it comes
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class FakeKubelet(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, certificate, key, pods=b""):
        self.mood, self.pods, self.asked = "", pods, []
        self.use(certificate, key)
        super().__init__(("127.0.0.1", machine.free_port()), _Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def use(self, certificate, key):
        """Of connections from now on."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)

    def get_request(self):
        connection, peer = super().get_request()
        # The handshake is the handler's, so that a peer that refuses it holds nobody up.
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request, client_address):
        pass  # refused handshakes and answers that nobody reads to the end

    def stop(self):
        self.shutdown()
        self.server_close()
