# SPDX-License-Identifier: Apache-2.0
"""What agents report and the operator makes of it, with a real API server and the rights that docs/ops/operator.md lists."""

import json
import os
import platform
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from support import agent, cluster, in_cluster, machine, operator, otlp
from support.in_cluster import NODE, FakePod, policy
from support.machine import Workload, wait_for

ADMISSION = cluster.CRDS / "admission" / "sondenode-own-node.yaml"


class Status(in_cluster.InCluster):
    def start_operator(self, name="operator"):
        started = operator.Operator(self.directory, self.cluster, name)
        self._ends.append(started.kill)
        return started.wait_ready()

    def conditions(self, name, kind="cmpol", namespace=None):
        """{type: condition} of this policy, once the operator has seen its newest generation."""
        policy = self.cluster.get(kind, name, *(["-n", namespace] if namespace else []))
        status = policy.get("status", {})
        if status.get("observedGeneration") != policy["metadata"]["generation"]:
            return {}
        return {c["type"]: c for c in status["conditions"]}

    def wait_condition(self, name, type, value, seconds, kind="cmpol", namespace=None):
        def check():
            condition = self.conditions(name, kind, namespace).get(type)
            return condition if condition and condition["status"] == value else None
        return wait_for(check, seconds, f"{name}: {type}={value}")

    def columns(self, name):
        header, row = self.cluster.kubectl("get", "cmpol", name, "-o", "wide").stdout.splitlines()
        starts = [header.index(word) for word in header.split()]
        cells = [row[a:b].strip() for a, b in zip(starts, starts[1:] + [None])]
        return dict(zip(header.split(), cells))

    def assert_small(self, status):
        room = 2048 + 256 * len(status.get("policies", []))
        self.assertLessEqual(len(json.dumps(status, separators=(",", ":"))), room)

    def explain(self, sonde, pod):
        run = subprocess.run([agent.BINARY, "explain", "pod", pod, "-o", "json", "--address", f"127.0.0.1:{sonde.local}"],
                             capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stderr)
        return json.loads(run.stdout)["containers"]

    def test_ready_and_degraded(self):
        """A policy becomes Ready; one with a missing symbol is Degraded with its reason, and the rest of it works."""
        pod = FakePod(self, "pod-a", {"app": "db"})
        pod.tell()
        self.start_agent()
        self.start_operator()
        self.cluster.apply(policy("good", {"podSelector": {"matchLabels": {"app": "db"}}, "preset": "Minimal",
                                           "collection": {"periodSeconds": 1}}))
        self.wait_condition("good", "Ready", "True", 20)
        columns = self.columns("good")
        self.assertEqual({key: columns[key] for key in ("READY", "NODES", "APPLIED", "FAILED", "CONTAINERS")},
                         {"READY": "True", "NODES": "1", "APPLIED": "1", "FAILED": "0", "CONTAINERS": "1"})
        self.assertEqual((columns["DEGRADED"], columns["FAILURE"]), ("False", ""))
        node = self.cluster.get("sondenode", NODE)
        self.assertEqual(node["status"]["kernel"], platform.release())
        self.assertTrue(node["status"]["btf"])
        self.assertEqual(node["status"]["policies"][0]["name"], "good")
        self.assert_small(node["status"])
        owner = node["metadata"]["ownerReferences"][0]
        self.assertEqual((owner["kind"], owner["uid"]), ("Node", self.cluster.get("node", NODE)["metadata"]["uid"]))

        # A process whose file is there, and the function is not.
        held = Workload(pod.group, "io", os.path.join(self.directory, "held"), 1, 4096, 0, 0, 0, held=True)
        self.cluster.apply(policy("good", {
            "podSelector": {"matchLabels": {"app": "db"}}, "preset": "Minimal", "collection": {"periodSeconds": 1},
            "functions": [{"name": "gone", "type": "Uprobe", "path": str(machine.BUILD / "e2e" / "workload"),
                           "symbol": "there_is_no_such_function", "measure": ["Calls"]}]}))
        degraded = self.wait_condition("good", "Degraded", "True", 20)
        self.assertEqual(degraded["reason"], "SymbolNotFound")
        self.assertIn("function/gone on " + NODE, degraded["message"])
        self.assertEqual(self.conditions("good")["Ready"]["status"], "True")
        failures = self.cluster.get("cmpol", "good")["status"]["failures"]
        self.assertEqual([(f["nodeName"], f["probe"], f["reason"]) for f in failures],
                         [(NODE, "function/gone", "SymbolNotFound")])
        columns = self.columns("good")
        self.assertEqual({key: columns[key] for key in ("READY", "NODES", "APPLIED", "FAILED", "DEGRADED", "FAILURE")},
                         {"READY": "True", "NODES": "1", "APPLIED": "1", "FAILED": "1", "DEGRADED": "True",
                          "FAILURE": "SymbolNotFound"})
        held.go()
        held.finish()
        pod.work(300)
        self.expect("pod-a", 301, "the rest of the policy works")

        def event():
            return [e for e in self.cluster.get("events.events.k8s.io", "-n", "default")["items"]
                    if e["regarding"]["name"] == "good" and e["reason"] == "SymbolNotFound"]
        wait_for(event, 20, "an Event tells of it")
        self.assertEqual(len(event()), 1)

    def test_150_policies_on_one_node(self):
        """State, counts and reason of each of 150 policies, in one SondeNode; a name that nobody has is told with the nearest."""
        pod = FakePod(self, "pod-a", {"app": "db"})
        pod.tell()
        self.start_agent()
        self.start_operator()
        objects = []
        for n in range(150):
            spec = {"preset": "Minimal", "podSelector": {"matchLabels": {"app": "db"}}}
            if n % 3 == 0:  # not allowed in a namespace
                spec["functions"] = [{"name": "f", "type": "Uprobe", "path": "/bin/sh", "symbol": "main", "measure": ["Calls"]}]
            objects.append(policy(f"of-a-team-{n:03}", spec, "MonitorPolicy", "default"))
        objects.append(policy("nothing", {"podSelector": {"matchLabels": {"app": "none"}}}, "MonitorPolicy", "default"))
        self.cluster.apply({"apiVersion": "v1", "kind": "List", "items": objects})
        begin = time.monotonic()
        self.cluster.apply(policy("typing", {"probes": [{"name": "ioo"}]}))
        self.cluster.apply(policy("erring", {"probes": [{"name": "io", "includeMetrics": ["sonde.file.oi"]}]}))
        for name, sentence in (("typing", "there is no probe 'ioo', did you mean 'io'"),
                               ("erring", "has no metric 'sonde.file.oi', did you mean 'sonde.file.io'")):
            accepted = self.wait_condition(name, "Accepted", "False", 20 * machine.PATIENCE)
            self.assertIn(sentence, accepted["message"])
        self.result.note(f"a mistyped name is told after {time.monotonic() - begin:.1f} s")

        def told():
            policies = self.cluster.get("mpol", "-n", "default")["items"]
            mine = {p["metadata"]["name"]: p.get("status", {}) for p in policies if p["metadata"]["name"] != "nothing"}
            ready = [s for s in mine.values() for c in s.get("conditions", []) if c["type"] == "Ready" and c["status"] == "True"]
            return mine if len(ready) == 150 else None
        for name, status in wait_for(told, 180, "all are Ready").items():
            fails = int(name[-3:]) % 3 == 0
            conditions = {c["type"]: c for c in status["conditions"]}
            self.assertEqual(conditions["Ready"]["reason"], "Applied", name)
            self.assertEqual((status["desiredNodes"], status["appliedNodes"], status["failedNodes"], status["matchedContainers"]),
                             (1, 1, int(fails), 1), name)
            self.assertEqual(conditions["Degraded"]["reason"], "NotAllowed" if fails else "NoFailures", name)
        node = self.cluster.get("sondenode", NODE)["status"]
        self.assertEqual(len([p for p in node["policies"] if p["name"].startswith("of-a-team")]), 150)
        self.assertNotIn("omittedPolicies", node)
        self.assert_small(node)
        self.result.note(f"a SondeNode of 150 policies: {len(json.dumps(node, separators=(',', ':')))} bytes")

    def test_disagreement_and_tenancy(self):
        """The documented winner, Overridden on the other; what a namespace may not ask is refused where everybody sees it."""
        pod = FakePod(self, "pod-a", {"app": "db"})
        pod.tell()
        sonde = self.start_agent()
        self.start_operator()
        self.cluster.apply(policy("first", {"priority": 10, "preset": "Minimal", "collection": {"periodSeconds": 1}}))
        self.cluster.apply(policy("second", {"preset": "Minimal", "collection": {"periodSeconds": 60}}))
        overridden = self.wait_condition("second", "Overridden", "True", 30)
        self.assertIn("periodSeconds 60 is overridden by 1 of first", overridden["message"])
        self.assertEqual(self.conditions("first")["Overridden"]["status"], "False")
        self.assertEqual(self.conditions("second")["Ready"]["status"], "True")
        container = self.explain(sonde, "default/pod-a")[0]
        values = {v["field"]: (v["value"], v["policy"]) for v in container["values"]}
        self.assertEqual(values["periodSeconds"], ("1", "first"))
        self.assertEqual([p["name"] for p in container["policies"] if p["selects"]], ["first", "second"])
        self.assert_exclusions(pod)

        self.cluster.apply(policy("mine", {
            "preset": "Minimal", "probes": [{"name": "sched", "includeMetrics": ["sonde.irq.time"]}],
            "functions": [{"name": "f", "type": "Uprobe", "path": "/bin/sh", "symbol": "main", "measure": ["Calls"]}]},
            "MonitorPolicy", "default"))
        degraded = self.wait_condition("mine", "Degraded", "True", 20, "mpol", "default")
        self.assertEqual(degraded["reason"], "NotAllowed")
        refused = {f["probe"] for f in self.cluster.get("mpol", "mine", "-n", "default")["status"]["failures"]}
        self.assertEqual(refused, {"function/f", "sched"})
        entry = [p for p in self.cluster.get("sondenode", NODE)["status"]["policies"] if p["name"] == "mine"][0]
        self.assertEqual({f["reason"] for f in entry["failures"]}, {"NotAllowed"})
        mine = [p for p in self.explain(sonde, "default/pod-a")[0]["policies"] if p["name"] == "default/mine"][0]
        self.assertEqual({r["probe"] for r in mine["refused"]}, {"function/f", "sched"})

        self.cluster.apply(policy("deep", {"preset": "Detailed"}, "MonitorPolicy", "default"))
        overridden = self.wait_condition("deep", "Overridden", "True", 20, "mpol", "default")
        self.assertIn("exceeds the ceiling for namespaced policies, Standard", overridden["message"])

    def assert_exclusions(self, pod):
        """What a policy of higher precedence excludes is not measured, whoever asks; mode Exclude beats all. Status says so."""
        pod.work(10)
        self.expect("pod-a", 10, "first and second measure it")
        spec = {"preset": "Minimal", "collection": {"periodSeconds": 1}}
        self.cluster.apply(policy("zeroth", {"priority": 20, **spec, "probes": [
            {"name": "io", "level": "Minimal", "excludeMetrics": ["sonde.file.io"]}]}))
        overridden = self.wait_condition("first", "Overridden", "True", 30)
        self.assertIn("sonde.file.io is excluded by a policy of higher precedence", overridden["message"])
        pod.work(10)
        self.cluster.kubectl("delete", "cmpol", "zeroth")
        self.wait_condition("first", "Overridden", "False", 30)
        pod.work(5)
        self.expect("pod-a", 15, "its series go on, without what was done meanwhile")
        self.assertEqual(otlp.Metrics.read(self.file).decreases, [])
        self.cluster.apply(policy("never", {"mode": "Exclude", "podSelector": {"matchLabels": {"app": "db"}}}))
        wait_for(lambda: otlp.Metrics.read(self.file).has_ended("pod-a"), 20, "nobody measures it")
        overridden = self.wait_condition("first", "Overridden", "True", 30)
        self.assertIn("excluded by never", overridden["message"])
        ready = self.wait_condition("never", "Ready", "True", 30)
        self.assertEqual(ready["reason"], "Excluding")
        self.assertEqual(self.columns("never")["MODE"], "Exclude")
        self.cluster.kubectl("delete", "cmpol", "never")
        self.wait_condition("first", "Overridden", "False", 30)

    def test_leader_killed(self):
        """The leader is killed: the other leads within 30 s and goes on. The leader is stopped: at once."""
        self.start_agent()
        operators = [self.start_operator("one"), self.start_operator("two")]
        leader = wait_for(lambda: next((o for o in operators if o.leads()), None), 30, "one leads")
        other = next(o for o in operators if o is not leader)
        self.assertFalse(other.leads())
        leader.kill()
        self.cluster.apply(policy("after", {"preset": "Minimal"}))
        wait_for(other.leads, 30, "the other one leads")
        self.wait_condition("after", "Ready", "True", 20)
        third = self.start_operator("three")
        self.assertFalse(third.leads())
        self.assertEqual(other.stop(), 0)
        begin = time.monotonic()
        wait_for(third.leads, 12, "the Lease was given back")
        self.assertLess(time.monotonic() - begin, 12 * machine.PATIENCE)

    def test_label_bomb(self):
        """64 labels of 63 characters on each of 16 pods, all values distinct: named, counted, within every limit."""
        keys = [f"l{n:02}".ljust(63, "k") for n in range(64)]
        pods = [FakePod(self, f"pod-{i:02}", {key: f"v{i:02}x{n:02}".ljust(63, "v") for n, key in enumerate(keys)})
                for i in range(16)]
        sonde = self.start_agent()
        self.start_operator()
        self.cluster.apply(policy("bomb", {"preset": "Minimal", "collection": {"periodSeconds": 1},
                                           "attributes": {"podLabels": keys}, "limits": {"seriesPerContainer": 50}}))
        self.in_force(sonde, "bomb")
        for pod in pods:
            pod.tell()
        # Their cgroups are there for longer than work is kept for a name.
        wait_for(lambda: json.loads(sonde.get("/statusz", local=True)[1])["policies"][0]["matched"] == len(pods), 60,
                 "all are selected")
        for pod in pods:
            pod.work(50)
        for pod in pods:
            self.expect(pod.name, 50, f"{pod.name} is counted")
        resource = otlp.Metrics.read(self.file).resource("pod-07")
        self.assertEqual(resource["k8s.pod.label." + keys[63]], "v07x63".ljust(63, "v"))
        self.wait_condition("bomb", "Ready", "True", 60)
        self.assertLess(sonde.rss(), 150 << 20)
        status = self.cluster.get("sondenode", NODE)["status"]
        self.assert_small(status)
        self.assertEqual(json.loads(sonde.get("/statusz", local=True)[1])["pipeline"]["series_limited"], [])

    def test_api_server_away_under_load(self):
        """The API server is away while there is load, the agent is restarted meanwhile: totals right, status catches up."""
        pod = FakePod(self, "pod-a", {"app": "db"})
        pod.tell()
        first = self.start_agent()
        leader = self.start_operator()
        self.cluster.apply(policy("dbs", {"preset": "Minimal", "collection": {"periodSeconds": 1}}))
        ready = self.wait_condition("dbs", "Ready", "True", 20)
        away = 120 if machine.FULL else 20
        self.cluster.stop_apiserver()

        def load(seconds):
            rounds, end = 0, time.monotonic() + seconds
            while time.monotonic() < end:
                pod.work(100)
                rounds += 100
            return rounds

        rounds = load(away / 2)
        self.expect("pod-a", rounds, "all is counted without API server")
        self.assertEqual(first.stop(), 0)
        self.file += ".second"
        second = self.start_agent()
        self.in_force(second, "dbs")
        self.assertTrue(json.loads(second.get("/statusz", local=True)[1])["kubernetes"]["policies_from_cache"])
        rounds = load(away / 2)
        self.assertTrue(leader.service.alive())
        wait_for(lambda: not leader.leads(), 30, "who cannot renew the Lease leads no more")
        wait_for(lambda: self.read_bytes(pod.uid) == rounds * 4096, 40, "all is counted after the restart")
        self.cluster.start()
        self.cluster.apply(policy("later", {"preset": "Minimal"}))
        self.wait_condition("later", "Ready", "True", 120)
        wait_for(lambda: {p["name"] for p in self.cluster.get("sondenode", NODE)["status"]["policies"]} == {"dbs", "later"},
                 60, "the report is of now")
        self.assertTrue(leader.leads())
        wait_for(lambda: "pod-a" in second.get("/pods", local=True)[1], 60, "the pod has its name again")
        self.assertEqual(self.conditions("dbs")["Ready"], ready, "nothing that was said of it is taken back")
        self.assertEqual(self.columns("dbs")["APPLIED"], "1")
        pod.work(100)
        wait_for(lambda: self.read_bytes(pod.uid) == (rounds + 100) * 4096, 40, "the totals go on")
        self.expect("pod-a", 100, "what is done now has the pod's name again")
        self.assertEqual(otlp.Metrics.read(self.file).decreases, [])

    def test_own_node_only(self):
        """With the admission policy an agent's token writes the SondeNode of its own node and no other."""
        self.cluster.apply(ADMISSION.read_text())
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent", "namespace": "sonde"}, "spec": {
            "nodeName": NODE, "serviceAccountName": "sonde-agent", "containers": [{"name": "agent", "image": "none"}]}})
        token = self.cluster.kubectl("create", "token", "sonde-agent", "-n", "sonde", "--duration=1h", "--bound-object-kind=Pod",
                                     "--bound-object-name=agent").stdout
        with open(self.token, "w") as file:
            file.write(token)

        def write(name, token):
            body = json.dumps({"apiVersion": "sonde.dev/v1alpha1", "kind": "SondeNode", "metadata": {"name": name}}).encode()
            request = urllib.request.Request(
                f"{self.cluster.url}/apis/sonde.dev/v1alpha1/sondenodes/{name}?fieldManager=test&force=true", body,
                method="PATCH",
                headers={"Authorization": f"Bearer {token.strip()}", "Content-Type": "application/apply-patch+yaml"})
            try:
                context = ssl.create_default_context(cafile=self.cluster.ca)
                with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                    return answer.status, ""
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()

        wait_for(lambda: write("another", token)[0] == 422, 30, "the admission policy is in force")
        status, message = write("another", token)
        self.assertIn("of its own node only", message)
        unbound = self.cluster.kubectl("create", "token", "sonde-agent", "-n", "sonde", "--duration=1h").stdout
        self.assertEqual(write(NODE, unbound)[0], 422)
        self.start_agent()
        wait_for(lambda: "kernel" in self.cluster.get("sondenode", NODE).get("status", {})
                 if self.cluster.kubectl("get", "sondenode", NODE, check=False).returncode == 0 else False, 30,
                 "the agent writes its own")
