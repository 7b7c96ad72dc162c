# SPDX-License-Identifier: Apache-2.0
"""Nodes that cannot be measured: in a cluster the agent waits and tells, by hand it ends with one sentence."""

import json
import signal
import subprocess

from support import agent, in_cluster
from support.case import Case
from support.in_cluster import NODE, policy
from support.machine import wait_for
from support.operator import Operator

NO_RIGHTS = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
# Root of a user namespace: it has every capability there, and the kernel refuses bpf() all the same.
OWN_USERS = ["unshare", "--user", "--map-root-user"]
NO_BTF = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh"]


class ByHand(Case):
    def test_it_ends_with_a_sentence(self):
        """Exit code 1 and one line that says what to do."""
        for within, part in ((NO_RIGHTS, "the capabilities BPF and PERFMON"), (OWN_USERS, "user namespace"),
                             (NO_BTF, "CONFIG_DEBUG_INFO_BTF"), ([], "is not a cgroup v2 directory")):
            with self.subTest(part):
                flags = ["--export", "none", "--http", "off", "--http-local", "off", "--grpc", "off"]
                if not within:
                    flags += ["--cgroup-root", "/usr"]
                run = subprocess.run([*within, agent.BINARY, "agent", *flags], capture_output=True, text=True, timeout=60,
                                     cwd=self.directory, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
                self.assertEqual(run.returncode, 1, run.stderr)
                self.assertIn(part, run.stderr)
                self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)


class InCluster(in_cluster.InCluster):
    def idle_agent(self, within, *flags):
        sonde = agent.Agent(self.directory, "--export", "none", "--api-server", self.cluster.url, "--api-ca", self.cluster.ca,
                            "--api-token-file", self.token, "--node-name", NODE, *flags, within=within)
        self._ends.append(sonde.kill)

        def answers():
            try:
                return sonde.get("/livez")[0] == 200
            except OSError:
                return False
        sonde.service.wait_until(answers, 60, "it lives")
        return sonde

    def told(self):
        """(state and reason of the only probe in the SondeNode) or None."""
        run = self.cluster.kubectl("get", "sondenode", NODE, "-o", "json", check=False)
        status = json.loads(run.stdout).get("status", {}) if run.returncode == 0 else {}
        return [(p["name"], p["state"], p["reason"]) for p in status.get("probes", [])]

    def test_each_obstacle_is_told(self):
        """Not ready, with the reason in status, log and SondeNode; never an end."""
        for within, reason in ((NO_RIGHTS, "MissingCapability"), (OWN_USERS, "BpfRefused"), (NO_BTF, "NoBtf")):
            with self.subTest(reason):
                sonde = self.idle_agent(within)
                code, body = sonde.get("/readyz")
                self.assertEqual(code, 500)
                self.assertIn(reason, body)
                self.assertEqual(json.loads(sonde.get("/statusz", local=True)[1])["idle"]["reason"], reason)
                sonde.service.wait_until(lambda: self.told() == [("core", "Failed", reason)], 60, f"told: {self.told()}")
                sonde.service.process.send_signal(signal.SIGHUP)  # looks again, finds the same, and says it no second time
                wait_for(lambda: sonde.get("/livez")[0] == 200, 30, "it lives on")
                text = subprocess.run([agent.BINARY, "status", "--address", f"127.0.0.1:{sonde.local}"], capture_output=True,
                                      text=True)
                self.assertEqual(text.returncode, 0, text.stderr)
                self.assertIn(f"Nothing is measured ({reason})", text.stdout)
                self.assertEqual(sonde.stop(), 0)
                self.assertEqual(sonde.log().count("cannot be measured"), 1, sonde.log())

    def test_policies_count_the_node_as_failed(self):
        """The operator sums it up; a policy that only excludes is content."""
        operator = self.start(Operator(self.directory, self.cluster))
        operator.wait_ready()
        self.cluster.apply(policy("all", {"preset": "Standard"}))
        self.cluster.apply(policy("not-these", {"mode": "Exclude"}))
        sonde = self.idle_agent(NO_RIGHTS)

        def status(name):
            return self.cluster.get("cmpol", name).get("status", {})
        sonde.service.wait_until(lambda: status("all").get("failedNodes") == 1, 60, "the node is counted")
        all_ = status("all")
        self.assertEqual((all_["desiredNodes"], all_["appliedNodes"], all_["outdatedNodes"]), (1, 0, 0))
        self.assertEqual([(f["nodeName"], f["reason"]) for f in all_["failures"]], [(NODE, "MissingCapability")])
        sonde.service.wait_until(lambda: status("not-these").get("appliedNodes") == 1, 60, "who excludes is content")
