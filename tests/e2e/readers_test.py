# SPDX-License-Identifier: Apache-2.0
"""What a reader of last values gets: short lives, two scrapers and a person, every query that a document prints, a
replaced agent. The truth is what the work itself did."""

import pathlib
import re
import time

from support import agent, machine, otlp
from support.case import Case
from support.machine import Workload, wait_for
from support.receivers import Collector, Prometheus, VictoriaMetrics

TOP = pathlib.Path(__file__).resolve().parents[2]
WRITTEN = 'sonde_file_io_bytes_total{disk_io_direction="write"}'
READ = 'sonde_file_io_bytes_total{disk_io_direction="read"}'
BYTES = 4096
LIVES = 7


def printed_queries():
    """(document, query) of each block that a document marks as PromQL; dashboards_test.py has those of runbooks."""
    found = []
    for document in sorted([*TOP.glob("docs/**/*.md"), *TOP.glob("charts/**/*.md"), TOP / "README.md"]):
        if document.parent.name == "runbooks":
            continue
        for block in re.findall(r"^```promql\n(.*?)^```", document.read_text(), re.M | re.S):
            found.append((str(document.relative_to(TOP)), block.strip()))
    return found


class Readers(Case):
    born = 0  # lives so far

    def lives(self, parent, count=LIVES, rounds=7, pause=0.2):
        """Cgroups that come, write and go, each with a name of its own; how many bytes all of them wrote."""
        for _ in range(count):
            self.born += 1
            child = machine.Cgroup(f"{parent.path[1:]}/life{self.born}")
            Workload(child, "io", self.file_for_work(), rounds, BYTES, 0, 0, 0).finish()
            child.remove()
            time.sleep(pause)
        return count * rounds * BYTES

    def pulled(self, parent, *flags, **kwargs):
        policies = agent.policy_directory(self.directory, parent.path + "/*")
        return self.agent("--export", "prometheus", "--interval", "1s", *flags, policies=policies, **kwargs)

    def assert_increase(self, prometheus, truth, seconds=60):
        total = f"sum(increase({WRITTEN}[10m] anchored))"
        wait_for(lambda: prometheus.number(total) >= truth, seconds, f"all {truth} bytes are counted")
        time.sleep(3)  # and nothing is counted twice
        self.assertEqual(prometheus.number(total), truth)

    def test_short_lives_by_scrape(self):
        parent = self.cgroup()
        sonde = self.pulled(parent)
        prometheus = self.start(Prometheus(self.directory, sonde.http))
        wait_for(lambda: prometheus.query("sonde_agent_export_scrapers") or None, 60, "it is known as a scraper")
        self.assert_increase(prometheus, self.lives(parent))
        self.assertEqual(prometheus.number("sonde_agent_export_ended_unscraped_total"), 0)
        # Not longer than the scraper needs them.
        wait_for(lambda: "/life" not in sonde.get("/metrics")[1], 60, "what ended has gone")

    def test_two_scrapers_and_a_person(self):
        parent = self.cgroup()
        sonde = self.pulled(parent)
        often, seldom = ("15s", "60s") if machine.FULL else ("1s", "4s")
        quick = self.start(Prometheus(self.directory, sonde.http, interval=often))
        slow = self.start(Prometheus(self.directory, sonde.http, interval=seldom, name="slow"))
        for prometheus in (quick, slow):
            wait_for(lambda p=prometheus: p.query("sonde_agent_export_scrapers == 2") or None, 300, "both are known")
        truth = 0
        for _ in range(3):
            truth += self.lives(parent, count=3)
            sonde.get("/metrics")
        for prometheus in (quick, slow):
            self.assert_increase(prometheus, truth, 300)

    def test_short_lives_by_otlp(self):
        """Prometheus with its default flags."""
        parent = self.cgroup()
        prometheus = self.start(Prometheus(self.directory))
        policies = agent.policy_directory(self.directory, parent.path + "/*")
        self.agent("--export", "otlp", "--otlp-endpoint", prometheus.otlp(), "--interval", "1s", "--promote",
                   policies=policies, env={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
        self.assert_increase(prometheus, self.lives(parent))

    def test_short_lives_in_victoria_metrics(self):
        """Which needs no `anchored`: its increase() is what lies between two samples."""
        total = f"sum(increase({WRITTEN}[10m]))"
        for way in ("scrape", "otlp"):
            with self.subTest(way):
                parent = self.cgroup(way)
                if way == "scrape":
                    sonde = self.pulled(parent, name="pulled")
                    victoria = self.start(VictoriaMetrics(self.directory, sonde.http))
                    wait_for(lambda: victoria.query("sonde_agent_export_scrapers > 0") or None, 60, "it is known as a scraper")
                else:
                    victoria = self.start(VictoriaMetrics(self.directory))
                    self.agent("--export", "otlp", "--otlp-endpoint", victoria.otlp(), "--interval", "1s",
                               "--otlp-histograms", "explicit_bucket_histogram", name="pushes",
                               policies=agent.policy_directory(self.directory, parent.path + "/*"),
                               env={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
                truth = self.lives(parent)
                wait_for(lambda: victoria.number(total) >= truth, 60, f"{way}: all {truth} bytes are counted")
                time.sleep(3)  # and nothing is counted twice
                self.assertEqual(victoria.number(total), truth, way)
                if way == "otlp":
                    lives = '{__name__=~"sonde_.*",sonde_cgroup_path=~".*/life.*"}'
                    self.assertGreater(victoria.number(f"count(last_over_time({lives}[10m]))"), LIVES)
                    wait_for(lambda: not victoria.query(lives), 60, "what ended is gone")

    def test_short_lives_through_cumulative_to_delta(self):
        """A Collector that makes differences: their sum is the truth."""
        parent = self.cgroup()
        collector = self.start(Collector(self.directory, to_delta=True)).start()
        sonde = self.otlp_agent(f"http://127.0.0.1:{collector.grpc}", parent)
        (pathlib.Path(self.directory) / "policies" / "e2e.yaml").write_text(
            agent.POLICY.format(cgroups=parent.path + "/*", preset="Detailed", collection=""))
        time.sleep(3)
        truth = self.lives(parent)
        time.sleep(3)
        self.assertEqual(sonde.stop(), 0, sonde.log())
        collector.service.stop()
        self.assertEqual(sum_of_deltas(collector.file), truth)

    def test_every_printed_query(self):
        """By scrape, and by OTLP with promoted attributes, in both forms of histograms."""
        queries = printed_queries()
        self.assertGreater(len(queries), 4)
        ways = (("scrape", True, True), ("otlp", True, False), ("otlp-explicit", False, True))
        for way, native, classic in ways:
            with self.subTest(way):
                parent = self.cgroup(way)
                prometheus = self.printed_by(way, parent)
                truth = self.lives(parent, count=2, rounds=500)
                self.assert_increase(prometheus, truth)
                for document, query in queries:
                    of_buckets, of_histogram = "_bucket" in query, "_seconds[" in query
                    if (of_buckets and not classic) or (of_histogram and not native):
                        continue
                    wait_for(lambda q=query: prometheus.query(q) or None, 60, f"{way}: {document} prints: {query}")
                    if "anchored" in query:
                        self.assertEqual(prometheus.number(query.replace(
                            "sonde_file_io_bytes_total", WRITTEN)), truth, f"{way}: {document}: {query}")

    def printed_by(self, way, parent):
        if way == "scrape":
            sonde = self.pulled(parent)
            prometheus = self.start(Prometheus(self.directory, sonde.http, name=way))
            wait_for(lambda: prometheus.query("sonde_agent_export_scrapers") or None, 60, "it is known as a scraper")
            return prometheus
        prometheus = self.start(Prometheus(self.directory, name=way))
        policies = agent.policy_directory(self.directory, parent.path + "/*")
        form = "explicit_bucket_histogram" if way == "otlp-explicit" else "base2_exponential_bucket_histogram"
        self.agent("--export", "otlp", "--otlp-endpoint", prometheus.otlp(), "--interval", "1s", "--promote",
                   "--otlp-histograms", form, policies=policies, name="agent-" + way,
                   env={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
        return prometheus

    def test_an_agent_that_replaces_another(self):
        """The new one is ready while the old one still writes, and writes when that one has ended: nothing twice, next to
        nothing lost."""
        group = self.cgroup()
        state = pathlib.Path(self.directory) / "state"
        state.mkdir()
        collector = self.start(Collector(self.directory)).start()
        endpoint = f"http://127.0.0.1:{collector.grpc}"
        old = self.otlp_agent(endpoint, group, "--state-directory", str(state), name="old")
        Workload(group, "io", self.file_for_work(), 1000, BYTES, 0, 0, 0).finish()
        fresh = self.otlp_agent(endpoint, group, "--state-directory", str(state), name="fresh")
        Workload(group, "io", self.file_for_work(), 2000, BYTES, 0, 0, 0).finish()
        self.assertIn("another agent on this machine is exporting", fresh.get("/statusz", local=True)[1])
        self.assertNotIn("sonde_file_io_bytes", fresh.get("/metrics", local=True)[1])
        self.assertEqual(fresh.exporter()["points_sent"], 0)
        self.assertEqual(old.stop(), 0, old.log())
        wait_for(lambda: "another agent" not in fresh.get("/statusz", local=True)[1], 30, "its turn has come")
        Workload(group, "io", self.file_for_work(), 3000, BYTES, 0, 0, 0).finish()
        time.sleep(3)
        self.assertEqual(fresh.stop(), 0, fresh.log())
        collector.service.stop()
        # Each of the two starts of the stream has what was written while that agent had its turn.
        totals = otlp.totals_by_start(collector.file, "sonde.file.io", group.path, disk__io__direction="write")
        self.assertEqual(totals, [3000 * BYTES, 3000 * BYTES])
        self.assertEqual(otlp.Metrics.read(collector.file).overlaps, [], "the new agent's series start after the old one's end")

    def test_work_goes_on_while_an_agent_replaces_another(self):
        """OTLP loses what comes between the old agent's last look and the new one's first; a scraper also what had come since
        the old agent was last scraped."""
        group = self.cgroup()
        state = pathlib.Path(self.directory) / "state"
        state.mkdir()
        pushed = self.start(Prometheus(self.directory, name="pushed"))
        ports = [machine.free_port(), machine.free_port()]
        scraping = self.start(Prometheus(self.directory, ports, name="scraping"))
        victoria = self.start(VictoriaMetrics(self.directory, ports))
        files = [pathlib.Path(self.directory) / f"{name}.jsonl" for name in ("old", "fresh")]

        def start(n):
            return self.agent("--export", "otlp,file,prometheus", "--file", files[n], "--otlp-endpoint", pushed.otlp(), "--promote",
                              "--interval", "30s", "--state-directory", state, http=ports[n], name=files[n].stem,
                              policies=agent.policy_directory(self.directory, group.path),
                              env={"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
        old = start(0)
        wait_for(lambda: scraping.number("sonde_agent_export_scrapers") == 2, 90, "both scrapers are known")
        work = Workload(group, "ticks", self.file_for_work(), 10)
        time.sleep(5)
        fresh = start(1)
        self.assertIn("another agent on this machine is exporting", fresh.get("/statusz", local=True)[1])
        time.sleep(3)
        self.assertEqual(old.stop(), 0, old.log())
        time.sleep(5)
        self.assertNotIn("another agent", fresh.get("/statusz", local=True)[1])
        at = [us / 1e6 for us in work.stop()["at"]]

        anchored, plain = f"sum(increase({READ}[10m] anchored))", f"sum(increase({READ}[10m]))"
        readers = {"OTLP": (pushed, anchored), "scrape": (scraping, anchored), "VictoriaMetrics": (victoria, plain)}
        counted = {name: machine.settled(lambda: reader.number(query)) / BYTES for name, (reader, query) in readers.items()}
        self.assertEqual(fresh.stop(), 0, fresh.log())
        together = pathlib.Path(self.directory) / "together.jsonl"
        together.write_text("".join(file.read_text() for file in files))
        collector = self.start(Collector(self.directory, to_delta=True, lines=together)).start()
        wait_for(lambda: sum_of_deltas(collector.file, "read") >= counted["OTLP"] * BYTES, 60, "all differences are there")
        collector.service.stop()
        counted["differences"] = sum_of_deltas(collector.file, "read") / BYTES
        lost = {name: len(at) - reads for name, reads in counted.items()}
        self.result.note(f"lost of {len(at)} reads, one each 10 ms: {lost}")
        # The old agent's period and the scrape interval are a second each.
        gap = {name: agent.HANDOVER + (2 if name in ("scrape", "VictoriaMetrics") else 0) for name in lost}
        for name, reads in lost.items():
            self.assertGreaterEqual(reads, 0, f"{name}: nothing is counted twice")
            self.assertLessEqual(reads, machine.most_within(at, gap[name] * machine.PATIENCE), name)
        self.assertEqual(counted["differences"], counted["OTLP"])
        totals = otlp.totals_by_start(together, "sonde.file.io", group.path, disk__io__direction="read")
        self.assertEqual(len(totals), 2, "one of each agent")
        self.assertEqual(sum(totals), counted["OTLP"] * BYTES)
        self.assertEqual(otlp.Metrics.read(together).overlaps, [])


def sum_of_deltas(file, direction="write"):
    return sum(otlp.number(point) for _, point in otlp.points(file, "sonde.file.io", disk__io__direction=direction))
