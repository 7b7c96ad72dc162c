# SPDX-License-Identifier: Apache-2.0
"""The agent as the chart's pod runs it: namespaces of its own, read-only, few capabilities."""

import glob
import json
import os
import re
import subprocess

from support import agent, machine, otlp
from support.case import Case
from support.machine import Workload, wait_for


class AsInAPod(Case):
    def start_agent(self, work, capabilities, functions="", preset="Detailed"):
        policies = agent.policy_directory(self.directory, work.path, preset)
        if functions:
            with open(os.path.join(policies, "e2e.yaml"), "a") as file:
                file.write(functions)
        within = [machine.REPOSITORY / "tests/e2e/as_in_a_pod", self.directory, self.cgroup("agent").directory, capabilities]
        host = os.path.join(self.directory, "host")
        return self.agent("--export", "file", "--file", os.path.join(self.directory, "out.jsonl"), "--interval", "1s",
                          "--proc-root", f"{host}/proc", "--cgroup-root", f"{host}/sys/fs/cgroup",
                          policies=policies, within=list(map(str, within)))

    def total(self, name, work, **attributes):
        try:
            return otlp.Metrics.read(os.path.join(self.directory, "out.jsonl")).total(name, work.path, **attributes)
        except FileNotFoundError:
            return None

    def test_counts_and_processes(self):
        """All is counted, and the processes of other namespaces are listed by the machine's pids."""
        work = self.cgroup()
        sonde = self.start_agent(work, "bpf,perfmon")
        held = Workload(work, "io", self.file_for_work(), 1000, 4096, 0, 0, 0, held=True)

        def listed():
            found = [one for one in json.loads(sonde.get("/pods", local=True)[1]) if one["cgroup"] == work.path]
            return bool(found) and found[0].get("pids") == [held.process.pid]
        wait_for(listed, 30, "the machine's pid of a process elsewhere is listed")
        held.go()
        held.finish()
        wait_for(lambda: self.total("sonde.file.io", work, disk__io__direction="read") == 1000 * 4096, 30, "all bytes read")
        modules = {m["name"]: m for m in json.loads(sonde.get("/statusz", local=True)[1])["modules"]}
        for name in ("io", "sched", "process", "memory", "cache", "block"):
            self.assertEqual(modules[name]["health"], "ok", modules[name])
        self.assertIn("cgroup_skb", json.dumps(modules["network"]["reasons"]))  # what NET_ADMIN is for

    def test_what_was_there_before_the_agent(self):
        """Threads that sleep and files that are open since before it: seen, or a gap with a reason; never a false 0."""
        work = self.cgroup()
        held = Workload(work, "io", self.file_for_work(), 1, 4096, 0, 0, 0, held=True)  # stopped before its first call
        sleeper = subprocess.Popen(["sleep", "600"], stdin=open("/etc/passwd"), stdout=subprocess.DEVNULL)
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        work.add(sleeper.pid)
        files = sum(os.path.isfile(fd) for process in (held.process.pid, sleeper.pid)
                    for fd in glob.glob(f"/proc/{process}/fd/*"))
        self.assertGreaterEqual(files, 1)
        sonde = self.start_agent(work, "bpf,perfmon")

        def reasons():
            modules = {m["name"]: m for m in json.loads(sonde.get("/statusz", local=True)[1])["modules"]}
            return json.dumps(modules["sched"]["reasons"] + modules["io"]["reasons"])

        def slept():
            return self.total("sonde.thread.time", work, sonde__thread__state="sleep")
        wait_for(lambda: (slept() or 0) > 2 or "when they wake up" in reasons(), 30, "a sleeping thread has time, or a reason")
        wait_for(lambda: self.total("sonde.file.open_descriptors", work) == files or "open files are not counted" in reasons(),
                 30, "open files are counted, or a reason is there")
        if "when they wake up" in reasons():
            self.assertIsNone(slept())
        if "open files are not counted" in reasons():
            self.assertIsNone(self.total("sonde.file.open_descriptors", work))
        held.go()
        held.finish()

    def test_a_fresh_install_lacks_no_right(self):
        """With the chart's own capabilities and preset probes lack what the machine does not have, and nothing else."""
        chart = (machine.REPOSITORY / "manifests/base/sonde.yaml").read_text()
        added = json.loads(re.search(r"^ +add: (\[.*\])$", chart, re.MULTILINE).group(1))
        preset = re.search(r"^ +preset: (\w+)$", chart, re.MULTILINE).group(1)
        lacking = {}
        for capabilities in (",".join(added).lower(), "all"):
            work = self.cgroup()
            sonde = self.start_agent(work, capabilities, preset=preset)
            modules = json.loads(sonde.get("/statusz", local=True)[1])["modules"]
            attached = {m["name"] for m in modules for p in m["programs"] if p["state"] == "attached"}
            self.assertLessEqual({"io", "network", "cache", "memory", "block", "sched", "locks"}, attached)
            lacking[capabilities] = {m["name"]: m["reasons"] for m in modules if m["health"] != "ok"}
            sonde.kill()
        chart_has, everything = lacking.values()
        self.assertEqual(chart_has, everything)
        self.assertNotIn("cgroup_skb", json.dumps(chart_has))

    def test_user_functions_need_sys_ptrace(self):
        """With it a program of another namespace is found and counted; without it status says what is missing."""
        path = os.path.realpath(machine.BUILD / "e2e" / "workload")
        functions = f"  functions:\n    - {{name: entry, type: Uprobe, path: {path}, symbol: main, measure: [Calls]}}\n"
        work = self.cgroup()
        for capabilities, refused in (("bpf,perfmon", True), ("bpf,perfmon,sys_ptrace", False)):
            with self.subTest(capabilities):
                held = Workload(work, "io", self.file_for_work(), 1, 4096, 0, 0, 0, held=True)
                sonde = self.start_agent(work, capabilities, functions)

                def failures():
                    policies = json.loads(sonde.get("/statusz", local=True)[1])["policies"]
                    return [f["reason"] for policy in policies for f in policy.get("failures", [])]
                if refused:
                    wait_for(lambda: "MissingCapability" in failures(), 30, "the program cannot be opened, and why")
                else:
                    wait_for(lambda: failures() == [], 30, "the program was found")
                sonde.kill()
                held.go()
                held.finish()
