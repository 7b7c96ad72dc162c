# SPDX-License-Identifier: Apache-2.0
"""An agent beside a real API server, without kubelet: pods' cgroups and statuses are made here."""

import json
import os
import uuid

from . import cluster, machine, otlp
from .case import Case
from .machine import Workload, wait_for

NODE = "node-1"

def policy(name, spec, kind="ClusterMonitorPolicy", namespace=None):
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "sonde.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


class FakePod:
    """An object at the API server, and a cgroup such as the kubelet makes (systemd driver, containerd)."""

    def __init__(self, case, name, labels, namespace="default", container="main", owners=(), node=NODE, uid=None):
        """uid: of a pod that is there already; it gets the cgroup only."""
        self.case, self.name, self.namespace = case, name, namespace
        self.uid = uid or case.cluster.rest("POST", f"/api/v1/namespaces/{namespace}/pods", {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels, "ownerReferences": list(owners)},
            "spec": {"nodeName": node, "containers": [{"name": container, "image": "none"}]}})["metadata"]["uid"]
        self.container, self.restarts, self.previous = container, 0, None
        self.begin()
        case.ending(self, self.remove)

    def begin(self):
        self.id, self.ended = uuid.uuid4().hex * 2, False
        slice_name = f"kubepods-burstable-pod{self.uid.replace('-', '_')}.slice"
        parent = f"sonde-e2e-{os.getpid()}-kubepods.slice/{slice_name}"
        self.group = machine.Cgroup(f"{parent}/cri-containerd-{self.id}.scope")

    def tell(self, phase="Running", state=None):
        """What the kubelet would say once the container runs."""
        last = {"terminated": {"exitCode": 1, "containerID": f"containerd://{self.previous}"}} if self.previous else {}
        status = {"status": {"phase": phase, "containerStatuses": [{
            "name": self.container, "containerID": f"containerd://{self.id}", "image": "none", "imageID": "none",
            "ready": True, "restartCount": self.restarts, "state": state or {"running": {}}, "lastState": last}]}}
        self.case.cluster.rest("PATCH", f"/api/v1/namespaces/{self.namespace}/pods/{self.name}/status", status,
                               "application/merge-patch+json")

    def work(self, rounds, fsyncs=0):
        Workload(self.group, "io", os.path.join(self.case.directory, self.name), rounds, 4096, 0, fsyncs, 0).finish()

    def label(self, *words):
        self.case.cluster.kubectl("label", "pod", self.name, "-n", self.namespace, "--overwrite", *words)

    def end(self):
        self.group.remove()
        self.ended = True

    def start_again(self):
        """Another life of the container, under another id. Nobody is told yet."""
        self.end()
        self.previous, self.restarts = self.id, self.restarts + 1
        self.begin()

    def remove(self):
        if not self.ended:
            self.group.remove()
        for directory in (self.group.directory.parent, self.group.directory.parent.parent):
            try:
                directory.rmdir()
            except OSError:
                pass


class InCluster(Case):
    """What the scenarios share; no scenario itself."""

    def setUp(self):
        super().setUp()
        self.cluster = self.start(cluster.Cluster(self.directory).start())
        self.cluster.install()
        self.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": {"disk": "ssd"}}})
        self.token = self.cluster.token("sonde-agent", "sonde")
        self.file = self.of_node("out.jsonl", NODE)

    def start_agent(self, *flags, node=NODE):
        """That of a node; its files are of_node(…), and self.file."""
        file = self.file if node == NODE else self.of_node("out.jsonl", node)
        return self.agent("--export", "file", "--file", file, "--interval", "1s", "--api-server", self.cluster.url,
                          "--api-ca", self.cluster.ca, "--api-token-file", self.token, "--node-name", node,
                          "--default-policy", "false", "--policy-cache", self.of_node("cache.jsonl", node),
                          "--ceiling-namespaced-period", "1s", *flags, name=f"agent-{node}")  # tests do not wait for ten seconds

    def of_node(self, file, node):
        return os.path.join(self.directory, file if node == NODE else f"{node}-{file}")

    def read_bytes(self, name):
        """Bytes read by this pod so far, by its name; None if it is nowhere."""
        try:
            return otlp.Metrics.read(self.file).total("sonde.file.io", name, disk__io__direction="read")
        except FileNotFoundError:
            return None

    def expect(self, name, rounds, what):
        wait_for(lambda: self.read_bytes(name) == rounds * 4096, 30, what + f" (has {self.read_bytes(name)})")

    def in_force(self, sonde, *names):
        """Waits until these policies, and no others, are in force."""
        def check():
            status = json.loads(sonde.get("/statusz", local=True)[1])
            return sorted(p["name"] for p in status["policies"]) == sorted(names)
        wait_for(check, 30, f"policies in force: {names}")
