# SPDX-License-Identifier: Apache-2.0
"""An agent beside a real API server and a real kubelet, which runs pods."""

import json
import os

from . import cluster, node, otlp
from .case import Case
from .in_cluster import NODE, policy
from .machine import wait_for


def fsyncs(n, fails=0):
    """Beside them runc reads and writes in a container's cgroup, but it does not fsync, and no read of it fails so."""
    return ["/workload", "io", "/tmp/file", "10", "4096", str(fails), str(n), "0"]


class BesideKubelet(Case):
    """What the scenarios share; no scenario itself."""

    def setUp(self):
        super().setUp()
        self.cluster = self.start(cluster.Cluster(self.directory).start())
        self.cluster.install()
        self.token = self.cluster.token("sonde-agent", "sonde")
        self.cluster.apply(policy("e2e", {"podSelector": {"matchLabels": {"app": "e2e"}}, "preset": "Detailed",
                                          "collection": {"periodSeconds": 1}}))
        self.node = self.start(node.Node(self.directory, self.cluster, NODE))
        self.file = os.path.join(self.directory, "out.jsonl")

    def certify(self):
        self.node.serving = self.cluster.certificates.issue("kubelet", "IP:127.0.0.1")

    def start_agent(self, source, *flags):
        return self.agent("--export", "file", "--file", self.file, "--interval", "1s", "--api-server", self.cluster.url,
                          "--api-ca", self.cluster.ca, "--api-token-file", self.token, "--node-name", NODE,
                          "--default-policy", "false", "--identity-source", source,
                          "--kubelet", f"127.0.0.1:{self.node.port}", "--kubelet-period", "2s",
                          *(() if "--kubelet-token-file" in flags else ("--kubelet-token-file", self.token)), *flags)

    def identity(self, sonde):
        return json.loads(sonde.get("/statusz", local=True)[1])["identity"]

    def reason(self, sonde, name="kubelet"):
        return next(s for s in self.identity(sonde)["sources"] if s["name"] == name).get("reason", "")

    def in_use(self, sonde, name, seconds=60):
        def check():
            identity = self.identity(sonde)
            return identity["serving"] and identity["source"] == name
        try:
            wait_for(check, seconds, f"pods come from {name}")
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.identity(sonde)}") from None

    def fails_with(self, sonde, words, name="kubelet"):
        wait_for(lambda: words in self.reason(sonde, name), 30, f"'{words}', not '{self.reason(sonde, name)}'")

    def counted(self, pod):
        try:
            return otlp.Metrics.read(self.file).total("sonde.file.operation.duration", pod, sonde__file__operation="fsync")
        except FileNotFoundError:
            return None

    def expect(self, pod, n):
        wait_for(lambda: self.counted(pod) == n, 60, f"{pod} has {n} fsyncs (has {self.counted(pod)})")

    def containers_of(self, pod):
        """Resources of its containers; the sandbox's is the pod's."""
        resources = map(dict, otlp.Metrics.read(self.file).resources())
        return [r for r in resources if r.get("k8s.pod.name") == pod and "k8s.container.name" in r]
