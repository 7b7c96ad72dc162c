# SPDX-License-Identifier: Apache-2.0
"""What the loads share: an agent that measures some cgroups into a file, and one more cgroup that nobody selects."""

import glob
import json
import os
import pathlib
import shutil
import time

from support import machine, otlp
from support.case import Case

POLICY = """apiVersion: sonde.dev/v1alpha1
kind: ClusterMonitorPolicy
metadata: {{name: apps}}
spec:
  cgroups: [{cgroups}]
  preset: Detailed
  collection: {{periodSeconds: 1, granularity: {granularity}}}
  limits: {{seriesPerContainer: 1000}}
  probes: {probes}
  functions: {functions}
"""

# Losses that are the kernel's, in whatever runs; that counts and they add up to the truth is for the kernel tests.
OF_THE_KERNEL = (
    "losses sched unmeasured",  # no wait was taken of a task that was preempted on its way to sleep
    "missed_runs locks",  # a lock was waited for in an interrupt of the program that counts such waits
)


class AppCase(Case):
    def setUp(self):
        super().setUp()
        os.chmod(self.directory, 0o755)  # servers run as nobody
        self.programs = 0
        self.file = os.path.join(self.directory, "sonde.jsonl")

    def need(self, *tools):
        """Paths of programs; the test is skipped where one is not installed."""
        path = ":".join([os.environ["PATH"], "/usr/sbin", *sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)])
        found = [shutil.which(tool, path=path) for tool in tools]
        for tool, where in zip(tools, found):
            if not where:
                self.skipTest(f"{tool} is not installed: cmake/deps.sh apps")
        return found if len(found) > 1 else found[0]

    def measure(self, *groups, granularity="Container", settings=None, probes=(), functions=(), env=None):
        """An agent that measures these cgroups and nothing else, ready. `probes` and `functions` are as in a policy."""
        # Born under watch it would be measured until the agent has decided, and a call under way then is a loss.
        self.client = self.cgroup("client")
        policies = pathlib.Path(self.directory) / "policies"
        policies.mkdir()
        paths = ", ".join(f'"{group.path}"' for group in groups)
        (policies / "apps.yaml").write_text(POLICY.format(cgroups=paths, granularity=granularity, probes=json.dumps(probes),
                                                           functions=json.dumps(functions)))
        self.sonde = self.agent("--export", "file", "--file", self.file, "--interval", "1s", policies=str(policies),
                                settings=settings, env=env)
        return self.sonde

    def attached(self, *names):
        """By what each of these functions is measured, as soon as all are."""
        def policies():
            status, body = self.sonde.get("/statusz", local=True)
            return json.loads(body)["policies"] if status == 200 else []

        def hooks():
            found = {one["name"]: one["hook"] for policy in policies() for one in policy["functions"] if one["attached"]}
            return found if set(names) <= set(found) else None
        try:
            return machine.wait_for(hooks, 30, f"functions {', '.join(names)} are attached")
        except AssertionError as error:
            raise AssertionError(f"{error}: {[policy['failures'] for policy in policies()]}") from None

    def now(self):
        """What has been exported so far."""
        return otlp.Metrics.read(self.file)

    def settled(self, group):
        """What has been exported of the cgroup, from a collection that began after this call."""
        begin = time.time_ns()

        def collected():
            metrics = self.now()
            times = [int(point["timeUnixNano"]) for (resource, _, _), point in metrics.streams.items()
                     if any(group.path == value for _, value in resource)]
            return metrics if times and max(times) > begin else None
        return machine.wait_for(collected, 30, f"a collection of {group.path}")

    def finish(self, *unselected, lossy=()):
        """Everything, after the last flush. What the unselected cgroups did appears nowhere, nothing went down, and no module
        lost anything, but for OF_THE_KERNEL and what `lossy` names, with which the test has to reckon."""
        self.assertEqual(self.sonde.stop(), 0, self.sonde.log())
        metrics = self.now()
        for group in unselected:
            self.assertEqual([r for r in metrics.resources() if any(group.path == value for _, value in r)], [])
        self.assertEqual(metrics.decreases, [])
        lost = self.losses(metrics)
        self.assertIn("sonde.module.losses", {name for _, name, _ in metrics.streams})
        self.assertEqual({what: count for what, count in lost.items() if what not in (*OF_THE_KERNEL, *lossy)}, {})
        return metrics

    def losses(self, metrics):
        """Losses that were not zero, by module and reason; they stand in every message of a difference."""
        found = {}
        for (_, name, attributes), point in metrics.streams.items():
            if name in ("sonde.module.losses", "sonde.module.missed_runs") and otlp.number(point):
                found[name.split(".")[-1] + " " + " ".join(str(v) for _, v in attributes)] = otlp.number(point)
        return found

    def compare(self, metrics, rows):
        """rows: {what: (Sonde's, the truth)}; equal, all of them."""
        wrong = {what: pair for what, pair in rows.items() if pair[0] != pair[1]}
        self.assertEqual(wrong, {}, f"Sonde's number, then the truth. Losses: {self.losses(metrics)}")

    def between(self, metrics, what, value, low, high):
        self.assertTrue(low <= value <= high, f"{what}: {value} is not in {low}..{high}. Losses: {self.losses(metrics)}")

    def assert_scheduling(self, metrics, where, did, threads=0):
        """CPU time and switches of all processes, as rusage has them when the last has been waited for. rusage lacks
        the switches after an end was noted: the last one of threads that are not a process's first (`threads` is how many
        there were), that of a process whose parent was quicker, and at times one before."""
        cpu = metrics.total("sonde.sched.oncpu.time", where)
        # The clock tick divides user and system time; their sum is the scheduler's, but for rounding at each process's end.
        self.between(metrics, "seconds on a CPU", cpu, did.cpu_seconds * 0.99 - 0.005, did.cpu_seconds * 1.01 + 0.005)

        def switches(kind):
            return metrics.total("sonde.sched.context_switches", where, process__context_switch__type=kind) or 0
        ends = threads + (metrics.total("sonde.process.exits", where) or 0)
        self.between(metrics, "voluntary switches", switches("voluntary"), did.voluntary + threads, did.voluntary + ends)
        self.between(metrics, "involuntary switches", switches("involuntary"), did.involuntary, did.involuntary + ends)

    def assert_faults(self, metrics, where, did, execs=1):
        """As rusage has them, which has also the few pages that the kernel itself touches for each exec's arguments."""
        def faults(kind):
            return metrics.total("sonde.memory.faults", where, system__paging__fault__type=kind) or 0
        self.compare(metrics, {"major faults": (faults("major"), did.major_faults)})
        self.between(metrics, "minor faults", faults("minor"), did.minor_faults - 4 * execs, did.minor_faults)

    def assert_thread_time(self, metrics, where, begun):
        """Where each process has one thread, the states add up to the lives of all; of the first, the part since go(). A
        life ends when the process does, its thread some time later: when it has given back all that it had."""
        point = metrics.select("sonde.process.lifetime.duration", where)[0]
        lives = point["sum"] - begun
        self.between(metrics, "seconds of threads", metrics.total("sonde.thread.time", where), lives * 0.99 - 0.02,
                     lives * 1.01 + 0.02 * int(point["count"]))
        other = metrics.total("sonde.thread.time", where, sonde__thread__state="other") or 0
        self.between(metrics, "seconds in other states", other, 0, lives * 0.05)

    def assert_processes(self, metrics, where, execs=None, forks=None):
        """The program that was put into the cgroup is there without a fork; by now all have ended."""
        def total(name):
            return metrics.total(f"sonde.process.{name}", where) or 0
        rows = {"ends": (total("exits"), total("forks") + 1), "lifetimes": (total("lifetime.duration"), total("exits"))}
        if execs is not None:
            rows["execs"] = (total("execs"), execs)
        if forks is not None:
            rows["forks"] = (total("forks"), forks)
        self.compare(metrics, rows)


def bytes_moved(metrics, where, direction):
    """What read and write families moved, on files and streams: what the kernel keeps as rchar and wchar."""
    return sum(metrics.total(name, where, disk__io__direction=direction) or 0 for name in ("sonde.file.io", "sonde.stream.io"))


def operations(metrics, where, operation):
    return metrics.total("sonde.file.operation.duration", where, sonde__file__operation=operation) or 0
