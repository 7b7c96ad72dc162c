# SPDX-License-Identifier: Apache-2.0
"""Pods of a real kubelet: containerd and runc run them here, the kubelet's own server tells their names."""

import json
import os
import pathlib

from cluster_test import NODE, policy
from support import cluster, node, otlp
from support.case import Case
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


# One of each class that the kubelet knows, by what they ask of CPU and memory.
SOME = {"cpu": "50m", "memory": "32Mi"}
CLASSES = {"Guaranteed": {"requests": SOME, "limits": SOME}, "Burstable": {"requests": SOME}, "BestEffort": {}}


def fsyncs(n, fails=0):
    """Beside them runc reads and writes in a container's cgroup, but it does not fsync, and no read of it fails so."""
    return ["/workload", "io", "/tmp/file", "10", "4096", str(fails), str(n), "0"]


def work_template(command):
    return {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": node.IMAGE, "command": command}]}}


class RealKubelet(Case):
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
        resource = otlp.Metrics.read(self.file).resource(f"default.short-{NODE}.main")
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

    def make(self, plural, manifest):
        self.cluster.apply(manifest)
        return self.cluster.get(plural, manifest["metadata"]["name"])

    def job_of_cron_job(self, command):
        """What the controllers of Kubernetes make: CronJob, its Job, and the Job's pod, whose name is returned."""
        job = {"template": work_template(command)}
        cron = self.make("cronjob", {
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backup"},
            "spec": {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": {"spec": job}}})
        made = self.make("job", {
            "apiVersion": "batch/v1", "kind": "Job", "spec": job,
            "metadata": {"name": "backup-29384760", "ownerReferences": [node.owner_reference(cron)]}})
        self.node.pod("backup-29384760-x7k2p", command, {"app": "e2e"}, made, restartPolicy="Never")
        return "backup-29384760-x7k2p"

    def test_kubelet_kinds_of_pods(self):
        """A Job's pod that lives under a second, a static pod with its mirror, each class of service: names and totals."""
        self.certify()
        self.node.start()
        sonde = self.start_agent("kubelet", "--kubelet-tls", "ca", "--kubelet-ca", self.cluster.ca)
        self.in_use(sonde, "kubelet")
        truth = {self.job_of_cron_job(fsyncs(53, 7)): (53, 7)}
        for i, (qos, resources) in enumerate(CLASSES.items()):
            did = (61 + 2 * i, 11 + 2 * i)
            self.node.pod(qos.lower(), fsyncs(*did), {"app": "e2e"}, resources=resources, restartPolicy="Never")
            truth[qos.lower()] = did
        self.node.static_pod("static", fsyncs(59, 5), {"app": "e2e"}, restartPolicy="Never")
        truth[f"static-{NODE}"] = (59, 5)
        self.node.pod("other", fsyncs(71, 3), {"app": "else"}, restartPolicy="Never")

        pods = wait_for(lambda: self.ended(len(truth) + 1), 120, "all of them ran")
        for name, (n, _) in truth.items():
            self.expect(name, n)
        metrics = otlp.Metrics.read(self.file)
        failed = {"sonde__file__operation": "read", "error__type": "EFAULT"}
        for name, (_, fails) in truth.items():
            self.assertEqual(metrics.total("sonde.file.operation.errors", name, **failed), fails, name)
        # What is nobody's would stand beside them: the sum of all there is, is what they did.
        for which, (metric, attributes) in enumerate((("sonde.file.operation.duration", {"sonde__file__operation": "fsync"}),
                                                      ("sonde.file.operation.errors", failed))):
            self.assertEqual(metrics.total(metric, None, **attributes), sum(did[which] for did in truth.values()))
        self.assertEqual(metrics.decreases, [])

        for name in truth:
            mine = self.containers_of(name)
            self.assertEqual([r["service.instance.id"] for r in mine], [f"default.{name}.main"])
            self.assertEqual(mine[0]["k8s.namespace.name"], "default")
            annotations = pods[name]["metadata"].get("annotations", {})
            uid = annotations.get("kubernetes.io/config.mirror", pods[name]["metadata"]["uid"])
            self.assertEqual(mine[0]["k8s.pod.uid"], uid)
            owners = [mine[0].get(f"k8s.{kind}.name") for kind in ("job", "cronjob")]
            self.assertEqual(owners, ["backup-29384760", "backup"] if name.startswith("backup") else [None, None])
        self.assertEqual({name: pods[name]["status"]["qosClass"] for name in map(str.lower, CLASSES)},
                         {qos.lower(): qos for qos in CLASSES})
        mirror = pods[f"static-{NODE}"]["metadata"]["uid"]
        self.assertIsNone(metrics.resource(mirror), "the mirror is no pod of its own")
        self.assertIsNone(metrics.resource("other"))
        self.assertEqual(self.identity(sonde)["pods"], len(truth) + 1)

    def ended(self, n):
        """The pods of the API server by name, once there are n and each has ended."""
        pods = {p["metadata"]["name"]: p for p in self.cluster.get("pod", "-A")["items"]}
        done = all(p["status"]["phase"] == "Succeeded" for p in pods.values())
        return pods if len(pods) == n and done else None

    def test_kubelet_crash_loop(self):
        """A container that ends and is started again: one identity, each run from zero, and nothing is lost."""
        self.certify()
        self.node.start()
        sonde = self.start_agent("kubelet", "--kubelet-tls", "ca", "--kubelet-ca", self.cluster.ca)
        self.in_use(sonde, "kubelet")
        self.node.static_pod("loop", fsyncs(19), {"app": "e2e"})

        def restarts():
            status = json.loads(self.node.get("/pods", pathlib.Path(self.token).read_text())[1])
            return [s["restartCount"] for p in status["items"] or [] for s in p["status"].get("containerStatuses", [])]
        wait_for(lambda: restarts() and max(restarts()) >= 2, 120, "it was started three times")
        self.expect(f"loop-{NODE}", 19)
        metrics = otlp.Metrics.read(self.file)
        names = {dict(r)["service.instance.id"] for r in metrics.resources() if f"loop-{NODE}" in dict(r).values()}
        self.assertIn(f"default.loop-{NODE}.main", names)
        self.assertLessEqual(names, {f"default.loop-{NODE}.main", f"default.loop-{NODE}"}, "the sandbox counts as the pod")
        self.assertEqual(metrics.decreases, [], "each run has a start time of its own")

    def test_kubelet_tls_and_tokens(self):
        """The kubelet's own certificate: refused, pinned, or not asked for; a token that is wrong, then right."""
        self.node.start()
        sonde = self.start_agent("kubelet", "--kubelet-tls", "ca", "--kubelet-ca", self.cluster.ca)
        self.fails_with(sonde, "its certificate is not trusted")
        sonde.stop()
        sonde = self.start_agent("kubelet", "--kubelet-tls", "insecure")
        self.fails_with(sonde, "none was sent since kubelet.tls is insecure")
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
        self.assertEqual([r["service.instance.id"] for r in self.containers_of(f"first-{NODE}")],
                         [f"default.first-{NODE}.main"], "pod and mirror are one")
        self.node.start_kubelet()
        self.in_use(sonde, "kubelet")
        self.assertIn("pods come from apiServer (podsApi: there is no socket", sonde.log())
