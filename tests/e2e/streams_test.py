# SPDX-License-Identifier: Apache-2.0
"""What readers without feature flags make of lives, pods and labels that change: a Prometheus that scrapes, one that gets OTLP,
VictoriaMetrics both ways, and a Collector that makes differences. The truth is what the work itself did."""

import pathlib
import signal
import subprocess
import time

from support import machine, node, otlp
from support.in_cluster import NODE, FakePod, InCluster, policy
from support.machine import wait_for
from support.receivers import Collector, Prometheus, VictoriaMetrics

ROUNDS = 50
READ = 'sonde_file_io_bytes_total{disk_io_direction="read",instance=~"%s"}'
FSYNCS = 'sonde_file_operation_duration_seconds_count{sonde_file_operation="fsync",instance=~"%s"}'
KILLS = 'sonde_memory_oom_kills_total{sonde_memory_oom_scope="memcg",instance=~"%s"}'


class WithReaders(InCluster):
    """What the scenarios share; no scenario itself."""
    nodes = (NODE,)

    def setUp(self):
        super().setUp()
        for name in self.nodes[1:]:
            self.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        pushed = self.start(Prometheus(self.directory))
        agents = [self.start_agent("--export", "otlp,file,prometheus", "--otlp-endpoint", pushed.otlp(), "--promote",
                                   "--otlp-protocol", "http/protobuf", "--otlp-histograms", "explicit_bucket_histogram", node=node)
                  for node in self.nodes]
        ports = [sonde.http for sonde in agents]
        scraping = self.start(Prometheus(self.directory, ports, native=False, name="scraping"))
        self.readers = {"OTLP": pushed, "scrape": scraping}
        self.victoria = self.start(VictoriaMetrics(self.directory, ports))
        self.cluster.apply(policy("all", {"podSelector": {"matchLabels": {"app": "streams"}}, "collection": {"periodSeconds": 1},
                                          "attributes": {"podLabels": ["team"]}}))
        self.cluster.apply(policy("churn", {"podSelector": {"matchLabels": {"app": "churn"}},
                                            "collection": {"periodSeconds": 1, "granularity": "Workload"}}))
        for sonde in agents:
            self.in_force(sonde, "all", "churn")
        wait_for(lambda: len(scraping.query("sonde_agent_export_scrapers")) == len(agents), 60, "the scraper is known")

    def pod(self, name, app="streams", owners=(), node=NODE, **labels):
        pod = FakePod(self, name, {"app": app, **labels}, owners=owners, node=node)
        pod.tell()
        return pod

    def lines(self):
        """A file of all that was exported so far."""
        if len(self.nodes) == 1:
            return self.file
        files = [pathlib.Path(self.of_node("out.jsonl", node)).read_text() for node in self.nodes]
        together = pathlib.Path(self.directory) / "together.jsonl"
        together.write_text("".join(text[:text.rfind("\n") + 1] for text in files))  # the last line may be half written
        return together

    def assert_increase(self, series, truth):
        """Each reader has all that was done, seen from the zero that each series begins with, and nothing twice."""
        for name, prometheus in self.readers.items():
            risen = f"sum(increase({series}[10m] anchored))"
            try:
                wait_for(lambda: prometheus.number(risen) == truth, 60, f"{name}: {series} rises by {truth}")
            except AssertionError as error:
                raise AssertionError(f"{error}; it has {prometheus.samples(series, '10m')}") from None
            time.sleep(3)  # what is over is over for longer than an interval, up to which Prometheus extrapolates what goes on
            self.assertEqual(prometheus.number(f"sum(max_over_time({series}[10m]) - min_over_time({series}[10m]))"), truth, name)
            increase = prometheus.number(f"sum(increase({series}[10m]))")
            self.assertGreaterEqual(increase, truth * 0.99, name)
            self.assertLessEqual(increase, truth * 1.5, f"{name}: more than docs/ops/prometheus.md says of its extrapolation")
        risen = f"sum(increase({series}[10m]))"  # which VictoriaMetrics does not extrapolate
        wait_for(lambda: self.victoria.number(risen) == truth, 60, f"VictoriaMetrics scrapes: {series} rises by {truth}")
        self.assertEqual(self.replayed().number(risen.replace("instance=", "service_instance_id=")), truth, "VictoriaMetrics by OTLP")

    def replayed(self):
        """A VictoriaMetrics that got all that was exported so far by OTLP."""
        pushed = self.start(VictoriaMetrics(self.directory))
        self.start(Collector(self.directory, lines=self.lines(), forward=pushed.otlp())).start().service.stop()
        return pushed

    def assert_deltas(self, metric, truth, **attributes):
        """The file's differences, as a Collector makes them, add up to this."""
        collector = self.start(Collector(self.directory, to_delta=True, lines=self.lines())).start()

        def total():
            return sum(otlp.number(point) for _, point in otlp.points(collector.file, metric, **attributes))
        wait_for(lambda: total() >= truth, 60, f"the differences of {metric} are {truth} (are {total()})")
        collector.service.stop()
        self.assertEqual(total(), truth)

    def shown(self, pattern, metric=READ):
        return {name: len(prometheus.query(metric % pattern)) for name, prometheus in self.readers.items()}

    def assert_shown(self, pattern, n, what, seconds=60):
        wait_for(lambda: set(self.shown(pattern).values()) == {n}, seconds, f"{what} ({self.shown(pattern)})")


class Streams(WithReaders):
    def test_five_equal_lives(self):
        """A crash loop: each life does the same."""
        pod = self.pod("loop")
        for life in range(5):
            if life:
                pod.start_again()
                pod.tell()
            pod.work(ROUNDS, 1000)
            self.expect("loop", (life + 1) * ROUNDS, f"life {life}")
        self.assert_increase(READ % "default.loop.main.*", 5 * ROUNDS * 4096)
        self.assert_increase(FSYNCS % "default.loop.main.*", 5 * 1000)
        self.assert_deltas("sonde.file.io", 5 * ROUNDS * 4096, disk__io__direction="read")
        metrics = otlp.Metrics.read(self.file)
        self.assertEqual(metrics.decreases, [])
        starts = {point["startTimeUnixNano"] for (resource, _, _), point in metrics.streams.items()
                  if "loop" in dict(resource).values() and "main" in dict(resource).values() and "startTimeUnixNano" in point}
        self.assertEqual(len(starts), 1, "that of the first life")
        pod.end()
        for shown in self.shown("default.loop.main.*").values():
            self.assertGreater(shown, 0, "it may be started again")
        pod.tell("Failed", {"terminated": {"exitCode": 1}})
        # By scrape what ended stays until the scraper has had it.
        everything = '{__name__=~"sonde_.*",instance=~"%s"}'
        wait_for(lambda: set(self.shown("default.loop.main.*", everything).values()) == {0}, 60,
                 f"no more: each of its series ends, buckets as well ({self.shown('default.loop.main.*', everything)})")

        victoria = everything % "default.loop.main.*"
        wait_for(lambda: not self.victoria.query(victoria), 60, "nor in VictoriaMetrics")
        # The file has exponential histograms, whose buckets VictoriaMetrics does not end.
        pushed = victoria.replace("instance=", 'vmrange="",service_instance_id=')
        self.assertEqual(self.replayed().query(pushed), [])

    def test_seven_lives_in_a_row(self):
        """One after the other, 0.2 s apart."""
        pod = self.pod("brief")
        for life in range(7):
            if life:
                pod.start_again()
            pod.tell()
            pod.work(ROUNDS)
            time.sleep(0.2)
        self.expect("brief", 7 * ROUNDS, "all of them")
        self.assert_increase(READ % "default.brief.main.*", 7 * ROUNDS * 4096)
        self.assert_deltas("sonde.file.io", 7 * ROUNDS * 4096, disk__io__direction="read")

    def test_four_oom_kills(self):
        """Each life ends with the one kill that there is."""
        limit = machine.MemoryLimit(f"sonde-e2e-{self.id().split('.')[-1]}", 16 << 20)
        self.ending(limit, limit.remove)
        pod = self.pod("eats")
        for life in range(4):
            if life:
                pod.start_again()
                pod.tell()
            eater = subprocess.Popen(["sh", "-c", "kill -STOP $$; exec tail /dev/zero"], stdout=subprocess.DEVNULL)
            wait_for(lambda: "T (stopped)" in pathlib.Path(f"/proc/{eater.pid}/status").read_text(), 10, "it waits")
            if not limit.hold(pod.group, eater.pid):
                eater.kill()
                self.skipTest("this machine has no memory controller")
            eater.send_signal(signal.SIGCONT)
            self.assertEqual(eater.wait(60), -signal.SIGKILL, "the kernel kills it")

            def kills():
                return otlp.Metrics.read(self.file).total("sonde.memory.oom.kills", "eats", sonde__memory__oom__scope="memcg")
            wait_for(lambda: kills() == life + 1, 30, f"life {life} (has {kills()})")
        self.assert_increase(KILLS % "default.eats.main.*", 4)
        self.assert_deltas("sonde.memory.oom.kills", 4)

    def test_twenty_jobs(self):
        """Pods that come, work and go: each its own stream, or one stream for all of one CronJob."""
        cron = self.made("apis/batch/v1", "cronjobs", {
            "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "backup"},
            "spec": {"schedule": "0 3 * * *", "suspend": True, "jobTemplate": {"spec": self.template()}}})
        for number in range(20):
            job = self.made("apis/batch/v1", "jobs", {
                "apiVersion": "batch/v1", "kind": "Job", "spec": self.template(),
                "metadata": {"name": f"backup-{29384760 + number}", "ownerReferences": [node.owner_reference(cron)]}})
            pod = self.pod(f"{job['metadata']['name']}-x7k2p", "streams" if number % 2 else "churn", [node.owner_reference(job)])
            pod.work(number + 1)
            pod.end()
            pod.tell("Succeeded", {"terminated": {"exitCode": 0}})
        single = sum(number + 1 for number in range(20) if number % 2) * 4096
        together = sum(number + 1 for number in range(20) if number % 2 == 0) * 4096
        self.assert_increase(READ % r"default.backup-.*", single)
        self.assert_increase(READ % r"default.CronJob.backup.main@.*", together)
        self.assert_deltas("sonde.file.io", single + together, disk__io__direction="read")
        self.assertEqual(self.readers["scrape"].number("sonde_agent_export_ended_unscraped_total"), 0)
        self.assert_shown(r"default.backup-.*", 0, "those that ended are gone")

    def template(self):
        return {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none"}]}}}

    def made(self, api, plural, manifest):
        return self.cluster.rest("POST", f"/{api}/namespaces/default/{plural}", manifest)

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
        self.assert_increase(READ % "default.db-0.main.*", 2 * ROUNDS * 4096)
        self.assert_deltas("sonde.file.io", 2 * ROUNDS * 4096, disk__io__direction="read")
        self.assert_shown("default.db-0.main.*", 1, "one of them is shown")
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
        self.assert_increase(READ % "default.web.main.*", total * 4096)
        self.assert_deltas("sonde.file.io", total * 4096, disk__io__direction="read")
        names = {dict(r)["service.instance.id"] for r in otlp.Metrics.read(self.file).resources() if "main" in dict(r).values()}
        self.assertEqual(len(names), 2, names)
        self.assert_shown("default.web.main.*", 1, "one of them is shown")
        self.assertEqual(otlp.Metrics.read(self.file).decreases, [])


class TwoNodes(WithReaders):
    """Each has an agent, to which the readers listen both."""
    nodes = (NODE, "node-2")

    def test_a_pod_made_anew_on_another_node(self):
        """The first node has not heard of it yet: its container goes on beside that of the new pod, and then ends."""
        old = self.pod("db-0")
        old.work(ROUNDS)
        self.expect("db-0", ROUNDS, "the first")
        self.cluster.kubectl("delete", "pod", "db-0", "--force", "--grace-period=0")
        new = self.pod("db-0", node="node-2")
        total = ROUNDS
        for _ in range(5):
            old.work(ROUNDS)
            new.work(2 * ROUNDS)
            total += 3 * ROUNDS
            time.sleep(1)
        old.end()
        new.work(ROUNDS)
        total += ROUNDS

        def read(node, pod):
            found = otlp.Metrics.read(self.of_node("out.jsonl", node)).total("sonde.file.io", pod.uid, disk__io__direction="read")
            return found and found // 4096
        wait_for(lambda: (read(NODE, old), read("node-2", new)) == (6 * ROUNDS, 11 * ROUNDS), 30,
                 f"each node has its own ({read(NODE, old)}, {read('node-2', new)})")
        self.assertEqual((read(NODE, new), read("node-2", old)), (None, None))
        self.assert_increase(READ % "default.db-0.main.*", total * 4096)
        self.assert_deltas("sonde.file.io", total * 4096, disk__io__direction="read")
        self.assert_shown("default.db-0.main.*", 1, "one of them is shown")
        for name, prometheus in self.readers.items():
            seen = prometheus.query(f"last_over_time({READ % 'default.db-0.main.*'}[10m])")
            self.assertEqual(len({labels["instance"] for labels, _ in seen}), 2, name)
        nodes = {(dict(r)["k8s.pod.uid"], dict(r)["k8s.node.name"]) for r in otlp.Metrics.read(self.lines()).resources()
                 if "db-0" in dict(r).values()}
        self.assertEqual(nodes, {(old.uid, NODE), (new.uid, "node-2")})


def pod_labels(file, name):
    """Values of the chosen label under which streams of this pod are live."""
    metrics = otlp.Metrics.read(file)
    return {dict(key[0]).get("k8s.pod.label.team") for key in metrics.streams
            if name in dict(key[0]).values() and key not in metrics.ended}
