# SPDX-License-Identifier: Apache-2.0
"""What the scenarios share: a directory each, services that are ended, cgroups that are removed."""

import os
import shutil
import tempfile
import unittest

from . import agent, machine


class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        # Kept if the scenario fails, so that its logs can be read.
        self.directory = tempfile.mkdtemp(prefix=f"sonde-e2e-{self.id().split('.')[-1]}-")
        self._ends = []
        self._groups = 0

    def run(self, result=None):
        self.result = result
        before = len(result.failures) + len(result.errors)
        super().run(result)
        if len(result.failures) + len(result.errors) == before:
            shutil.rmtree(self.directory, ignore_errors=True)
        else:
            result.note(f"logs are in {self.directory}")
        return result

    def tearDown(self):
        failures = []
        for end in reversed(self._ends):
            try:
                end()
            except Exception as failure:  # the others are to be ended all the same
                failures.append(failure)
        if failures:
            raise failures[0]

    def ending(self, thing, how):
        self._ends.append(how)
        return thing

    def cgroup(self, name="work"):
        self._groups += 1
        group = machine.Cgroup(f"sonde-e2e-{os.getpid()}-{self.id().split('.')[-1]}-{name}-{self._groups}")
        return self.ending(group, group.remove)

    def start(self, service):
        """Collector, Moody, Prometheus: anything with stop()."""
        self._ends.append(service.stop)
        return service

    def agent(self, *flags, **kwargs):
        started = agent.Agent(self.directory, *flags, **kwargs)
        self._ends.append(started.kill)
        return started.wait_ready()

    def otlp_agent(self, endpoint, cgroup, *flags, protocol="grpc", preset="Detailed", env=None, collection="", **kwargs):
        """An agent that measures one cgroup and sends it to an OTLP endpoint every second."""
        policies = agent.policy_directory(self.directory, cgroup.path, preset, collection)
        return self.agent("--export", "otlp", "--otlp-endpoint", endpoint, "--interval", "1s", *flags, policies=policies,
                          env={"OTEL_EXPORTER_OTLP_PROTOCOL": protocol, **(env or {})}, **kwargs)

    def file_for_work(self):
        return os.path.join(self.directory, "file")

    def assert_known_io(self, metrics, where, rounds=10_000, size=4096, fails=37, fsyncs=11, pipe_reads=500):
        """The numbers of `workload io` with these arguments, exactly."""
        def total(name, **attributes):
            return metrics.total(name, where, **attributes)
        got = {
            "read bytes": total("sonde.file.io", disk__io__direction="read"),
            "write bytes": total("sonde.file.io", disk__io__direction="write"),
            "reads": total("sonde.file.operation.duration", sonde__file__operation="read"),
            "writes": total("sonde.file.operation.duration", sonde__file__operation="write"),
            "fsyncs": total("sonde.file.operation.duration", sonde__file__operation="fsync"),
            "read errors": total("sonde.file.operation.errors", sonde__file__operation="read", error__type="EFAULT"),
            "other errors": (total("sonde.file.operation.errors") or 0) - fails,
            "pipe bytes": total("sonde.stream.io", sonde__stream__target="pipe", disk__io__direction="read"),
        }
        truth = {
            "read bytes": rounds * size, "write bytes": rounds * size, "reads": rounds + fails, "writes": rounds,
            "fsyncs": fsyncs, "read errors": fails, "other errors": 0, "pipe bytes": pipe_reads,
        }
        self.assertEqual(got, truth)
