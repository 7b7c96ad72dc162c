# SPDX-License-Identifier: Apache-2.0
"""Every kind of container of a real kubelet's pods: init, sidecar, regular, ephemeral; annotations that are edited; containers
that are started again because they were resized or because all of their pod are."""

import json
import os
import signal
import time

from support import beside_kubelet, node, otlp
from support.beside_kubelet import fsyncs
from support.in_cluster import NODE, policy
from support.machine import PATIENCE, wait_for

# What each container does, and what a policy's `containers` takes of them.
TRUTH = {"setup": 31, "proxy": 37, "main": 41, "debug": 43}
PODS = {
    "every": (None, {"setup", "proxy", "main", "debug"}),
    "names": ({"names": ["main", "debug"]}, {"main", "debug"}),
    "init": ({"types": ["Init"]}, {"setup"}),
    "sidecar": ({"types": ["Sidecar"]}, {"proxy"}),
    "regular": ({"types": ["Regular"]}, {"main"}),
    "ephemeral": ({"types": ["Ephemeral"]}, {"debug"}),
}
SHOWN, HIDDEN = "example.com/on-call", "example.com/other"
EDITED_WITHIN = 5  # seconds: the kubelet is asked every two here, the interval is one


def container(name, how="hold", **more):
    command = fsyncs(TRUTH[name])
    command[1] = how
    return {"name": name, "image": node.IMAGE, "imagePullPolicy": "Never", "command": command, **more}


class KindsOfContainers(beside_kubelet.BesideKubelet):
    def setUp(self):
        super().setUp()
        self.received = otlp.Following(self.file)

    def counted(self, container):
        return self.received.now().total("sonde.file.operation.duration", container, sonde__file__operation="fsync")

    def containers_of(self, pod):
        """Resources of its containers, by the container's name."""
        resources = map(dict, self.received.now().resources())
        return {r["k8s.container.name"]: r for r in resources if r.get("k8s.pod.name") == pod and "k8s.container.name" in r}

    def create(self, pod, **main):
        spec = node.pod_spec([])
        spec["initContainers"] = [container("setup", "io"), container("proxy", restartPolicy="Always")]
        spec["containers"] = [container("main", **main)]
        metadata = {"name": pod, "namespace": "default", "labels": {"kind": pod},
                    "annotations": {SHOWN: "first team", HIDDEN: "not asked for"}}
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": NODE, **spec}})

    def apply_policy(self, pod, containers=None):
        self.cluster.apply(policy(pod, {
            "podSelector": {"matchLabels": {"kind": pod}}, "probes": [{"name": "io", "level": "Detailed"}],
            "collection": {"periodSeconds": 1},
            "attributes": {"podAnnotations": [SHOWN]}, **({"containers": containers} if containers else {})}))

    def running(self, pod):
        return self.cluster.get("pod", pod)["status"]["phase"] == "Running"

    def test_kubelet_kinds_of_containers(self):
        """Each is counted exactly under its name; a policy takes them by name and by type; annotations follow edits."""
        self.certify()
        self.node.start()
        for pod, (containers, _) in PODS.items():
            self.apply_policy(pod, containers)
        sonde = self.start_agent("kubelet", "--kubelet-tls", "ca", "--kubelet-ca", self.cluster.ca)
        self.in_use(sonde, "kubelet")
        for pod in PODS:
            self.create(pod)
        for pod in PODS:
            wait_for(lambda: self.running(pod), 120, f"{pod} runs")
            self.cluster.kubectl("debug", pod, f"--image={node.IMAGE}", "--image-pull-policy=Never", "--profile=general",
                                 "--container=debug", "--", *container("debug")["command"])
        for pod, (_, selected) in PODS.items():
            for name in selected:
                self.expect(("default", pod, name), TRUTH[name])
        # Two more exports, so that what nobody asked for would have come.
        requests = self.received.now().requests
        wait_for(lambda: self.received.now().requests >= requests + 2, 30, "more is exported")
        for pod, (_, selected) in PODS.items():
            mine = self.containers_of(pod)
            self.assertEqual(set(mine), selected, pod)
            for name, resource in mine.items():
                self.assertEqual(self.counted(("default", pod, name)), TRUTH[name])
                self.assertEqual(resource[f"k8s.pod.annotation.{SHOWN}"], "first team")
                self.assertNotIn(f"k8s.pod.annotation.{HIDDEN}", resource)
        self.assertEqual(self.counted(None), sum(TRUTH[name] for _, selected in PODS.values() for name in selected),
                         "and nothing beside them")
        self.assert_annotations_follow()

    def assert_annotations_follow(self):
        took = []
        for value in ("second team", "third team", "fourth team"):
            self.cluster.kubectl("annotate", "pod", "every", "--overwrite", f"{SHOWN}={value}")
            begin = time.monotonic()

            def shown():
                resource = self.received.now().resource(value)
                return resource and (resource["k8s.pod.name"], resource[f"k8s.pod.annotation.{SHOWN}"]) == ("every", value)
            wait_for(shown, 30, "the annotation shows")
            took.append(time.monotonic() - begin)
            if took[-1] <= EDITED_WITHIN * PATIENCE:
                break
        said = f"an edited annotation is on the Resource after {', '.join(f'{t:.1f}' for t in took)} s"
        self.result.note(said)
        self.assertLessEqual(min(took), EDITED_WITHIN * PATIENCE, said)

    def statuses(self, pod):
        """Of its containers, by their names."""
        status = self.cluster.get("pod", pod)["status"]
        return {one["name"]: one for one in status.get("initContainerStatuses", []) + status.get("containerStatuses", [])}

    def assert_totals(self, what, **wanted):
        """The totals of each of the containers, one for each start of its stream."""
        def totals():
            return {name: otlp.totals_by_start(self.file, "sonde.file.operation.duration", ("default", "every", name),
                                               sonde__file__operation="fsync") for name in wanted}
        wait_for(lambda: totals() == wanted, 60, f"{what}: {wanted} (are {totals()})")

    def test_kubelet_starts_containers_again(self):
        """Resized in place, one of them; by the rule RestartAllContainers each of them: one identity, totals that carry on."""
        self.certify()
        self.node.start()
        self.apply_policy("every")
        sonde = self.start_agent("kubelet", "--kubelet-tls", "ca", "--kubelet-ca", self.cluster.ca)
        self.in_use(sonde, "kubelet")
        self.create("every", resources={"requests": {"cpu": "10m"}}, restartPolicy="Always",
                    resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}],
                    restartPolicyRules=[{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [137]}}])
        self.assert_totals("at first", setup=[31], proxy=[37], main=[41])
        uid = self.cluster.get("pod", "every")["metadata"]["uid"]

        self.cluster.kubectl("patch", "pod", "every", "--subresource=resize", "-p", json.dumps(
            {"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "20m"}}}]}}))
        wait_for(lambda: self.statuses("every")["main"]["restartCount"] == 1, 60, "it is started again with its new resources")
        self.assert_totals("resized", setup=[31], proxy=[37], main=[2 * 41])

        before = self.statuses("every")
        tasks = dict(line.split()[:2] for line in self.node.ctr("tasks", "ls").stdout.splitlines()[1:])
        os.kill(int(tasks[before["main"]["containerID"].removeprefix("containerd://")]), signal.SIGKILL)

        def anew():
            now = self.statuses("every")
            return all(now[name].get("containerID") not in (None, one["containerID"]) for name, one in before.items())
        wait_for(anew, 60, "all of them are others")
        # The init container had ended; its stream begins anew.
        self.assert_totals("all again", setup=[31, 31], proxy=[2 * 37], main=[3 * 41])
        self.assertEqual(self.cluster.get("pod", "every")["metadata"]["uid"], uid)
        metrics = self.received.now()
        self.assertEqual((metrics.decreases, metrics.overlaps), ([], []))
        names = {dict(r)["service.instance.id"] for r in metrics.resources() if "k8s.container.name" in dict(r)}
        self.assertEqual(len(names), 3, names)
