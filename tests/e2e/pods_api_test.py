# SPDX-License-Identifier: Apache-2.0
"""The Pods API of a real kubelet (on by default since Kubernetes 1.37): a stream on its socket tells the pods, and no token is needed."""

import json
import os

from support import otlp
from support.beside_kubelet import fsyncs
from support.in_cluster import NODE
from support.kinds_of_pods import KindsOfPods
from support.machine import Workload, wait_for


class PodsApi(KindsOfPods):
    def start_with_socket(self, source, *flags):
        return self.start_agent(source, "--pods-api-socket", self.node.pods_api_socket, *flags)

    def pods(self, sonde):
        return self.identity(sonde)["pods"]

    def selected(self, sonde):
        return json.loads(sonde.get("/statusz", local=True)[1])["subjects"]["selected"]

    def test_pods_api_kinds_of_pods(self):
        """A Job's pod that lives under a second, a static pod with its mirror, each class of service: names and totals."""
        self.node.start()
        self.counts_kinds_of_pods("podsApi", "--pods-api-socket", self.node.pods_api_socket)

    def test_pods_api_kubelet_away(self):
        """The kubelet is killed, its socket stays: the names hold; it comes back, under work that goes on."""
        self.node.start()
        sonde = self.start_with_socket("podsApi")
        self.in_use(sonde, "podsApi")
        held = self.hold("held", {"app": "e2e"})
        self.work(held, 31)
        self.expect("held", 31)
        self.node.static_pod("short", fsyncs(37), {"app": "e2e"}, restartPolicy="Never")
        self.expect(f"short-{NODE}", 37)

        self.node.stop_kubelet()
        wait_for(lambda: not self.identity(sonde)["serving"], 60, "the kubelet is given up")
        self.assertTrue(os.path.exists(self.node.pods_api_socket), "a kubelet that is killed leaves it")
        self.assertIn("the kubelet does not answer on its socket", self.reason(sonde, "podsApi"))
        self.work(held, 5)
        self.expect("held", 36)
        self.node.start_kubelet()
        self.in_use(sonde, "podsApi")
        self.work(held, 7)
        self.node.pod("later", fsyncs(43), {"app": "e2e"}, restartPolicy="Never")
        self.expect("later", 43)
        self.expect("held", 43)
        self.expect(f"short-{NODE}", 37)
        self.assertEqual(otlp.Metrics.read(self.file).decreases, [])

    def test_pods_api_labels_change(self):
        """Labels change while the status of the pod does not, of which the stream says nothing; a pod that is deleted."""
        self.node.start()
        sonde = self.start_with_socket("podsApi")
        self.in_use(sonde, "podsApi")
        held = self.hold("held", {"app": "else"})
        wait_for(lambda: self.pods(sonde) == 1, 60, "it is known")
        self.assertEqual(self.selected(sonde), 0)
        self.cluster.kubectl("label", "pod", "held", "--overwrite", "app=e2e")
        wait_for(lambda: self.selected(sonde) > 0, 30, "it is selected by its new label")
        self.work(held, 29)
        self.expect("held", 29)
        self.cluster.kubectl("label", "pod", "held", "--overwrite", "app=else")
        wait_for(lambda: otlp.Metrics.read(self.file).has_ended("held"), 30, "and no more")
        self.work(held, 17)
        self.cluster.kubectl("delete", "pod", "held", "--wait=false")
        wait_for(lambda: self.pods(sonde) == 0, 60, "it is gone")
        self.assertEqual(self.counted("held"), 29)

    def test_auto_prefers_the_pods_api(self):
        """auto: the gate is off, so the kubelet's server; it is on, so the socket; off again, and a dead socket is left."""
        self.node.gates = {"PodsAPI": False}
        self.node.start()
        sonde = self.start_with_socket("auto", "--kubelet-tls", "auto", "--kubelet-pin", self.node.own_certificate)
        self.in_use(sonde, "kubelet")
        self.fails_with(sonde, "there is no socket", "podsApi")
        held = self.hold("held", {"app": "e2e"})
        self.work(held, 3)
        self.expect("held", 3)
        for gate, source in (True, "podsApi"), (False, "kubelet"):
            self.node.stop_kubelet()
            self.node.gates = {"PodsAPI": gate}
            self.node.start_kubelet()
            self.in_use(sonde, source, 90)
            self.work(held, 20)
            self.node.pod(f"by-{source.lower()}", fsyncs(11), {"app": "e2e"}, restartPolicy="Never")
            self.expect(f"by-{source.lower()}", 11)
        self.assertIn("does not answer on its socket", self.reason(sonde, "podsApi"))
        self.expect("held", 43)
        self.assertEqual(len(self.containers_of("held")), 1, "one Resource, whoever tells its name")
        self.assertEqual(otlp.Metrics.read(self.file).decreases, [])

    def hold(self, name, labels):
        """A pod that does nothing: the cgroup of its container."""
        self.node.pod(name, ["/pause"], labels)
        return wait_for(lambda: self.node.cgroup_of(self.cluster.get("pod", name)), 60, f"{name} runs")

    def work(self, cgroup, n):
        Workload(cgroup, "io", os.path.join(self.directory, "file"), *fsyncs(n)[3:]).finish()
