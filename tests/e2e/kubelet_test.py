# SPDX-License-Identifier: Apache-2.0
"""Pods of a real kubelet: containerd and runc run them here, the kubelet's own server tells their names."""

import json
import os
import pathlib
import re

from support import otlp
from support.beside_kubelet import fsyncs
from support.in_cluster import NODE
from support.kinds_of_pods import KindsOfPods
from support.machine import wait_for

BARE = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "bare", "namespace": "default"}}
NODES_PODS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: nodes-pods}
rules:
  - {apiGroups: [""], resources: [nodes/pods], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: nodes-pods}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: nodes-pods}
subjects: [{kind: ServiceAccount, name: bare, namespace: default}]
"""


class RealKubelet(KindsOfPods):
    def setUp(self):
        super().setUp()
        self.node.runtime = 1

    def test_kubelet_names_its_containers(self):
        """Permission that is missing, then given; a static pod that lives under a second; the kubelet away and back."""
        self.certify()
        self.node.start()
        self.cluster.apply(BARE)
        bare = self.cluster.token("bare", "default")
        sonde = self.start_agent("kubelet", "--kubelet-tls", "ca", "--kubelet-ca", self.cluster.ca, "--kubelet-token-file", bare)
        self.fails_with(sonde, "grant `get` of nodes/pods")
        self.cluster.apply(NODES_PODS)
        self.in_use(sonde, "kubelet")
        self.node.static_pod("short", fsyncs(37), {"app": "e2e"}, restartPolicy="Never")
        self.node.static_pod("other", fsyncs(41), {"app": "else"}, restartPolicy="Never")
        self.expect(f"short-{NODE}", 37)
        resource = self.containers_of(f"short-{NODE}")[0]
        self.assertEqual((resource["k8s.namespace.name"], resource["k8s.container.name"]), ("default", "main"))
        self.assertRegex(resource["k8s.pod.uid"], "^[0-9a-f]{32}$", "the UID that is in the path of a static pod's cgroup")
        self.assertIsNone(self.counted(f"other-{NODE}"))

        self.node.stop_kubelet()
        wait_for(lambda: not self.identity(sonde)["serving"], 60, "the kubelet is given up")
        self.assertIn("nothing listens", self.reason(sonde))
        self.assertGreaterEqual(self.identity(sonde)["pods"], 2, "the last snapshot serves")
        self.node.start_kubelet()
        self.in_use(sonde, "kubelet")
        self.node.static_pod("later", fsyncs(43), {"app": "e2e"}, restartPolicy="Never")
        self.expect(f"later-{NODE}", 43)
        self.expect(f"short-{NODE}", 37)

    def test_kubelet_kinds_of_pods(self):
        """A Job's pod that lives under a second, a static pod with its mirror, each class of service: names and totals."""
        self.certify()
        self.node.start()
        self.counts_kinds_of_pods("kubelet", "--kubelet-tls", "ca", "--kubelet-ca", self.cluster.ca)

    def test_api_server_kinds_of_pods(self):
        """The same, told by the API server."""
        self.node.start()
        self.counts_kinds_of_pods("apiServer")

    def test_kubelet_crash_loop(self):
        """A container that ends and is started again: one identity, one start time, totals that carry on."""
        self.certify()
        self.node.start()
        sonde = self.start_agent("kubelet", "--kubelet-tls", "ca", "--kubelet-ca", self.cluster.ca)
        self.in_use(sonde, "kubelet")
        self.node.static_pod("loop", fsyncs(19), {"app": "e2e"})

        def restarts():
            status = json.loads(self.node.get("/pods", pathlib.Path(self.token).read_text())[1])
            return [s["restartCount"] for p in status["items"] or [] for s in p["status"].get("containerStatuses", [])]
        wait_for(lambda: restarts() and max(restarts()) >= 2, 120, "it was started three times")
        wait_for(lambda: (self.counted(f"loop-{NODE}") or 0) >= 3 * 19, 60, "three runs are counted")
        metrics = otlp.Metrics.read(self.file)
        names = {dict(r)["service.instance.id"] for r in metrics.resources() if f"loop-{NODE}" in dict(r).values()}
        pattern = re.compile(rf"default\.loop-{NODE}(\.main)?\.[0-9a-f]{{8}}")
        self.assertTrue(all(pattern.fullmatch(name) for name in names), names)
        self.assertEqual(len([name for name in names if ".main." in name]), 1, "the sandbox counts as the pod")
        self.assertEqual(self.counted(f"loop-{NODE}") % 19, 0)
        self.assertEqual(metrics.decreases, [])
        starts = {point["startTimeUnixNano"] for (resource, _, _), point in metrics.streams.items()
                  if "main" in dict(resource).values() and "startTimeUnixNano" in point}
        self.assertEqual(len(starts), 1, "that of the first run")

    def test_kubelet_tls_and_tokens(self):
        """The kubelet's own certificate: refused, pinned, or not asked for; a token that is wrong, then right."""
        self.node.start()
        sonde = self.start_agent("kubelet", "--kubelet-tls", "ca", "--kubelet-ca", self.cluster.ca)
        self.fails_with(sonde, "its certificate is not trusted")
        sonde.stop()
        sonde = self.start_agent("kubelet", "--kubelet-tls", "insecure")
        self.fails_with(sonde, "none was sent because kubelet.tls is insecure")
        sonde.stop()
        token = os.path.join(self.directory, "rotating.token")
        pathlib.Path(token).write_text("wrong")
        sonde = self.start_agent("kubelet", "--kubelet-tls", "pin", "--kubelet-pin", self.node.own_certificate,
                                 "--kubelet-token-file", token)
        self.fails_with(sonde, "does not accept the token (401)")
        pathlib.Path(token + "~").write_text(pathlib.Path(self.token).read_text())
        os.rename(token + "~", token)
        self.in_use(sonde, "kubelet")

    def test_auto_falls_back_and_returns(self):
        """auto: no socket, so the kubelet; it goes, so the API server; it comes back, so the kubelet."""
        self.node.start()
        sonde = self.start_agent("auto", "--kubelet-tls", "auto", "--kubelet-pin", self.node.own_certificate,
                                 "--pods-api-socket", os.path.join(self.directory, "no.sock"))
        self.in_use(sonde, "kubelet")
        self.fails_with(sonde, "there is no socket", "podsApi")
        self.node.static_pod("first", fsyncs(23), {"app": "e2e"}, restartPolicy="Never")
        self.expect(f"first-{NODE}", 23)
        wait_for(lambda: self.cluster.get("pod", "-A")["items"], 60, "the static pod's mirror is at the API server")
        self.node.stop_kubelet()
        self.in_use(sonde, "apiServer")
        self.assertIn("nothing listens", self.reason(sonde))
        self.assertGreaterEqual(self.identity(sonde)["pods"], 1)
        self.expect(f"first-{NODE}", 23)
        names = [r["service.instance.id"] for r in self.containers_of(f"first-{NODE}")]
        self.assertEqual(len(names), 1, f"pod and mirror are one: {names}")
        self.assertRegex(names[0], rf"^default\.first-{NODE}\.main\.[0-9a-f]{{8}}$")
        self.node.start_kubelet()
        self.in_use(sonde, "kubelet")
        self.assertIn("pods come from apiServer (podsApi: there is no socket", sonde.log())
