# SPDX-License-Identifier: Apache-2.0
"""Every kind of pod that a kubelet runs, whoever tells the agent of them."""

from . import node, otlp
from .beside_kubelet import BesideKubelet, fsyncs
from .in_cluster import NODE
from .machine import wait_for

# One of each class that the kubelet knows, by what they ask of CPU and memory.
SOME = {"cpu": "50m", "memory": "32Mi"}
CLASSES = {"Guaranteed": {"requests": SOME, "limits": SOME}, "Burstable": {"requests": SOME}, "BestEffort": {}}


def work_template(command):
    return {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": node.IMAGE, "command": command}]}}


class KindsOfPods(BesideKubelet):
    """What the scenarios share; no scenario itself."""

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

    def counts_kinds_of_pods(self, source, *flags):
        """A Job's pod that lives under a second, a static pod with its mirror, each class of service: names and totals."""
        sonde = self.start_agent(source, *flags)
        self.in_use(sonde, source)
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
            self.assertEqual(len(mine), 1, mine)
            self.assertRegex(mine[0]["service.instance.id"], rf"^default\.{name}\.main\.[0-9a-f]{{8}}$")
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
        # The stream of the Pods API calls a pod that has ended deleted; the list has it still.
        wait_for(lambda: self.identity(sonde)["pods"] == len(truth) + 1, 30, "pods that ended are known until they are deleted")

    def ended(self, n):
        """The pods of the API server by name, once there are n and each has ended."""
        pods = {p["metadata"]["name"]: p for p in self.cluster.get("pod", "-A")["items"]}
        done = all(p["status"]["phase"] == "Succeeded" for p in pods.values())
        return pods if len(pods) == n and done else None
