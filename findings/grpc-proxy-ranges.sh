#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# gRPC core 1.51 (PyPI grpcio 1.51.3; Debian 12 ships 1.51.1) takes `http_proxy` for every target, also one on the same
# machine. In `no_proxy` it knows names and suffixes, no ranges of addresses: with no_proxy=127.0.0.0/8 a call to 127.0.0.1 goes
# to the proxy all the same, and with NO_PROXY in capitals, too. Spelled out as 127.0.0.1 it does not. grpcio 1.80.0 knows
# ranges; NO_PROXY in capitals is still read over. So an exporter of node-local OTLP cannot leave proxies to gRPC.
# Installs both from PyPI in a temporary folder, asks them over loopback, fails if anything of this has changed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/ask.py" <<'P'
import os
import socket
import sys
import threading

import grpc

proxy = socket.create_server(("127.0.0.1", 0))
target = socket.create_server(("127.0.0.1", 0))
seen = []

def serve(listener, name):
    while True:
        peer, _ = listener.accept()
        seen.append((name, peer.recv(64).split(b"\r\n")[0][:7]))
        peer.close()

for listener, name in ((proxy, "proxy"), (target, "target")):
    threading.Thread(target=serve, args=(listener, name), daemon=True).start()
for name in ("http_proxy", "https_proxy", "grpc_proxy", "no_proxy", "no_grpc_proxy", "NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY"):
    os.environ.pop(name, None)
os.environ["http_proxy"] = f"http://127.0.0.1:{proxy.getsockname()[1]}"
if len(sys.argv) > 1:
    name, value = sys.argv[1].split("=")
    os.environ[name] = value
channel = grpc.insecure_channel(f"127.0.0.1:{target.getsockname()[1]}")
try:
    channel.unary_unary("/a.B/C")(b"", timeout=5)
except grpc.RpcError:
    pass
print(seen[0][0] if seen else "nobody")
P

failed=0
expect() {  # VERSION WHO [NAME=VALUE]
  local got
  got=$("$work/$1/bin/python" "$work/ask.py" ${3:+"$3"} 2>/dev/null)
  printf 'grpcio %-7s %-24s asks the %s\n' "$1" "${3:-(http_proxy alone)}" "$got"
  [ "$got" = "$2" ] || { echo "  it was the $2 when this was written"; failed=1; }
}
for version in 1.51.3 1.80.0; do
  python3 -m venv "$work/$version"
  "$work/$version/bin/pip" -q --disable-pip-version-check install "grpcio==$version"
done
expect 1.51.3 proxy
expect 1.51.3 proxy no_proxy=127.0.0.0/8
expect 1.51.3 proxy NO_PROXY=127.0.0.1
expect 1.51.3 target no_proxy=127.0.0.1
expect 1.80.0 target no_proxy=127.0.0.0/8
expect 1.80.0 proxy NO_PROXY=127.0.0.1
exit $failed
