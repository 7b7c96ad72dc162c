# SPDX-License-Identifier: Apache-2.0
"""What a Prometheus without feature flags, which knows values only, makes of lives, pods and labels that change (by OTLP)."""

from support import otlp
from support.in_cluster import FakePod, InCluster
from support.machine import wait_for
from support.receivers import Prometheus

ROUNDS = 50
READ = 'sonde_file_io_bytes_total{disk_io_direction="read",instance=~"%s"}'


class Streams(InCluster):
    def setUp(self):
        super().setUp()
        self.prometheus = self.start(Prometheus(self.directory))
        self.sonde = self.start_agent("--export", "otlp,file", "--otlp-endpoint", self.prometheus.otlp(),
                                      "--otlp-protocol", "http/protobuf")
        self.cluster.apply({"apiVersion": "sonde.dev/v1alpha1", "kind": "ClusterMonitorPolicy", "metadata": {"name": "all"},
                            "spec": {"podSelector": {"matchLabels": {"app": "streams"}}, "collection": {"periodSeconds": 1},
                                     "attributes": {"podLabels": ["team"]}}})
        self.in_force(self.sonde, "all")

    def pod(self, name, **labels):
        pod = FakePod(self, name, {"app": "streams", **labels})
        pod.tell()
        return pod

    def assert_increase(self, pattern, rounds):
        """Values rise by all that was done, seen from the zero that each series begins with."""
        series = READ % pattern
        risen = f"sum(max_over_time({series}[5m]) - min_over_time({series}[5m]))"

        def value(query):
            found = self.prometheus.query(query)
            return float(found[0][1]) if found else None
        wait_for(lambda: value(risen) == rounds * 4096, 60, f"{pattern} rises by {rounds} reads, has {value(risen)}")
        increase = value(f"sum(increase({series}[5m]))")
        self.assertGreaterEqual(increase, rounds * 4096 * 0.99)
        self.assertLessEqual(increase, rounds * 4096 * 1.6, "Prometheus extrapolates")

    def shown(self, pattern):
        return len(self.prometheus.query(READ % pattern))

    def test_five_equal_lives(self):
        """A crash loop: each life does the same."""
        pod = self.pod("loop")
        for life in range(5):
            if life:
                pod.start_again()
                pod.tell()
            pod.work(ROUNDS)
            self.expect("loop", (life + 1) * ROUNDS, f"life {life}")
        self.assert_increase("default.loop.main.*", 5 * ROUNDS)
        metrics = otlp.Metrics.read(self.file)
        self.assertEqual(metrics.decreases, [])
        starts = {point["startTimeUnixNano"] for (resource, _, _), point in metrics.streams.items()
                  if "loop" in dict(resource).values() and "main" in dict(resource).values() and "startTimeUnixNano" in point}
        self.assertEqual(len(starts), 1, "that of the first life")
        pod.end()
        self.assertGreater(self.shown("default.loop.main.*"), 0, "it may be started again")
        pod.tell("Failed", {"terminated": {"exitCode": 1}})
        wait_for(lambda: not self.shown("default.loop.main.*"), 60, "no more: its series end")

    def test_a_pod_made_anew(self):
        """The same name, another UID: another stream from zero, and the old one ends at once."""
        old = self.pod("db-0")
        old.work(ROUNDS)
        self.expect("db-0", ROUNDS, "the first")
        old.end()
        self.cluster.kubectl("delete", "pod", "db-0", "--force", "--grace-period=0")
        new = self.pod("db-0")
        new.work(ROUNDS)
        self.expect("db-0", 2 * ROUNDS, "both together")
        self.assert_increase("default.db-0.main.*", 2 * ROUNDS)
        wait_for(lambda: self.shown("default.db-0.main.*") == 1, 60, "one of them is shown")
        uids = {dict(r)["k8s.pod.uid"] for r in otlp.Metrics.read(self.file).resources() if "db-0" in dict(r).values()}
        self.assertEqual(uids, {old.uid, new.uid})

    def test_a_label_there_and_back(self):
        """Each value of a chosen label has a stream of its own; the first one goes on."""
        pod = self.pod("web", team="red")
        total = 0
        for team in ("red", "blue", "red"):
            pod.label(f"team={team}")
            wait_for(lambda: team in pod_labels(self.file, "web"), 30, f"it is {team}")
            pod.work(ROUNDS)
            total += ROUNDS
            self.expect("web", total, team)
        self.assert_increase("default.web.main.*", total)
        names = {dict(r)["service.instance.id"] for r in otlp.Metrics.read(self.file).resources() if "main" in dict(r).values()}
        self.assertEqual(len(names), 2, names)
        wait_for(lambda: self.shown("default.web.main.*") == 1, 60, "one of them is shown")
        self.assertEqual(otlp.Metrics.read(self.file).decreases, [])


def pod_labels(file, name):
    """Values of the chosen label under which streams of this pod are live."""
    metrics = otlp.Metrics.read(file)
    return {dict(key[0]).get("k8s.pod.label.team") for key in metrics.streams
            if name in dict(key[0]).values() and key not in metrics.ended}
