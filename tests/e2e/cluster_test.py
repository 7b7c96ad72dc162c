# SPDX-License-Identifier: Apache-2.0
"""Pods and policies of a real API server (no kubelet: the pods' cgroups and statuses are made here)."""

import json
import os
import time

from support import cluster, in_cluster, otlp
from support.case import Case
from support.in_cluster import NODE, FakePod, policy
from support.machine import PATIENCE, wait_for
from support.receivers import Prometheus


MAY_DELETE = """
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: without-reports}
rules: [{apiGroups: [sonde.dev], resources: [sondenodes], verbs: [delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: without-reports}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: without-reports}
subjects: [{kind: ServiceAccount, name: sonde-agent, namespace: sonde}]
"""


class InCluster(in_cluster.InCluster):
    def test_policies_and_labels(self):
        """Pods selected by label, another nowhere; labels that come and go; a policy that goes; maps that are nearly full."""
        a, b, c, d = (FakePod(self, f"pod-{n}", {"app": app}) for n, app in zip("abcd", ("db", "db", "web", "db")))
        for pod in (a, b, c, d):
            pod.tell()
        sonde = self.start_agent("--max-histograms", "16")
        self.cluster.apply(policy("dbs", {
            "podSelector": {"matchLabels": {"app": "db"}}, "nodeSelector": {"matchLabels": {"disk": "ssd"}},
            "preset": "Detailed", "collection": {"periodSeconds": 1}, "attributes": {"podLabels": ["app", "rev"]}}))
        elsewhere = self.create_odd()
        self.in_force(sonde, "dbs", elsewhere)
        for pod in (a, b, c):
            pod.work(500)
        self.expect("pod-a", 500, "a is counted")
        self.expect("pod-b", 500, "b is counted")
        resource = otlp.Metrics.read(self.file).resource("pod-a")
        self.assertEqual({key: resource.get(key) for key in (
            "k8s.namespace.name", "k8s.container.name", "k8s.pod.uid", "k8s.pod.label.app", "k8s.node.name")},
            {"k8s.namespace.name": "default", "k8s.container.name": "main", "k8s.pod.uid": a.uid, "k8s.pod.label.app": "db",
             "k8s.node.name": NODE})
        self.assertRegex(resource["service.instance.id"], r"^default\.pod-a\.main\.[0-9a-f]{8}$")

        self.wait_nearly_full("True")
        d.work(10)
        self.expect("pod-d", 10, "d is counted")
        d.label("rev=second")
        wait_for(lambda: otlp.Metrics.read(self.file).resource("second"), 10, "a label that is new shows on the Resource")
        self.assertEqual(otlp.Metrics.read(self.file).resource("second")["k8s.pod.label.rev"], "second")
        prometheus = self.start(Prometheus(self.directory, sonde.local))
        d.work(7)
        self.expect("pod-d", 17, "under both labels together it is all that was done")
        by_label = 'sum by (k8s_pod_name) (sonde_file_io_bytes_total{k8s_pod_label_rev="second",disk_io_direction="read"})'
        filtered = [({"k8s_pod_name": "pod-d"}, str(7 * 4096))]
        wait_for(lambda: prometheus.query(by_label) == filtered, 30, "Prometheus filters by it")
        self.assert_in_force_at_once(sonde, d)
        b.label("app=web")
        wait_for(lambda: otlp.Metrics.read(self.file).has_ended("pod-b"), 20, "b is not watched any more")
        for pod in (a, b):
            pod.work(100)
        self.expect("pod-a", 600, "a goes on")
        self.assertEqual(self.read_bytes("pod-b"), 500 * 4096)

        self.cluster.kubectl("delete", "cmpol", "dbs")
        wait_for(lambda: otlp.Metrics.read(self.file).has_ended("pod-a"), 20, "nobody is watched any more")
        a.work(100)
        self.in_force(sonde, elsewhere)
        self.assertEqual(self.read_bytes("pod-a"), 600 * 4096)
        self.assertIsNone(self.read_bytes("pod-c"))
        self.wait_nearly_full("False")
        self.assertEqual(otlp.Metrics.read(self.file).decreases, [])

    def wait_nearly_full(self, status):
        """What the SondeNode says of maps of the kernel side."""
        def said():
            nodes = self.cluster.get("sondenodes")["items"]
            conditions = nodes[0].get("status", {}).get("conditions", []) if nodes else []
            return [c for c in conditions if (c["type"], c["status"]) == ("MapsNearlyFull", status)]
        condition = wait_for(said, 60, f"MapsNearlyFull is {status}")[0]
        self.assertEqual("raise limits.histograms" in condition.get("message", ""), status == "True", condition)

    def create_odd(self):
        """A policy that asks nothing here; all of it is legal, if odd. Its name, which the API server makes up."""
        odd = policy("", {"nodeSelector": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["", "hdd"]}],
                                           "matchLabels": {"example.com/Odd_key.1": ""}}})
        odd["metadata"] = {"generateName": "odd.one-", "annotations": {"example.com/a": "- {b: *c} # \u2028 \x7f \U0001f600 \\"}}
        made = self.cluster.kubectl("create", "-f", "-", "-o", "name", stdin=json.dumps(odd, ensure_ascii=False))
        return made.stdout.strip().split("/")[1]

    def selected(self, sonde, pod):
        containers = json.loads(sonde.get(f"/explain?pod={pod.namespace}/{pod.name}", local=True)[1])["containers"]
        return bool(containers) and containers[0]["selected"]

    def assert_in_force_at_once(self, sonde, pod):
        """A label that goes and comes is obeyed within two seconds; the best of three, others use this machine too."""
        for labels, selected in (("app=web", False), ("app=db", True)):
            took = []
            for _ in range(3):
                pod.label("app=db" if labels == "app=web" else "app=web")
                wait_for(lambda: self.selected(sonde, pod) != selected, 20, "the other label is obeyed")
                pod.label(labels)
                begin = time.monotonic()
                wait_for(lambda: self.selected(sonde, pod) == selected, 20, f"{labels} is obeyed")
                took.append(time.monotonic() - begin)
            self.assertLessEqual(min(took), 2 * PATIENCE, f"{labels}: {took}")

    def test_labels_of_the_default_policy(self):
        """Without a policy of anybody's: the labels that people filter by are there."""
        pod = FakePod(self, "shown", {"app": "web", "app.kubernetes.io/name": "shop", "team": "red"})
        pod.tell()
        sonde = self.start_agent("--default-policy", "true")
        wait_for(lambda: "shown" in sonde.get("/pods", local=True)[1], 30, "the pod is known")
        pod.work(10)
        self.expect("shown", 10, "it is counted")
        resource = otlp.Metrics.read(self.file).resource("shown")
        self.assertEqual({key: value for key, value in resource.items() if key.startswith("k8s.pod.label.")},
                         {"k8s.pod.label.app": "web", "k8s.pod.label.app.kubernetes.io/name": "shop"})

    def test_reports_can_be_switched_off_alone(self):
        """kubernetes.report: false: no SondeNode is written, one of before goes, policies are followed all the same."""
        for report, written in (("false", False), ("true", True)):
            sonde = self.start_agent("--node-report", report)
            self.cluster.apply(policy(f"all-{report}", {"preset": "Minimal"}))
            wait_for(lambda: f"all-{report}" in sonde.get("/statusz", local=True)[1], 30, "policies are followed")
            self.assertEqual("node_status" in json.loads(sonde.get("/statusz", local=True)[1])["kubernetes"], written)
            if written:
                wait_for(lambda: len(self.cluster.get("sondenodes")["items"]) == 1, 30, "the node is told of")
            else:
                self.assertEqual(self.cluster.get("sondenodes")["items"], [])
            self.assertEqual(sonde.stop(), 0)
        # Without the right the agent says what to do, with that of the chart's config.kubernetes.report=false it does it.
        sonde = self.start_agent("--node-report", "false")
        wait_for(lambda: f"kubectl delete sondenode {NODE}" in sonde.log(), 30, "the agent says that one stays")
        self.assertEqual(sonde.stop(), 0)
        self.cluster.apply(MAY_DELETE)
        sonde = self.start_agent("--node-report", "false")
        wait_for(lambda: not self.cluster.get("sondenodes")["items"], 30, "it is removed")
        wait_for(lambda: f"SondeNode {NODE} has been deleted" in sonde.log(), 10, "the agent says so")

    def test_work_before_the_name_is_known(self):
        """A container that ran and ended before its pod's status named it: counted and named. Another is not selected."""
        sonde = self.start_agent()
        self.cluster.apply(policy("dbs", {"podSelector": {"matchLabels": {"app": "db"}}, "containers": {"names": ["main"]},
                                          "collection": {"periodSeconds": 1}}))
        self.in_force(sonde, "dbs")
        for name, container in (("pod-short", "main"), ("pod-other", "side")):
            pod = FakePod(self, name, {"app": "db"}, container=container)
            pod.work(700)
            pod.end()
            pod.tell()
        self.expect("pod-short", 700, "what was done before anybody knew the name")
        self.assertIsNone(self.read_bytes("pod-other"))

    def test_namespaces_stay_apart(self):
        """A MonitorPolicy selects in its own namespace only; namespaceSelector goes by the namespace's labels."""
        for name, tier in (("shop", "prod"), ("lab", "test")):
            self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"tier": tier}}})
        a, b = FakePod(self, "pod-a", {"app": "x"}, "shop"), FakePod(self, "pod-b", {"app": "x"}, "lab")
        a.tell()
        b.tell()
        sonde = self.start_agent()
        self.cluster.apply(policy("mine", {"collection": {"periodSeconds": 1}}, "MonitorPolicy", "shop"))
        self.in_force(sonde, "shop/mine")
        for pod in (a, b):
            pod.work(300)
        self.expect("pod-a", 300, "a is in the policy's namespace")
        self.assertIsNone(self.read_bytes("pod-b"))
        self.cluster.apply(policy("tests", {"namespaceSelector": {"matchLabels": {"tier": "test"}},
                                            "collection": {"periodSeconds": 1}}))
        self.in_force(sonde, "shop/mine", "tests")
        b.work(200)
        self.expect("pod-b", 200, "b is in a namespace that is selected by label")

    def test_api_server_away(self):
        """Policies hold without API server, over a restart of the agent too; afterwards it catches up."""
        a, b = FakePod(self, "pod-a", {"app": "db"}), FakePod(self, "pod-b", {"app": "db"})
        for pod in (a, b):
            pod.tell()
        first = self.start_agent()
        self.cluster.apply(policy("dbs", {"collection": {"periodSeconds": 1}}))
        self.in_force(first, "dbs")
        a.work(300)
        self.expect("pod-a", 300, "a is counted")
        self.cluster.stop_apiserver()
        a.work(300)
        self.expect("pod-a", 600, "without API server")
        self.assertEqual(first.stop(), 0)
        self.file += ".second"
        second = self.start_agent()
        self.in_force(second, "dbs")
        a.work(150)
        wait_for(lambda: self.read_bytes(a.uid) == 150 * 4096, 40, "a is counted under its UID while nobody knows its name")
        self.cluster.start()
        wait_for(lambda: "pod-b" in second.get("/pods", local=True)[1], 120, "pods have their names again")
        before = self.read_bytes(a.uid)
        b.work(120)
        self.expect("pod-b", 120, "it catches up")
        self.assertEqual(before, 150 * 4096)
        self.cluster.kubectl("delete", "cmpol", "dbs")
        self.in_force(second)


    def test_rolled_back_beside_what_is_newer(self):
        """What a newer release leaves behind: fields and words in the CRD that this agent does not know, policies that have them,
        lines in its file of policies. It follows the policies that it understands and tells of the others."""
        cache = os.path.join(self.directory, "cache.jsonl")
        known = policy("known", {"preset": "Minimal", "collection": {"periodSeconds": 1}})
        newer = policy("newer", {"preset": "Minimal", "future": {"depth": 3}})
        with open(cache, "w") as file:
            for line in ({"format": 7, "written": "2031-01-01T00:00:00Z"}, newer, known):
                file.write(json.dumps(line) + "\n")
        crd = "clustermonitorpolicies.sonde.dev"
        path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties"
        self.cluster.kubectl("patch", "crd", crd, "--type=json", "-p", json.dumps([
            {"op": "add", "path": f"{path}/future", "value": {"type": "object", "properties": {"depth": {"type": "integer"}}}},
            {"op": "add", "path": f"{path}/collection/properties/granularity/enum/-", "value": "Galaxy"}]))
        words = policy("words", {"collection": {"granularity": "Galaxy"}})
        for one in (known, newer, words):
            wait_for(lambda: self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(one), check=False).returncode == 0, 30,
                     "the API server takes what the newer CRD has")

        self.cluster.stop_apiserver()
        sonde = self.start_agent()
        self.in_force(sonde, "known")
        self.cluster.start()
        pod = FakePod(self, "pod-a", {"app": "db"})
        pod.tell()
        wait_for(lambda: "pod-a" in sonde.get("/pods", local=True)[1], 60, "the agent follows the API server")
        pod.work(200)
        self.expect("pod-a", 200, "the policy that is understood counts")
        self.in_force(sonde, "known")

        def told():
            nodes = self.cluster.get("sondenodes")["items"]
            policies = nodes[0].get("status", {}).get("policies", []) if nodes else []
            return {one["name"]: "NotUnderstood" in json.dumps(one) for one in policies}
        wait_for(lambda: told() == {"known": False, "newer": True, "words": True}, 60, "its SondeNode tells")
        self.assertEqual(sonde.stop(), 0)
        with open(cache) as file:
            self.assertIn("known", [json.loads(line)["metadata"]["name"] for line in file])


WRONG = [
    ("mode", {"mode": "Watch"}, 'Unsupported value: "Watch"'),
    ("priority", {"priority": 1001}, "less than or equal to 1000"),
    ("preset", {"preset": "standard"}, 'supported values: "None", "Minimal", "Standard", "Detailed"'),
    ("unknown field", {"presset": "Minimal"}, 'unknown field "spec.presset"'),
    ("exclude that measures", {"mode": "Exclude", "preset": "Minimal"}, "mode Exclude measures nothing"),
    ("selector without values", {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
     "In and NotIn need values"),
    ("selector with values", {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}},
     "Exists and DoesNotExist have none"),
    ("value of a label", {"podSelector": {"matchLabels": {"app": "my db"}}}, "a label value consists of letters, digits"),
    ("value of an expression", {"nodeSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b/c"]}]}},
     "a label value consists of letters, digits"),
    ("key of an expression", {"namespaceSelector": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}},
     "a label key consists of letters, digits"),
    ("pattern for labels", {"attributes": {"podLabels": ["app*"]}}, "a label key consists of letters, digits"),
    ("container name", {"containers": {"names": ["my_app"]}}, "a container name consists of lower-case letters"),
    ("probe name", {"probes": [{"name": "IO"}]}, "a probe name consists of lower-case letters"),
    ("probe twice", {"probes": [{"name": "io"}, {"name": "io"}]}, "Duplicate value"),
    ("metric in and out", {"probes": [{"name": "io", "includeMetrics": ["m"], "excludeMetrics": ["m"]}]},
     "cannot be in includeMetrics and in excludeMetrics"),
    ("function without path", {"functions": [{"name": "f", "type": "Uprobe", "symbol": "main"}]},
     "Uprobe needs path"),
    ("kernel function with path", {"functions": [{"name": "f", "type": "Kernel", "symbol": "x", "path": "/x"}]},
     "Kernel has no path"),
    ("relative path", {"functions": [{"name": "f", "type": "Uprobe", "symbol": "main", "path": "bin/x"}]},
     "path begins with '/'"),
    ("bytes without argument", {"functions": [{"name": "f", "type": "Uprobe", "symbol": "m", "path": "/x",
                                               "measure": ["Bytes"]}]}, "go together"),
    ("period", {"collection": {"periodSeconds": 0}}, "greater than or equal to 1"),
    ("period with unit", {"collection": {"periodSeconds": "30s"}}, 'must be of type integer: "string"'),
    ("keepRecent", {"collection": {"cleanup": {"strategy": "NoCleanup", "keepRecent": {"idleSeconds": 5}}}},
     "keepRecent is only valid with strategy KeepRecent"),
    ("threshold of both", {"traces": {"thresholds": [{"minMicroseconds": 1}]}}, "either an operation or a function"),
    ("limit by both names", {"traces": {"maxSpansPerSecondPerNode": 5, "limits": {"treesPerSecondPerNode": 5}}},
     "former name of limits.treesPerSecondPerNode"),
    ("threshold of no function", {"traces": {"thresholds": [{"function": "f", "minMicroseconds": 1}]}},
     "must be one of spec.functions"),
]
WRONG_IN_NAMESPACE = [
    ("namespaceSelector", {"namespaceSelector": {}}, 'unknown field "spec.namespaceSelector"'),
    ("kernel function", {"functions": [{"name": "f", "type": "Kernel", "symbol": "x"}]}, "only a ClusterMonitorPolicy"),
]


class Admission(Case):
    def test_examples_and_wrong_policies(self):
        """Each file of crds/examples is taken; what is wrong is refused with a sentence that helps."""
        api = self.start(cluster.Cluster(self.directory).start())
        api.install_crds()
        for path in sorted((cluster.CRDS / "examples").glob("*.yaml")):
            api.kubectl("apply", "-f", path)
        taken = api.get("cmpol,mpol", "-A")["items"]
        self.assertEqual(len(taken), len(list((cluster.CRDS / "examples").glob("*.yaml"))))
        self.assertIn("Exclude", api.kubectl("get", "cmpol", "-o", "wide").stdout)
        for kind, namespace, cases in (("ClusterMonitorPolicy", None, WRONG), ("MonitorPolicy", "default", WRONG_IN_NAMESPACE)):
            for what, spec, message in cases:
                wrong = json.dumps(policy("wrong", spec, kind, namespace))
                with self.subTest(what):
                    answer = api.kubectl("apply", "-f", "-", check=False, stdin=wrong)
                    self.assertNotEqual(answer.returncode, 0)
                    self.assertIn(message, answer.stderr)
