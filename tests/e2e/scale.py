#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Many agents' SondeNodes against one API server, written by this one program, and a real operator that reads them.

    SONDE_E2E_TOOLS=<dir> SONDE_BINARY=<sonde> tests/e2e/scale.py [NODES] [WRITERS] [WATCHERS]

Each node: an object, a status; then a policy changes and every node writes its status again, while WATCHERS watch the policies.
Prints what was measured.
"""

import http.client
import json
import os
import pathlib
import platform
import selectors
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

from support import cluster, machine, operator  # noqa: E402
from support.in_cluster import policy  # noqa: E402

API = "/apis/sonde.dev/v1alpha1/sondenodes/"
POLICIES = "/apis/sonde.dev/v1alpha1/clustermonitorpolicies"
APPLY = {"Content-Type": "application/apply-patch+yaml"}


def status(generation):
    """As an agent with ten probes and five policies says it."""
    entries = [{"name": f"policy-{i}", "observedGeneration": generation if i == 0 else 1, "state": "Applied",
                "matchedContainers": 30} for i in range(5)]
    probes = [{"name": name, "state": "Degraded", "reason": "HooksMissing", "message": "fentry is refused by this kernel"}
              for name in ("io", "cache")]
    return {"agentVersion": "0.1.0", "kernel": "6.12.30-cloud-amd64", "btf": True, "lockdown": "none",
            "identitySource": "ApiServer", "probesOk": 8, "probesDegraded": 2, "series": 2400, "containers": 30,
            "probes": probes, "policies": entries}


class Writers:
    def __init__(self, api, nodes, threads):
        self.api, self.nodes, self.threads = api, nodes, threads
        self.context = ssl.create_default_context(cafile=api.ca)
        self.context.load_cert_chain(api.admin, api.admin_key)

    def run(self, part, body):
        """body(node) is applied to each node's object or status; (seconds, latencies)."""
        latencies, lock, todo = [], threading.Lock(), iter(range(self.nodes))

        def work():
            connection = http.client.HTTPSConnection("127.0.0.1", self.api.port, context=self.context, timeout=60)
            while True:
                with lock:
                    node = next(todo, None)
                if node is None:
                    return
                name = f"node-{node:05}"
                text = json.dumps({"apiVersion": "sonde.dev/v1alpha1", "kind": "SondeNode", "metadata": {"name": name},
                                   **body(name)})
                begin = time.monotonic()
                connection.request("PATCH", f"{API}{name}{part}?fieldManager=sonde-agent&force=true", text, APPLY)
                answer = connection.getresponse()
                answer.read()
                if answer.status >= 300:
                    raise AssertionError(f"{name}: {answer.status}")
                with lock:
                    latencies.append(time.monotonic() - begin)

        threads = [threading.Thread(target=work) for _ in range(self.threads)]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(latencies) != self.nodes:
            raise AssertionError(f"{len(latencies)} of {self.nodes} were written")
        return time.monotonic() - begin, sorted(latencies)


class Watchers:
    """Watches of cluster policies, one connection each, as agents hold them. Counts the bytes that they are sent."""

    def __init__(self, api, n):
        self.bytes, self.ended, self.connections, self.selector = 0, 0, [], selectors.DefaultSelector()
        context = ssl.create_default_context(cafile=api.ca)
        context.load_cert_chain(api.admin, api.admin_key)
        for _ in range(n):
            raw = socket.create_connection(("127.0.0.1", api.port), 60)
            connection = context.wrap_socket(raw, server_hostname="127.0.0.1")
            connection.sendall(f"GET {POLICIES}?watch=true&allowWatchBookmarks=true HTTP/1.1\r\nHost: api\r\n\r\n".encode())
            connection.setblocking(False)
            self.selector.register(connection, selectors.EVENT_READ)
            self.connections.append(connection)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while self.connections:
            for key, _ in self.selector.select(1):
                try:
                    while data := key.fileobj.recv(1 << 16):
                        self.bytes += len(data)
                    self.ended += 1
                    self.selector.unregister(key.fileobj)
                except ssl.SSLWantReadError:
                    pass
                except (OSError, ValueError):
                    return  # stopped

    def quiet(self):
        """Nothing more came for a second."""
        before = self.bytes
        time.sleep(1)
        return before == self.bytes

    def stop(self):
        connections, self.connections = self.connections, []
        for connection in connections:
            connection.close()


def tell(what, seconds, latencies):
    n = len(latencies)
    print(f"{what}: {n} writes in {seconds:.1f} s = {n / seconds:.0f}/s; latency p50 {latencies[n // 2] * 1e3:.1f} ms, "
          f"p99 {latencies[n * 99 // 100] * 1e3:.1f} ms", flush=True)


def etcd_bytes(api):
    text = urllib.request.urlopen(f"http://127.0.0.1:{api.etcd_port}/metrics", timeout=30).read().decode()
    found = [line for line in text.splitlines() if line.startswith("etcd_mvcc_db_total_size_in_use_in_bytes ")]
    return float(found[0].split()[1])


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_text():
    models = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} CPUs {models[0] if models else ''}, {memory:.0f} GiB, Linux {platform.release()}"


class Usage:
    """CPU seconds of programs since it was made."""

    def __init__(self, **services):
        self.before = {name: (service, cpu_seconds(service.pid)) for name, service in services.items()}

    def __str__(self):
        return ", ".join(f"{name} {cpu_seconds(service.pid) - used:.1f} s of CPU and {service.rss() / 2**20:.0f} MiB"
                         for name, (service, used) in self.before.items())


def measure(directory, nodes, threads, watches):
    api = cluster.Cluster(directory).start()
    running = [api]
    try:
        api.install()
        api.apply(policy("policy-0", {"preset": "Minimal"}))
        leader = operator.Operator(directory, api)
        running.append(leader)
        leader.wait_ready()
        writers = Writers(api, nodes, threads)
        before = etcd_bytes(api)
        tell("objects", *writers.run("", lambda name: {}))
        tell("first status", *writers.run("/status", lambda name: {"status": status(1)}))
        print(f"etcd: {(etcd_bytes(api) - before) / nodes:.0f} bytes a node, old versions included", flush=True)
        raw = api.kubectl("get", "--raw", API + "node-00000").stdout
        without = json.loads(raw)
        without["metadata"].pop("managedFields", None)
        print(f"one SondeNode: {len(raw)} bytes of JSON, its status {len(json.dumps(status(1), separators=(',', ':')))}, "
              f"managedFields {len(raw) - len(json.dumps(without, separators=(',', ':')))}", flush=True)
        for name in range(1, 20):
            api.apply(policy(f"other-{name}", {"preset": "Minimal"}))
        api.apply(policy("policy-0", {"preset": "Standard"}))
        generation = api.get("cmpol", "policy-0")["metadata"]["generation"]
        watchers = Watchers(api, watches)
        running.append(watchers)
        machine.wait_for(watchers.quiet, 300, "each watch has had the 20 policies")
        told, written = watchers.bytes, leader.metric('sonde_operator_status_writes_total{result="ok"}')
        usage = Usage(operator=leader.service, api_server=api.apiserver, etcd=api.etcd)
        begin = time.monotonic()
        tell("a policy changed", *writers.run("/status", lambda name: {"status": status(generation)}))

        def applied():
            now = api.get("cmpol", "policy-0").get("status", {})
            return now.get("observedGeneration") == generation and now.get("appliedNodes") == nodes
        machine.wait_for(applied, 120, "the policy's status has all nodes")
        print(f"status complete {time.monotonic() - begin:.1f} s after the first write; {usage}", flush=True)
        if watchers.ended:
            raise AssertionError(f"{watchers.ended} watches ended")
        one = len(api.kubectl("get", "--raw", POLICIES + "/policy-0").stdout)
        written = leader.metric('sonde_operator_status_writes_total{result="ok"}') - written
        each = f"each of {watches} watches was sent {(watchers.bytes - told) / watches:.0f} bytes" if watches else "no watches"
        print(f"a policy with its status: {one} bytes; {written:.0f} of them written meanwhile, {each}", flush=True)
        print("operator's metrics: " + ", ".join(line for line in leader.get("/metrics")[1].splitlines()
                                                   if line.startswith(("sonde_operator_turn", "sonde_operator_status"))))
    finally:
        for service in reversed(running):
            service.stop()


def main():
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    watches = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    print(f"{nodes} nodes, {threads} writers, {watches} watches, {machine_text()}", flush=True)
    directory = tempfile.mkdtemp(prefix="sonde-scale-")
    try:
        measure(directory, nodes, threads, watches)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
