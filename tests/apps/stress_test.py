# SPDX-License-Identifier: Apache-2.0
"""stress-ng: page faults and switches by the hundred thousand, many processes, and a cgroup that is short of memory."""

import re

import program
from case import AppCase, bytes_moved


class Stress(AppCase):
    def stress(self, group, *options):
        """(the program at its end, bogo operations)"""
        one = program.Program(self, [self.need("stress-ng"), "--metrics-brief", "--temp-path", self.directory, *options],
                              cgroup=group).go()
        text = one.finish() + one.log()
        return one.did, sum(int(n) for n in re.findall(r"metrc: \[\d+\] \w+ +(\d+) ", text))

    def kernel_says(self, *options):
        """A stressor in a measured and in an unselected cgroup; bytes, CPU time and switches are what the kernel says."""
        group, other = self.cgroup(), self.cgroup("unselected")
        self.need("stress-ng")
        self.measure(group)
        did, operations = self.stress(group, *options)
        self.stress(other, *options)
        metrics = self.finish(other)
        self.assert_scheduling(metrics, group.path, did)
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
