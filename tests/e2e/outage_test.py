# SPDX-License-Identifier: Apache-2.0
"""Receivers that are away, wrong, or answer with something else than yes."""

import re
import time

from support import agent, machine, otlp
from support.case import Case
from support.certificates import Authority
from support.machine import Workload, wait_for
from support.receivers import Collector, Moody

OUTAGE = 120 if machine.FULL else 20
FLAT = 8 << 20  # what memory may grow by while nobody listens


class Outage(Case):
    def test_collector_away_under_load(self):
        """Killed under load and started again: totals are right, nothing went down, memory is flat."""
        collector = self.start(Collector(self.directory)).start()
        group = self.cgroup()
        sonde = self.otlp_agent(f"http://127.0.0.1:{collector.grpc}", group)
        work = Workload(group, "load", self.file_for_work())
        wait_for(lambda: collector.metrics().total("sonde.file.io", group.path), 60, "first numbers arrive")
        time.sleep(3)  # caches and buffers have their size
        before = sonde.rss()
        collector.stop()
        highest = 0
        for _ in range(OUTAGE * 2):
            time.sleep(0.5)
            highest = max(highest, sonde.rss())
        self.assertGreater(sum(sonde.exporter()["failures"].values()), 0)
        collector.start()
        rounds = work.stop()["rounds"]
        self.assertGreater(rounds, 1000)

        def arrived():
            metrics = collector.metrics()
            return metrics.total("sonde.file.io", group.path, disk__io__direction="write") == rounds * 4096
        wait_for(arrived, 150, f"all {rounds} rounds arrive")
        metrics = collector.metrics()
        self.assertEqual(metrics.total("sonde.file.io", group.path, disk__io__direction="read"), rounds * 4096)
        for operation in ("read", "write"):
            self.assertEqual(metrics.total("sonde.file.operation.duration", group.path, sonde__file__operation=operation), rounds)
        self.assertEqual(metrics.decreases, [])
        self.assertLess(highest - before, FLAT, f"{before} bytes before, {highest} at most while it was away")

    def failing(self, endpoint, protocol="grpc", env=None, words=()):
        """The agent lives, says why nothing is sent, and still ends in time."""
        group = self.cgroup()
        sonde = self.otlp_agent(endpoint, group, protocol=protocol, env=env)
        Workload(group, "io", self.file_for_work(), 100, 4096, 0, 0, 0).finish()
        wait_for(lambda: sonde.exporter()["failures"], 60, "the failure is counted")
        time.sleep(2)  # it would have arrived by now
        stats = sonde.exporter()
        self.assertEqual(stats["points_sent"], 0, stats)
        self.assertEqual(sonde.get("/livez")[0], 200)
        self.assertEqual(sonde.stop(seconds=60), 0, sonde.log())
        log = sonde.log().lower()
        self.assertTrue(any(word in log for word in words), f"none of {words} in:\n{log[-3000:]}")
        return stats

    def test_wrong_port(self):
        port = machine.free_port()
        for protocol in ("grpc", "http/protobuf"):
            with self.subTest(protocol):
                self.failing(f"http://127.0.0.1:{port}", protocol, words=("connect", "refused", "unavailable"))

    def test_wrong_certificate(self):
        """The server's certificate comes from somebody we do not trust."""
        ours, theirs = Authority(self.directory, "ours"), Authority(self.directory, "theirs")
        collector = self.start(Collector(self.directory, *theirs.issue("server"))).start()
        for protocol, port in (("grpc", collector.grpc), ("http/protobuf", collector.http)):
            with self.subTest(protocol):
                self.failing(f"https://localhost:{port}", protocol,
                             env={"OTEL_EXPORTER_OTLP_CERTIFICATE": ours.certificate}, words=("certificate", "tls", "ssl"))
        self.assertEqual(collector.metrics().requests, 0)

    def test_wrong_name_in_certificate(self):
        authority = Authority(self.directory)
        collector = self.start(Collector(self.directory, *authority.issue("server", san="DNS:elsewhere.example"))).start()
        for protocol, port in (("grpc", collector.grpc), ("http/protobuf", collector.http)):
            with self.subTest(protocol):
                self.failing(f"https://localhost:{port}", protocol,
                             env={"OTEL_EXPORTER_OTLP_CERTIFICATE": authority.certificate},
                             words=("certificate", "tls", "ssl", "verif", "name"))
        self.assertEqual(collector.metrics().requests, 0)

    def test_client_certificate_missing(self):
        authority = Authority(self.directory)
        collector = self.start(Collector(self.directory, *authority.issue("server"), client_ca=authority.certificate)).start()
        self.failing(f"https://localhost:{collector.http}", "http/protobuf",
                     env={"OTEL_EXPORTER_OTLP_CERTIFICATE": authority.certificate},
                     words=("certificate", "tls", "ssl", "connect", "closed", "handshake"))
        self.assertEqual(collector.metrics().requests, 0)

    def test_plain_text_at_a_tls_port(self):
        authority = Authority(self.directory)
        collector = self.start(Collector(self.directory, *authority.issue("server"))).start()
        self.failing(f"http://127.0.0.1:{collector.http}", "http/protobuf", words=("400", "http", "connect", "closed"))


class Answers(Case):
    """What the OTLP specification says of each answer."""

    def eventually(self, sonde, told):
        """The answer to the last request is on its way for a moment; what never comes fails in the caller's words."""
        try:
            wait_for(lambda: told(sonde.exporter()), 30, "the statistics say so")
        except AssertionError:
            pass

    def against(self, answers, told, http=False, requests=2):
        """What was asked, and what the agent says of it once told(stats)."""
        moody = self.start(Moody(self.directory, answers, http))
        group = self.cgroup()
        sonde = self.otlp_agent(f"http://127.0.0.1:{moody.port}", group, protocol="http/protobuf" if http else "grpc")
        work = Workload(group, "load", self.file_for_work())
        wait_for(lambda: len(moody.requests()) >= requests, 90, f"{requests} requests")
        self.eventually(sonde, told)
        stats = sonde.exporter()
        work.stop()
        sonde.kill()
        return moody.requests(), stats

    def test_partial_success_is_not_sent_again(self):
        for http in (False, True):
            with self.subTest(http=http):
                requests, stats = self.against("partial:5,ok", lambda s: s["points_rejected"], http, requests=3)
                self.assertEqual(stats["points_rejected"], 5, stats)
                self.assertEqual(stats["retries"], 0, stats)

    def test_exhausted_without_retry_info_is_given_up(self):
        requests, stats = self.against("exhausted,ok", lambda s: s["points_dropped"], requests=3)
        self.assertEqual(requests[0]["answer"], "exhausted")
        self.assertEqual(stats["retries"], 0, stats)
        self.assertGreater(stats["points_dropped"], 0, stats)
        self.assertTrue(any("EXHAUSTED" in code.upper() for code in stats["failures"]), stats)

    def test_retry_info_is_waited_for(self):
        for http in (False, True):
            with self.subTest(http=http):
                requests, stats = self.against("retry:4s,ok", lambda s: s["retries"], http)
                waited = (requests[1]["ms"] - requests[0]["ms"]) / 1000
                self.assertGreaterEqual(waited, 3.9, requests[:2])
                self.assertLess(waited, 30, requests[:2])
                self.assertGreaterEqual(stats["retries"], 1, stats)
                self.assertEqual(stats["points_dropped"], 0, stats)

    def test_unavailable_is_tried_again(self):
        for http in (False, True):
            with self.subTest(http=http):
                requests, stats = self.against("unavailable,ok", lambda s: s["retries"], http)
                self.assertGreaterEqual(stats["retries"], 1, stats)
                self.assertEqual(stats["points_dropped"], 0, stats)

    def test_invalid_is_sent_once_more_in_halves(self):
        """Only what is to blame is lost: here nothing."""
        for http in (False, True):
            with self.subTest(http=http):
                requests, stats = self.against("invalid,ok", lambda s: s["halved"], http, requests=3)
                self.assertEqual(requests[0]["points"], requests[1]["points"] + requests[2]["points"], requests[:3])
                self.assertEqual((stats["halved"], stats["retries"], stats["points_dropped"]), (1, 0, 0), stats)

    def test_invalid_is_given_up(self):
        """Where each half is refused as well."""
        for http in (False, True):
            with self.subTest(http=http):
                requests, stats = self.against("invalid", lambda s: s["points_dropped"], http, requests=3)
                self.assertGreater(stats["points_dropped"], 0, stats)
                self.assertEqual((stats["points_sent"], stats["retries"]), (0, 0), stats)

    def test_headers_and_user_agent(self):
        moody = self.start(Moody(self.directory, "ok"))
        group = self.cgroup()
        self.otlp_agent(f"http://127.0.0.1:{moody.port}", group, env={"OTEL_EXPORTER_OTLP_HEADERS": "X-Tenant=a%20b,k=v"})
        request = wait_for(moody.requests, 60, "a request")[0]
        self.assertEqual(request["headers"].get("x-tenant"), "a b")
        self.assertEqual(request["headers"].get("k"), "v")
        self.assertTrue(request["headers"]["user-agent"].startswith("Sonde/"), request["headers"])


class Limits(Case):
    def tour(self, cgroups, max_mib=None):
        """A batch of many cgroups, larger than what the Collector takes at once."""
        collector = self.start(Collector(self.directory, max_mib=max_mib)).start()
        parent = self.cgroup()
        sonde = self.agent("--export", "otlp", "--otlp-endpoint", f"http://127.0.0.1:{collector.grpc}", "--interval", "5s",
                           policies=self.policies(parent), settings={"limits.seriesPerNode": "500000", "limits.histograms": "65536"})
        children = [machine.Cgroup(f"{parent.path[1:]}/child-with-quite-a-long-name-{i:04}") for i in range(cgroups)]
        for child in children:
            self._ends.append(child.remove)
        work = Workload(None, "tour", self.file_for_work(),
                        stdin="".join(f"{c.directory}/cgroup.procs\n" for c in children))
        self.assertEqual(work.finish()["cgroups"], cgroups)

        missing = {child.path for child in children}

        def arrived():
            time.sleep(2)  # what there is to read is much
            for (resource, metric, attributes), point in collector.metrics().streams.items():
                if (metric, attributes) == ("sonde.file.io", (("disk.io.direction", "read"),)) and otlp.number(point) == 4096:
                    missing.discard(dict(resource).get("sonde.cgroup.path"))
            return not missing
        wait_for(arrived, 150, f"all {cgroups} cgroups arrive")
        return sonde, collector

    def policies(self, parent):
        return agent.policy_directory(self.directory, parent.path + "/*")

    def test_batches_are_split_below_4_mib(self):
        sonde, collector = self.tour(2000)
        # Requests of one collection have the same time.
        collections = {}
        for line in open(collector.file, encoding="utf-8"):
            times = set(re.findall(r'"timeUnixNano":"([0-9]+)"', line))
            for time_ns in times:
                collections[time_ns] = collections.get(time_ns, 0) + 1
        self.assertGreater(max(collections.values()), 1, "no collection was larger than a request")
        stats = sonde.exporter()
        self.assertEqual(stats["failures"], {}, stats)

    def test_a_smaller_limit_is_found_by_halving(self):
        """The Collector refuses messages of 1 MiB; the agent was told nothing of it."""
        sonde, _ = self.tour(800, max_mib=1)
        stats = sonde.exporter()
        self.assertTrue(any("EXHAUSTED" in code.upper() for code in stats["failures"]), f"the limit was never met: {stats}")
        self.assertEqual(stats["points_dropped"], 0, stats)
