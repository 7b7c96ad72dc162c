# SPDX-License-Identifier: Apache-2.0
"""The Helm chart and the manifests rendered from it, against Helm and a real API server."""

import json
import os
import pathlib
import re
import subprocess

from support import agent, cluster, machine
from support.case import Case
from support.machine import wait_for

CHART = machine.REPOSITORY / "charts/sonde"
MANIFESTS = machine.REPOSITORY / "manifests"

# Values that are wrong, and a part of what helm says.
WRONG = [
    ("a key of the chart", ["agnet.port=1"], "additional properties 'agnet' not allowed"),
    ("a key below", ["agent.priviledged=true"], "additional properties 'priviledged' not allowed"),
    ("a setting of the agent", ["config.intervall=10s"], "additional properties 'intervall' not allowed"),
    ("a setting below", ["config.export.otlp.endpiont=x"], "additional properties 'endpiont' not allowed"),
    ("what the chart sets itself", ["config.procRoot=/proc"], "additional properties 'procRoot' not allowed"),
    ("a capability", ["agent.capabilities={SYS_MODULE}"], "value must be one of 'NET_ADMIN'"),
    ("a level", ["config.defaultPolicy.preset=High"], "value must be one of 'None', 'Minimal', 'Standard', 'Detailed'"),
    ("a word for a number", ["agent.port=http"], "got string, want integer"),
    ("a port beyond", ["agent.port=65536"], "maximum: got 65,536, want 65,535"),
    ("a limit below", ["config.limits.subjects=1"], "minimum: got 1, want 16"),
    ("a duration without unit", ["config.interval=30"], "got number, want string"),
    ("a duration in words", ["config.interval=half a minute"], "does not match pattern"),
    ("a digest", ["image.digest=latest"], "'latest' does not match pattern"),
    ("memory", ["agent.resources.limits.memory=lots"], "'lots' does not match pattern"),
    ("replicas", ["operator.replicas=0"], "minimum: got 0, want 1"),
    ("a relative directory", ["agent.stateDirectory=var/lib"], "'var/lib' does not match pattern"),
]

# What `kubectl auth can-i --list` shows beside what everybody may: resource, and names it is limited to → verbs.
AGENT_MAY = {
    "pods": "list watch", "nodes": "list watch", "nodes/pods": "get", "namespaces": "get",
    "monitorpolicies.sonde.dev": "list watch", "clustermonitorpolicies.sonde.dev": "list watch",
    "sondenodes.sonde.dev": "create patch", "sondenodes.sonde.dev/status": "patch",
}
OPERATOR_MAY = {
    "monitorpolicies.sonde.dev": "list watch", "clustermonitorpolicies.sonde.dev": "list watch",
    "sondenodes.sonde.dev": "list watch", "nodes": "list watch",
    "monitorpolicies.sonde.dev/status": "patch", "clustermonitorpolicies.sonde.dev/status": "patch",
    "events.events.k8s.io": "create patch", "leases.coordination.k8s.io": "create",
    "leases.coordination.k8s.io sonde-operator": "get update",
}


class Helm(Case):
    def helm(self, *argv):
        homes = {f"HELM_{home}_HOME": self.directory for home in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run([machine.tool("helm"), *map(str, argv)], capture_output=True, text=True,
                              env={**os.environ, **homes})

    def template(self, *sets):
        argv = [word for one in sets for word in ("--set", one)]
        run = self.helm("template", "sonde", CHART, "--namespace", "sonde", *argv)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def test_lint(self):
        run = self.helm("lint", "--strict", CHART)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_manifests_are_those_of_the_chart(self):
        """manifests/base/sonde.yaml is what manifests/render makes."""
        out = pathlib.Path(self.directory)
        subprocess.run([MANIFESTS / "render", out], check=True, env={**os.environ, "HELM": machine.tool("helm")})
        self.assertEqual((out / "sonde.yaml").read_text(), (MANIFESTS / "base/sonde.yaml").read_text(),
                         "render anew: HELM=… manifests/render")

    def test_wrong_values(self):
        """A wrong key or value is refused by name."""
        for what, sets, message in WRONG:
            with self.subTest(what):
                argv = [word for one in sets for word in ("--set", one)]
                run = self.helm("template", "sonde", CHART, *argv)
                self.assertNotEqual(run.returncode, 0)
                self.assertIn(message, run.stderr)

    def test_the_agent_reads_its_configuration(self):
        """What the ConfigMap holds is what the agent takes; here /host is not mounted."""
        for sets in ([], ["config.export.otlp.endpoint=https://collector.example:4317", "config.export.to={otlp,prometheus}",
                          "config.limits.subjects=8192", "config.identity.source=apiServer", "agent.port=9999"]):
            text = self.template(*sets)
            block = re.search(r"^  sonde\.yaml: \|\n((?:    .*\n|\n)*)", text, re.MULTILINE).group(1)
            config = re.sub("^    ", "", block, flags=re.MULTILINE).replace("/host/", "/")
            path = pathlib.Path(self.directory) / "sonde.yaml"
            path.write_text(config)
            run = subprocess.run([agent.BINARY, "agent", "--check-config", "--config", path], capture_output=True, text=True,
                                 env={"PATH": os.environ["PATH"]})
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertNotIn("warning", run.stderr)
            self.assertIn("policyCache: /var/lib/sonde/policies.jsonl", run.stdout)

    def test_options(self):
        """What is switched off is nowhere, what is added is there."""
        text = self.template("operator.enabled=false", "agent.tracefs=false", "rbac.apiServerPods=false", "agent.stateDirectory=",
                             "agent.capabilities={SYSLOG}", "config.kubernetes.report=false",
                             "image.digest=sha256:" + "0" * 64, "global.imageRegistry=mirror.example/m")
        for gone in ("sonde-operator", "/sys/kernel/tracing", "resources: [pods]", "path: /var/lib/sonde", "sondenodes/status"):
            self.assertNotIn(gone, text)
        self.assertRegex(text, r"resources: \[sondenodes\]\n +verbs: \[delete\]")
        self.assertIn('add: ["BPF","PERFMON","SYSLOG"]', text)
        self.assertIn('add: ["BPF","PERFMON"]', self.template("agent.capabilities=null"))
        self.assertRegex(text, r"policyCache: /var/lib/sonde/policies.jsonl\n +report: false")
        self.assertIn("image: mirror.example/m/ghcr.io/sonde/sonde@sha256:000", text)
        self.assertIn("{path: /k/k.crt, type: File}", self.template("agent.kubeletCertificate=/k/k.crt"))
        self.assertIn("kind: PodDisruptionBudget", self.template("operator.podDisruptionBudget.enabled=true"))
        for word in ("privileged: true", "hostPID: true", "hostNetwork: true", "SYS_ADMIN"):
            self.assertNotIn(word, text)


class Installed(Case):
    def setUp(self):
        super().setUp()
        self.cluster = self.start(cluster.Cluster(self.directory).start())

    def may(self, account):
        """Beside what every service account may: asking about itself, and looking at what the API has."""
        listed = self.cluster.kubectl("auth", "can-i", "--list", "-n", "sonde", f"--as=system:serviceaccount:sonde:{account}",
                                      "--as-group=system:authenticated", "--as-group=system:serviceaccounts").stdout
        found = {}
        for line in listed.splitlines()[1:]:
            fields = re.match(r"^(\S*)\s+\[(.*?)\]\s+\[(.*?)\]\s+\[(.*?)\]$", line).groups()
            resource, urls, names, verbs = fields
            if not resource or resource.startswith("selfsubject"):
                self.assertTrue(resource or urls, line)
                continue
            self.assertEqual(urls, "", line)
            key = f"{resource} {names}".strip()
            found[key] = " ".join(sorted(verbs.split() + found.get(key, "").split()))
        return found

    def test_apply(self):
        """kubectl takes the manifests, twice; accounts may what is listed here and no more; the agent gets along with that."""
        for _ in range(2):
            self.assertNotIn("arning", self.cluster.install())
        self.assertEqual(self.may("sonde-agent"), AGENT_MAY)
        self.assertEqual(self.may("sonde-operator"), OPERATOR_MAY)
        pod = self.cluster.get("daemonset", "sonde-agent", "-n", "sonde")["spec"]["template"]["spec"]
        rights = pod["containers"][0]["securityContext"]
        self.assertEqual(rights["capabilities"], {"drop": ["ALL"], "add": ["BPF", "PERFMON", "NET_ADMIN"]})
        self.assertTrue(rights["readOnlyRootFilesystem"])
        self.assertFalse(rights["privileged"] or rights["allowPrivilegeEscalation"] or pod.get("hostPID") or pod.get("hostNetwork"))
        self.assertEqual(pod["nodeSelector"], {"kubernetes.io/os": "linux"})
        writable = [m["name"] for m in pod["containers"][0]["volumeMounts"] if not m.get("readOnly")]
        self.assertEqual(writable, ["state"])

        self.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}})
        sonde = self.agent("--export", "none", "--api-server", self.cluster.url, "--api-ca", self.cluster.ca,
                           "--api-token-file", self.cluster.token("sonde-agent", "sonde"), "--node-name", "node-1",
                           "--policy-cache", os.path.join(self.directory, "cache.jsonl"))
        self.cluster.apply({"apiVersion": "sonde.dev/v1alpha1", "kind": "ClusterMonitorPolicy", "metadata": {"name": "all"},
                            "spec": {"preset": "Minimal"}})

        def followed():
            status = json.loads(sonde.get("/statusz", local=True)[1])
            return "all" in [policy["name"] for policy in status["policies"]]
        wait_for(followed, 60, "the agent follows policies with the account of the manifests")
        self.assertEqual(sonde.stop(), 0)
        self.assertNotRegex(sonde.service.log(), "(?i)forbidden| 403")
