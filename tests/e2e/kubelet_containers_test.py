# SPDX-License-Identifier: Apache-2.0
"""Every kind of container of a real kubelet's pods: init, sidecar, regular, ephemeral; annotations that are edited."""

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

    def create(self, pod):
        spec = node.pod_spec([])
        spec["initContainers"] = [container("setup", "io"), container("proxy", restartPolicy="Always")]
        spec["containers"] = [container("main")]
        metadata = {"name": pod, "namespace": "default", "labels": {"kind": pod},
                    "annotations": {SHOWN: "first team", HIDDEN: "not asked for"}}
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": NODE, **spec}})

    def running(self, pod):
        return self.cluster.get("pod", pod)["status"]["phase"] == "Running"

    def test_kubelet_kinds_of_containers(self):
        """Each is counted exactly under its name; a policy takes them by name and by type; annotations follow edits."""
        self.certify()
        self.node.start()
        for pod, (containers, _) in PODS.items():
            self.cluster.apply(policy(pod, {
                "podSelector": {"matchLabels": {"kind": pod}}, "probes": [{"name": "io", "level": "Detailed"}],
                "collection": {"periodSeconds": 1},
                "attributes": {"podAnnotations": [SHOWN]}, **({"containers": containers} if containers else {})}))
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
