# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus: scraping /metrics, native histograms included, and receiving OTLP."""

import math
import subprocess

from support import agent, machine, otlp
from support.case import Case
from support.machine import Workload, wait_for
from support.receivers import Prometheus

READS = 'sonde_file_operation_duration_seconds{sonde_file_operation="read"'


class FromPrometheus(Case):
    def work(self, group):
        """Reads of two kinds of duration; what the program itself saw."""
        return Workload(group, "latencies", self.file_for_work(), 2000).finish()

    def file_agent(self, group, *exports):
        """Also into a file: the same numbers, to compare with."""
        policies = agent.policy_directory(self.directory, group.path)
        return self.agent("--export", ",".join(("file", *exports)), "--file", self.directory + "/own.jsonl", "--interval", "1s",
                          policies=policies)

    def own(self, ready):
        """The agent's file, once ready(metrics): it may be written a moment after others have the same batch."""
        def read():
            metrics = otlp.Metrics.read(self.directory + "/own.jsonl")
            return metrics if ready(metrics) else None
        return wait_for(read, 60, "the agent's file has it too")

    def own_histogram(self, group):
        def reads(metrics):
            return metrics.select("sonde.file.operation.duration", group.path, sonde__file__operation="read")
        return reads(self.own(lambda metrics: any(otlp.number(point) == 2000 for point in reads(metrics))))[0]

    def assert_p99(self, prometheus, series, group, truth):
        """Prometheus' p99 lies in the bucket that holds it, and near what the program measured."""
        def query():
            found = prometheus.query(f"histogram_quantile(0.99, {series})")
            return found if found and not math.isnan(float(found[0][1])) else None
        wait_for(lambda: prometheus.query(f"histogram_count({series}) == 2000") or
                 prometheus.query(f"{series.replace('_seconds{', '_seconds_count{')} == 2000"), 60, "all reads are there")
        answer = wait_for(query, 30, "a p99")
        self.assertEqual(len(answer), 1, answer)
        p99 = float(answer[0][1])
        low, high = otlp.quantile_bounds(self.own_histogram(group), 0.99)
        self.assertGreaterEqual(p99, low * 0.999)
        self.assertLessEqual(p99, high * 1.001)
        # On a busy machine the program is made to wait when a long call returns, which is not part of the call: its own
        # p99 is an upper bound, the fastest of its slow reads a lower one.
        self.assertLess(p99, truth["p99"] / 1e9 * 1.25)
        self.assertGreater(p99, truth["fastest_slow"] / 1e9 / 1.25)
        return p99

    def test_scrapes_native_histograms(self):
        group = self.cgroup()
        sonde = self.file_agent(group, "prometheus")
        prometheus = self.start(Prometheus(self.directory, sonde.http))
        truth = self.work(group)
        series = READS + f',sonde_cgroup_path="{group.path}"}}'
        self.assert_p99(prometheus, series, group, truth)
        self.assertEqual([t["health"] for t in prometheus.targets()], ["up"], prometheus.targets())
        native = prometheus.query(series)
        self.assertEqual(native[0][1].get("count"), "2000", "not a native histogram")
        counted = prometheus.query(f'sonde_file_io_bytes_total{{disk_io_direction="read",sonde_cgroup_path="{group.path}"}}')
        self.own(lambda metrics: metrics.total("sonde.file.io", group.path, disk__io__direction="read") ==
                 float(counted[0][1]))

    def test_scrapes_classic_histograms(self):
        """A Prometheus that asks for no native histograms gets buckets."""
        group = self.cgroup()
        sonde = self.file_agent(group, "prometheus")
        prometheus = self.start(Prometheus(self.directory, sonde.http, native=False))
        truth = self.work(group)
        selector = READS + f',sonde_cgroup_path="{group.path}"}}'
        count = selector.replace("_seconds{", "_seconds_count{")
        wait_for(lambda: prometheus.query(f"{count} == 2000"), 60, "all reads are there")
        answer = prometheus.query(f"histogram_quantile(0.99, {selector.replace('_seconds{', '_seconds_bucket{')})")
        p99 = float(answer[0][1])
        # Bounds a factor of two apart: that is how wrong a quantile may be.
        self.assertLess(p99, truth["p99"] / 1e9 * 2 * 1.25)
        self.assertGreater(p99, truth["fastest_slow"] / 1e9 / 2 / 1.25)

    def test_receives_otlp(self):
        group = self.cgroup()
        prometheus = self.start(Prometheus(self.directory))
        policies = agent.policy_directory(self.directory, group.path)
        self.agent("--export", "otlp,file", "--file", self.directory + "/own.jsonl", "--otlp-endpoint", prometheus.otlp(),
                   "--interval", "1s", policies=policies, env={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
        truth = self.work(group)
        instance = wait_for(lambda: prometheus.query(READS + "}"), 60, "reads arrive")[0][0].get("instance", "")
        self.assertIn(group.path, instance)
        self.assert_p99(prometheus, READS + f',instance="{instance}"}}', group, truth)

    def test_ended_series_go_stale(self):
        """After a cgroup's end its series do not stay for five minutes."""
        parent = self.cgroup()
        prometheus = self.start(Prometheus(self.directory))
        policies = agent.policy_directory(self.directory, parent.path + "/*")
        self.agent("--export", "otlp", "--otlp-endpoint", prometheus.otlp(), "--interval", "1s", policies=policies,
                   env={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
        child = machine.Cgroup(parent.path[1:] + "/ends")
        Workload(child, "io", self.file_for_work(), 100, 4096, 0, 0, 0).finish()
        series = f'sonde_file_io_bytes_total{{instance=~".*{child.path}"}}'
        wait_for(lambda: prometheus.query(series), 60, "the series is there")
        child.remove()
        wait_for(lambda: not prometheus.query(series), 60, "the series is stale")

    def test_text_formats_are_well_formed(self):
        group = self.cgroup()
        sonde = self.file_agent(group, "prometheus")
        self.work(group)

        def scraped():
            status, text = sonde.get("/metrics")
            self.assertEqual(status, 200)
            return text if group.path in text else None
        text = wait_for(scraped, 60, "the work is on /metrics")
        check = subprocess.run([machine.tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
        self.assertEqual((check.returncode, check.stdout, check.stderr), (0, "", ""), "promtool has something to say")
        status, text = sonde.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
        self.assertEqual(status, 200)
        self.assertTrue(text.endswith("# EOF\n"))
