# SPDX-License-Identifier: Apache-2.0
"""Threads that hand a turn to and fro, asleep in futex() in between: how often they slept, and the clock of the CPUs."""

import subprocess

import program
from case import AppCase
from support import machine

TURNS = machine.BUILD / "apps" / "turns"
PAIRS, ROUNDS = 3, 3000


class Turns(AppCase):
    def setUp(self):
        super().setUp()
        source = machine.REPOSITORY / "tests/apps/turns.c"
        if not TURNS.exists() or TURNS.stat().st_mtime < source.stat().st_mtime:
            subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-pthread", "-o", str(TURNS), str(source)], check=True)

    def turns(self, group):
        one = program.Program(self, [TURNS, PAIRS, ROUNDS], cgroup=group).go()
        return int(one.finish()), one.did

    def test_futex_waits(self):
        """Each time that such a thread gives up its CPU by itself it waits in futex()."""
        group, other = self.cgroup(), self.cgroup("unselected")
        self.measure(group)
        slept, _ = self.turns(group)
        self.turns(other)
        metrics = self.finish(other)
        waits = metrics.total("sonde.lock.wait.duration", group.path, sonde__lock__kind="futex") or 0
        self.assertGreater(slept, ROUNDS)
        # The threads count from their first turn to their last; as they begin and end they may wait once more.
        self.between(metrics, "waits", waits, slept, slept + 4 * PAIRS)

    def test_clock_in_place_of_cycles(self):
        """The path that counts hardware events, with the CPU clock in the place of cycles, as most virtual machines have no
        counters: it is the threads' CPU time."""
        group, other = self.cgroup(), self.cgroup("unselected")
        self.measure(group, probes=[{"name": "cpu_pmu", "includeMetrics": ["sonde.cpu.cycles"]}],
                     env={"SONDE_PMU_EVENTS": "software"})
        _, did = self.turns(group)
        self.turns(other)
        # Right after it was attached there may be no memory at hand for two tasks at once, and some machines hide a switch
        # from BPF now and then: of each stretch on a CPU that is lost so, the clock lacks the time.
        metrics = self.finish(other, lossy=("losses cpu_pmu task_storage", "losses cpu_pmu unseen_entry"))
        seconds = (metrics.total("sonde.cpu.cycles", group.path) or 0) / 1e9
        self.between(metrics, "seconds of the clock", seconds, did.cpu_seconds * 0.9 - 0.01, did.cpu_seconds * 1.1 + 0.01)
