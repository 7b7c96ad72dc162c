# SPDX-License-Identifier: Apache-2.0
"""A cluster of one node as users have it: API server, controllers, scheduler, kubelet, pods on a network, Helm."""

import json
import os
import pathlib
import subprocess

from . import cluster, machine, node, sonde_image
from .network import PLUGINS

NODE = "node-1"

# As GKE has it: these priority classes need a ResourceQuota of the namespace that speaks of them.
CRITICAL = ["system-node-critical", "system-cluster-critical"]
ADMISSION = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": [{
    "name": "ResourceQuota", "configuration": {
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration", "limitedResources": [{
            "resource": "pods", "matchScopes": [{"scopeName": "PriorityClass", "operator": "In", "values": CRITICAL}]}]}}]}


class WholeCluster:
    def __init__(self, directory, network):
        self.directory, self.network = directory, network
        own = f"IP:{network.service},IP:{network.node},DNS:kubernetes.default.svc"
        self.control = cluster.Cluster(directory, port=443, names=f"DNS:localhost,IP:127.0.0.1,{own}", flags=(
            f"--advertise-address={network.node}", "--service-cluster-ip-range=10.96.0.0/16", "--profiling=false",
            "--kubelet-preferred-address-types=InternalIP"))
        # By it `kubectl logs` and `exec` reach the kubelet.
        self.control.flags += (f"--kubelet-client-certificate={self.control.admin}", f"--kubelet-client-key={self.control.admin_key}")
        admission = self.control.directory / "admission.json"
        admission.write_text(json.dumps(ADMISSION))
        self.control.flags += (f"--admission-control-config-file={admission}",)
        self.config = self.control.kubeconfig("admin", self.control.admin, self.control.admin_key)
        self.node = node.Node(directory, self.control, NODE)
        self.services = []

    def start(self):
        self.control.start()
        sa = self.control.directory / "sa.key"
        self._service("kube-controller-manager", f"--service-account-private-key-file={sa}", f"--root-ca-file={self.control.ca}",
                      f"--cert-dir={self.control.directory}")
        self._service("kube-scheduler", f"--cert-dir={self.control.directory}")
        one = self.node
        one.port, one.address, one.plugins = 10250, "0.0.0.0", PLUGINS
        one.networks = one.directory / "networks"
        one.networks.mkdir()
        (one.networks / "10-pods.conflist").write_text(json.dumps(self.network.configuration(one.directory)))
        one.serving = self.control.certificates.issue("kubelet", f"IP:{self.network.node}")
        one.extra = ("--node-ip", self.network.node)
        one.start()
        one.add_image(sonde_image.make(one.directory))
        self.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", "--timeout=60s")
        return self

    def _service(self, name, *flags):
        self.services.append(machine.Service(self.control.directory, name, [
            machine.tool(name), f"--kubeconfig={self.config}", "--leader-elect=false", "--bind-address=127.0.0.1", *flags]))

    def kubectl(self, *argv, **how):
        return self.control.kubectl(*argv, **how)

    def helm(self, *argv):
        homes = {f"HELM_{home}_HOME": self.directory for home in ("CACHE", "CONFIG", "DATA")}
        run = subprocess.run([machine.tool("helm"), "--kubeconfig", self.config, *map(str, argv)], capture_output=True, text=True,
                             env={**os.environ, **homes})
        if run.returncode != 0:
            raise AssertionError(f"helm {' '.join(map(str, argv))}: {run.stdout}{run.stderr}")
        return run.stdout

    def pods(self, namespace, selector):
        return self.control.get("pod", "-n", namespace, "-l", selector)["items"]

    def pid(self, pod):
        """The first process of a pod's first container, by the machine's number."""
        wanted = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
        tasks = [line.split() for line in self.node.ctr("tasks", "ls").stdout.splitlines()]
        return next(int(words[1]) for words in tasks if words[0] == wanted)

    def _networks_of_pods(self):
        """Files of the pods' network namespaces. The kubelet is killed, so nobody takes them away."""
        found = set()
        for container in self.node.ctr("containers", "ls", "-q", check=False).stdout.split():
            spec = json.loads(self.node.ctr("containers", "info", container).stdout)["Spec"]
            found |= {one["path"] for one in spec["linux"]["namespaces"] if "/netns/cni-" in one.get("path", "")}
        return found

    def stop(self):
        networks = self._networks_of_pods()
        self.node.stop()
        for path in networks:
            subprocess.run(["umount", path], check=False, capture_output=True)
            pathlib.Path(path).unlink(missing_ok=True)
        for service in self.services:
            service.kill()
        self.control.stop()
