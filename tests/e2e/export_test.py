# SPDX-License-Identifier: Apache-2.0
"""Kernel to Collector: known work arrives as exactly what it was."""

import json

from support import agent, machine, otlp
from support.case import Case
from support.certificates import Authority
from support.machine import Workload, wait_for
from support.receivers import Collector

KNOWN = (10_000, 4096, 37, 11, 500)


class Export(Case):
    def arrive_again(self, collector, batches=2):
        """Waits for that many more requests."""
        before = collector.metrics().requests
        wait_for(lambda: collector.metrics().requests >= before + batches, 60, "more requests arrive")

    def known_work(self, collector, endpoint, protocol, env=None, preset="Detailed", collection=""):
        group, other = self.cgroup(), self.cgroup("unselected")
        sonde = self.otlp_agent(endpoint, group, protocol=protocol, env=env, preset=preset, collection=collection)
        busy = Workload(other, "load", self.file_for_work() + "2")
        Workload(group, "io", self.file_for_work(), *KNOWN).finish()
        self.arrive_again(collector)  # more than one batch speaks of it
        busy.stop()
        self.assertEqual(sonde.stop(), 0, sonde.log())
        metrics = collector.finish()
        self.assert_known_io(metrics, group.path)
        self.assertEqual([r for r in metrics.resources() if any(other.path == v for _, v in r)], [])
        self.assertEqual(metrics.decreases, [])
        return metrics

    def test_grpc(self):
        collector = self.start(Collector(self.directory)).start()
        metrics = self.known_work(collector, f"http://127.0.0.1:{collector.grpc}", "grpc")
        self.assertEqual(metrics.metrics["sonde.file.io"],
                         {"unit": "By", "kind": "sum", "temporality": 2, "monotonic": True})
        self.assertEqual(metrics.metrics["sonde.file.operation.duration"]["kind"], "exponentialHistogram")
        self.assertEqual(metrics.metrics["sonde.file.operation.duration"]["unit"], "s")

    def test_http(self):
        collector = self.start(Collector(self.directory)).start()
        self.known_work(collector, f"http://127.0.0.1:{collector.http}", "http/protobuf",
                        env={"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"})

    def test_every_cleanup_strategy(self):
        for strategy in ("KeepRecent", "ClearAfterRead", "NoCleanup"):
            with self.subTest(strategy):
                collector = Collector(self.directory)
                collector.file.unlink(missing_ok=True)
                self.start(collector).start()
                self.known_work(collector, f"http://127.0.0.1:{collector.grpc}", "grpc",
                                collection=f", cleanup: {{strategy: {strategy}}}")

    def test_delta(self):
        collector = self.start(Collector(self.directory)).start()
        group = self.cgroup()
        sonde = self.otlp_agent(f"127.0.0.1:{collector.grpc}", group,
                                env={"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "delta",
                                     "OTEL_EXPORTER_OTLP_INSECURE": "true"})
        for _ in range(3):
            Workload(group, "io", self.file_for_work(), 1000, 4096, 0, 0, 0).finish()
            self.arrive_again(collector)
        self.assertEqual(sonde.stop(), 0, sonde.log())
        collector.finish()
        total = 0
        for line in open(collector.file, encoding="utf-8"):
            one = otlp.Metrics()
            one.add(json.loads(line))
            if "sonde.file.io" in one.metrics:
                self.assertEqual(one.metrics["sonde.file.io"]["temporality"], 1)
            total += one.total("sonde.file.io", group.path, disk__io__direction="write") or 0
        self.assertEqual(total, 3 * 1000 * 4096)

    def test_short_lived_cgroup(self):
        """Made after the agent's start, gone before the next collection: counted, named, and ended."""
        collector = self.start(Collector(self.directory)).start()
        parent = self.cgroup()
        policies = agent.policy_directory(self.directory, parent.path + "/*")
        sonde = self.agent("--export", "otlp", "--otlp-endpoint", f"http://127.0.0.1:{collector.grpc}", "--interval", "2s",
                           policies=policies)
        child = machine.Cgroup(parent.path[1:] + "/short")
        Workload(child, "io", self.file_for_work(), 100, 4096, 0, 0, 0).finish()
        child.remove()
        wait_for(lambda: collector.metrics().has_ended(child.path), 60, "the end of its streams is told")
        self.assertEqual(sonde.stop(), 0, sonde.log())
        self.assertEqual(collector.finish().total("sonde.file.io", child.path, disk__io__direction="write"), 100 * 4096)

    def test_file_export_feeds_a_collector(self):
        """The file is the Collector's own format: its decoder reads each line."""
        group = self.cgroup()
        path = self.directory + "/sonde.jsonl"
        policies = agent.policy_directory(self.directory, group.path)
        sonde = self.agent("--export", "file", "--file", path, "--interval", "1s", policies=policies)
        Workload(group, "io", self.file_for_work(), *KNOWN).finish()
        wait_for(lambda: otlp.Metrics.read(path).requests >= 2, 60, "two batches are written")
        self.assertEqual(sonde.stop(), 0, sonde.log())
        self.assert_known_io(otlp.Metrics.read(path), group.path)

        collector = self.start(Collector(self.directory, lines=path)).start()
        wait_for(lambda: collector.metrics().points >= otlp.Metrics.read(path).points, 60, "the Collector has read the file")
        self.assert_known_io(collector.metrics(), group.path)

    def test_one_process_of_a_shared_cgroup(self):
        """--target-pid: the process beside it in the same cgroup is not measured."""
        group = self.cgroup()
        path = self.directory + "/sonde.jsonl"
        target = Workload(group, "io", self.file_for_work(), *KNOWN, held=True)
        other = Workload(group, "io", self.file_for_work() + "2", 500, 4096, 0, 0, 0, held=True)
        sonde = self.agent("--export", "file", "--file", path, "--interval", "1s", "--preset", "Detailed",
                           "--target-pid", target.process.pid)
        for work in (target, other):
            work.go()
            work.finish()
        self.assertEqual(sonde.stop(), 0, sonde.log())
        metrics = otlp.Metrics.read(path)
        self.assert_known_io(metrics, group.path)
        pids = {dict(attributes).get("process.pid") for (_, name, attributes) in metrics.streams if name == "sonde.file.io"}
        self.assertEqual(pids, {target.process.pid})

    def test_tls_and_mutual_tls(self):
        authority = Authority(self.directory)
        server, client = authority.issue("server"), authority.issue("client")
        for protocol in ("grpc", "http/protobuf"):
            for mutual in (False, True):
                with self.subTest(protocol=protocol, mutual=mutual):
                    collector = Collector(self.directory, *server, client_ca=authority.certificate if mutual else None)
                    collector.file.unlink(missing_ok=True)
                    self.start(collector).start()
                    env = {"OTEL_EXPORTER_OTLP_CERTIFICATE": authority.certificate}
                    if mutual:
                        env.update({"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": client[0],
                                    "OTEL_EXPORTER_OTLP_CLIENT_KEY": client[1]})
                    port = collector.grpc if protocol == "grpc" else collector.http
                    self.known_work(collector, f"https://localhost:{port}", protocol, env=env)
