# SPDX-License-Identifier: Apache-2.0
"""Kernel to Collector: a slow operation is one span, a fast one is none."""

from support import agent
from support.case import Case
from support.machine import Workload, wait_for
from support.receivers import Collector, attributes_of

ROUNDS = 200
DELAY = 400  # ms
TRACES = "  traces: {mode: Enabled, operations: [Write], thresholds: [{operation: Write, minMicroseconds: 100000}]}\n"


class Traces(Case):
    def slow_write(self, protocol):
        collector = self.start(Collector(self.directory)).start()
        slow, fast = self.cgroup("slow"), self.cgroup("fast")
        policies = agent.policy_directory(self.directory, slow.path.rsplit("-slow", 1)[0] + "-*", more=TRACES)
        port = collector.grpc if protocol == "grpc" else collector.http
        sonde = self.agent("--export", "otlp", "--interval", "1s", policies=policies,
                           env={"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": self.endpoint(port, protocol),
                                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": protocol,
                                "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"http://127.0.0.1:{collector.grpc}",
                                "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "grpc"})
        Workload(fast, "slow", self.file_for_work() + "2", ROUNDS, 0).finish()
        work = Workload(slow, "slow", self.file_for_work(), ROUNDS, DELAY).finish()
        wait_for(collector.spans, 30, "a span arrives")
        status = wait_for(lambda: [s for s in [sonde.exporter("otlp_traces")] if s["spans_sent"]], 30, "it is counted")[0]
        self.assertEqual(sonde.stop(), 0, sonde.log())
        collector.finish()
        (resource, scope, span), = collector.spans()
        self.assertEqual(resource["sonde.cgroup.path"], slow.path)
        self.assertEqual(resource["service.name"], slow.path[1:])
        self.assertEqual(scope["name"], "sonde")
        self.assertEqual((span["name"], span["kind"], span.get("status", {})), ("write", 1, {}))
        begin, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
        self.assertGreaterEqual(end - begin, DELAY * 1_000_000)
        self.assertLessEqual(end - begin, work["end"] - work["begin"])
        # The wall clock may be adjusted between the call and the reading of its span.
        self.assertAlmostEqual(begin, work["begin"], delta=20_000_000)
        self.assertAlmostEqual(end, work["end"], delta=20_000_000)
        attributes = attributes_of(span)
        self.assertEqual({key: attributes.get(key) for key in (
            "sonde.operation", "sonde.threshold", "sonde.policy", "sonde.suppressed", "process.pid", "thread.id", "thread.name",
            "process.executable.name", "sonde.io.size", "error.type")},
            {"sonde.operation": "Write", "sonde.threshold": 0.1, "sonde.policy": "e2e", "sonde.suppressed": 0,
             "process.pid": work["pid"], "thread.id": work["pid"], "thread.name": "workload",
             "process.executable.name": "workload", "sonde.io.size": 4096, "error.type": None})
        self.assertEqual(status["spans_sent"], 1)
        self.assertEqual(status["spans_dropped"], {})

    @staticmethod
    def endpoint(port, protocol):
        # The variable of a signal is used as it is.
        return f"http://127.0.0.1:{port}" + ("" if protocol == "grpc" else "/v1/traces")

    def test_grpc(self):
        self.slow_write("grpc")

    def test_http(self):
        self.slow_write("http/protobuf")
