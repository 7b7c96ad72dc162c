# SPDX-License-Identifier: Apache-2.0
"""A kubelet that answers nonsense: what docs/ops/pods.md says of it. The pods are those of a real API server."""

import json
import pathlib
import subprocess

from support import agent, in_cluster, otlp
from support.fake_kubelet import FakeKubelet
from support.in_cluster import NODE, FakePod, policy
from support.machine import wait_for

# What the kubelet does, and what status says of it.
BROKEN = [
    ("garbage", "the kubelet's answer makes no sense: the answer is not JSON"),
    ("half", "the kubelet's answer makes no sense: the answer is not JSON"),
    ("another object", "the kubelet's answer makes no sense: the answer is not a list of pods"),
    ("401", "the kubelet does not accept the token (401): does it have authentication.webhook enabled?"),
    ("500", "the kubelet answered 500"),
    ("huge", "is too large"),
    ("expired", "its certificate has expired"),
]


class BrokenKubelet(in_cluster.InCluster):
    def setUp(self):
        super().setUp()
        issue = self.cluster.certificates.issue
        self.good = issue("kubelet", "IP:127.0.0.1")
        self.expired = issue("expired", "IP:127.0.0.1", days=-1)
        self.kubelet = self.start(FakeKubelet(*self.good))

    def start_agent_with(self, source):
        return self.start_agent("--identity-source", source, "--kubelet", f"127.0.0.1:{self.kubelet.port}",
                                "--kubelet-tls", "ca", "--kubelet-ca", self.cluster.ca, "--kubelet-period", "2s",
                                "--kubelet-token-file", self.token)

    def learn(self):
        """The kubelet's pods are those that the API server has for its node."""
        path = f"/api/v1/pods?fieldSelector=spec.nodeName={NODE}"
        self.kubelet.pods = self.cluster.kubectl("get", "--raw", path).stdout.encode()

    def behave(self, mood):
        self.kubelet.mood = mood
        self.kubelet.use(*(self.expired if mood == "expired" else self.good))

    def identity(self, sonde):
        return json.loads(sonde.get("/statusz", local=True)[1])["identity"]

    def reason(self, sonde):
        return next(s for s in self.identity(sonde)["sources"] if s["name"] == "kubelet").get("reason", "")

    def in_use(self, sonde, name):
        def check():
            identity = self.identity(sonde)
            return identity["serving"] and identity["source"] == name
        wait_for(check, 60, f"pods come from {name}")

    def fails_with(self, sonde, words):
        wait_for(lambda: words in self.reason(sonde), 30, f"'{words}', not '{self.reason(sonde)}'")

    def told_age(self):
        """sonde.agent.snapshot.age of the kubelet, as it was exported last."""
        points = otlp.Metrics.read(self.file).select("sonde.agent.snapshot.age", None, sonde__identity__source="kubelet")
        return otlp.number(points[0]) if points else 0

    def test_misbehaving_kubelet(self):
        """Whatever it answers: the agent goes on with the names it has, says why, and takes new ones when it is well again."""
        pod = FakePod(self, "pod-a", {"app": "db"})
        pod.tell()
        self.learn()
        self.cluster.apply(policy("dbs", {"collection": {"periodSeconds": 1}}))
        sonde = self.start_agent_with("kubelet")
        self.in_use(sonde, "kubelet")
        self.in_force(sonde, "dbs")
        token = "Bearer " + pathlib.Path(self.token).read_text().strip()
        rounds = 0
        for mood, words in BROKEN:
            self.behave(mood)
            self.fails_with(sonde, words)
            rounds += 100
            pod.work(100)
            self.expect("pod-a", rounds, f"names go on to hold ({mood})")
            self.behave("")
            wait_for(lambda: not self.reason(sonde), 60, f"it is well again ({mood})")
        self.assertEqual(set(self.kubelet.asked), {("/pods", token)})
        self.assertLess(sonde.rss(), 150 << 20)

        self.behave("expired")
        self.fails_with(sonde, "its certificate has expired")
        asked = len(self.kubelet.asked)
        wait_for(lambda: not self.identity(sonde)["serving"], 60, "it is given up")
        wait_for(lambda: self.told_age() > 5, 60, "the age of the names rises")
        self.assertGreater(self.identity(sonde)["age_seconds"], 5)
        self.assertRegex(sonde.log(), "kubelet no longer provides pods: .*its certificate has expired")
        said = subprocess.run([agent.BINARY, "status", "--address", f"127.0.0.1:{sonde.local}"], capture_output=True, text=True)
        self.assertIn("it no longer answers, the last snapshot is in use", said.stdout)
        self.assertIn("its certificate has expired", said.stdout)
        self.assertEqual(len(self.kubelet.asked), asked, "nobody who could not be verified was asked, or saw the token")
        later = FakePod(self, "pod-b", {"app": "db"})
        later.work(50)
        wait_for(lambda: self.read_bytes(later.uid) == 50 * 4096, 60, "what is new is known by its UID in the end")
        later.tell()
        self.learn()
        self.behave("")
        self.in_use(sonde, "kubelet")
        wait_for(lambda: "pod-b" in sonde.get("/pods", local=True)[1], 60, "it has its name")
        later.work(20)
        self.expect("pod-b", 20, "from then on it counts under its name")
        self.assertEqual(self.read_bytes(later.uid), 70 * 4096)
        self.expect("pod-a", rounds, "nothing was counted twice")
        wait_for(lambda: self.told_age() < 5, 30, "the names are of now")
        self.assertEqual(self.identity(sonde)["pods"], 2)
        self.assertEqual(sonde.stop(), 0)

        self.file += ".auto"
        sonde = self.start_agent_with("auto")
        self.in_use(sonde, "kubelet")
        self.behave("garbage")
        self.in_use(sonde, "apiServer")
        self.assertIn("the answer is not JSON", self.reason(sonde))
        self.assertRegex(sonde.log(), "pods come from apiServer .*kubelet: the kubelet's answer makes no sense")
        pod.work(70)
        self.expect("pod-a", 70, "the API server names it")
        third = FakePod(self, "pod-c", {"app": "db"})
        third.tell()
        third.work(30)
        self.expect("pod-c", 30, "and what is new")
        self.learn()
        self.behave("")
        self.in_use(sonde, "kubelet")
        self.expect("pod-a", 70, "the change of the source is none of the names")
        self.assertEqual(otlp.Metrics.read(self.file).decreases, [])
