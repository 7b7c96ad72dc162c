# SPDX-License-Identifier: Apache-2.0
"""stress-ng: page faults and switches by the hundred thousand, many processes, and a cgroup that is short of memory."""

import os
import re

import program
from case import AppCase, bytes_moved
from support import machine

PAGE = os.sysconf("SC_PAGE_SIZE")


class Stress(AppCase):
    def stress(self, group, *options):
        """(the program, ended; bogo operations)"""
        one = program.Program(self, [self.need("stress-ng"), "--metrics-brief", "--temp-path", self.directory, *options],
                              cgroup=group).go()
        text = one.finish() + one.log()
        return one, sum(int(n) for n in re.findall(r"metrc: \[\d+\] \w+ +(\d+) ", text))

    def kernel_says(self, *options):
        """A stressor in a measured and in an unselected cgroup; bytes, CPU time and switches are what the kernel says."""
        group, other = self.cgroup(), self.cgroup("unselected")
        self.need("stress-ng")
        self.measure(group)
        one, operations = self.stress(group, *options)
        self.stress(other, *options)
        metrics, did = self.finish(other), one.did
        self.assert_scheduling(metrics, group.path, did)
        self.assert_faults(metrics, group.path, did)
        self.assert_thread_time(metrics, group.path, one.held)
        self.compare(metrics, {"bytes written in all": (bytes_moved(metrics, group.path, "write"), did.wchar)})
        self.assert_processes(metrics, group.path, execs=1)
        return metrics, group.path, did, operations

    def test_switches(self):
        """Two processes hand a message to and fro."""
        metrics, where, _, operations = self.kernel_says("--switch", "1", "--switch-ops", "20000", "--switch-method", "pipe")
        self.assertGreaterEqual(metrics.total("sonde.sched.wakeups", where), operations)

    def test_forks(self):
        metrics, where, _, operations = self.kernel_says("--fork", "1", "--fork-ops", "500")
        # One more is the stressor itself.
        self.compare(metrics, {"forks": (metrics.total("sonde.process.forks", where), operations + 1)})

    def test_faults(self):
        self.kernel_says("--fault", "1", "--fault-ops", "200")

    def limited(self, limit):
        """A cgroup with so much memory, no swap."""
        root = machine.cgroup_root()
        if "memory" not in (root / "cgroup.subtree_control").read_text().split():
            self.skipTest("the cgroup v2 tree has no memory controller (on a hybrid mount v1 has it)")
        group = self.cgroup("limited")
        (group.directory / "memory.max").write_text(limit)
        if (group.directory / "memory.swap.max").exists():
            (group.directory / "memory.swap.max").write_text("0")
        return group

    def kernel_file(self, group, name):
        return {key: int(value) for key, value in
                (line.split() for line in (group.directory / name).read_text().splitlines())}

    def test_short_of_memory(self):
        """A file of four times the memory is written and read: its own threads have to free pages all the time."""
        self.need("stress-ng")
        group, other = self.limited("32M"), self.limited("32M")
        self.measure(group)
        for one in (group, other):
            self.stress(one, "--hdd", "1", "--hdd-bytes", "128M", "--hdd-ops", "600", "--hdd-opts", "wr-seq,rd-seq")
        metrics, where = self.finish(other), group.path
        stat = self.kernel_file(group, "memory.stat")
        self.assertGreater(stat["pgscan_direct"], 1000)

        def freed(name):
            return sum(metrics.total(f"sonde.memory.reclaim.{name}", where, sonde__memory__reclaimer=one) or 0
                       for one in ("direct", "memcg"))
        self.compare(metrics, {
            "bytes looked at": (freed("scanned"), stat["pgscan_direct"] * PAGE),
            "bytes freed": (freed("reclaimed"), stat["pgsteal_direct"] * PAGE),
            "kills": (metrics.total("sonde.memory.oom.kills", where), 0),
        })
        self.assertGreater(metrics.total("sonde.memory.reclaim.stall.duration", where), 0)

    def test_out_of_memory(self):
        self.need("stress-ng")
        group, other = self.limited("32M"), self.limited("32M")
        self.measure(group)
        for one in (group, other):
            self.stress(one, "--vm", "1", "--vm-bytes", "128M", "--vm-keep", "--vm-ops", "1", "--oomable")
        metrics, where = self.finish(other), group.path
        kills = self.kernel_file(group, "memory.events")["oom_kill"]
        self.assertGreater(kills, 0)
        self.compare(metrics, {"kills": (metrics.total("sonde.memory.oom.kills", where, sonde__memory__oom__scope="memcg"), kills)})
