# SPDX-License-Identifier: Apache-2.0
"""The Helm chart and the manifests rendered from it, against Helm and a real API server."""

import json
import os
import pathlib
import re
import shutil
import subprocess

from support import agent, cluster, machine
from support.case import Case
from support.helm import CHART, HelmCase
from support.machine import wait_for

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
    ("an output that is none", ["config.export.to={otel}"], "value must be one of 'otlp', 'prometheus', 'file', 'none'"),
    ("an output in a text", ["config.export.to=otel"], "'otel' does not match pattern"),
    ("a port of an address", ["config.listen.httpLocal=127.0.0.1:99999"], "'127.0.0.1:99999' does not match pattern"),
    ("an address for everybody", ["config.listen.grpc=0.0.0.0:19090"], "'0.0.0.0:19090' does not match pattern"),
    ("a port of a receiver", ["config.export.otlp.endpoint=http://collector:99999"], "'/config/export/otlp/endpoint': 'not' failed"),
    ("a probe", ["config.defaultPolicy.probes={io,disk}"], "'/config/defaultPolicy/probes/1': value must be one of 'all'"),
    ("a surge without a lock", ["agent.stateDirectory=", "agent.updateStrategy.rollingUpdate.maxSurge=1"],
     "maxSurge needs agent.stateDirectory"),
    ("a key of a list's item", ["agent.unsupportedNodes[0].key=a", "agent.unsupportedNodes[0].operator=Not"],
     "'/agent/unsupportedNodes/0/operator': value must be one of 'In', 'NotIn'"),
    ("a policy without spec", ["policies.all.preset=Minimal"], "at '/policies/all': missing property 'spec'"),
    ("an interval of Prometheus", ["podMonitor.interval=30 s"], "'30 s' does not match pattern"),
    ("a tag for a digest", ["collector.image.digest=0.165.0"], "'0.165.0' does not match pattern"),
    ("no receiver", ["collector.otlphttp.endpoint=receiver:4318"], "'receiver:4318' does not match pattern"),
    ("monitors of nothing", ["podMonitor.enabled=true"], "podMonitor.enabled needs prometheus in config.export.to"),
    ("a Service without port", ["serviceMonitor.enabled=true"], "serviceMonitor.enabled needs prometheus in config.export.to"),
    ("two monitors", ["config.export.to={prometheus}", "podMonitor.enabled=true", "serviceMonitor.enabled=true"],
     "only one of them, or every series is scraped twice"),
    ("a Collector that nobody sends to", ["collector.enabled=true", "config.export.to=prometheus"], "collector.enabled needs otlp"),
    ("two receivers", ["collector.enabled=true", "config.export.otlp.endpoint=http://elsewhere:4317"],
     "set collector.otlphttp.endpoint to pass everything on"),
    ("series without names", ["collector.enabled=true", "config.export.promote=false"], "collector.enabled needs config.export.promote"),
    ("a monitor without Collector", ["collector.podMonitor.enabled=true"], "collector.podMonitor.enabled needs collector.enabled"),
    ("half a client certificate", ["agent.otlp.tls.existingSecret=a", "agent.otlp.tls.key=tls.key"],
     "a client certificate needs both `certificate` and `key`"),
    ("a unit of Kubernetes", ["config.export.otlp.queue.memory=64Mi"], "'64Mi' does not match pattern"),
]

# Values that Helm itself or a parent chart puts there.
NOT_OURS = ["global.other=1", "global.storageClass.name=x", "global.imagePullSecrets={one}", "enabled=true", "global=null"]

# Whole numbers beyond a million, wherever the chart takes a number: in a values file Helm reads them as floating point.
BIG = """
config:
  export: {otlp: {maxRequest: 10485760, queue: {memory: 33554432}}, file: {maxBytes: 104857600}}
  limits: {seriesPerNode: 10000000}
  overhead: {milliCpu: 1000000}
agent:
  terminationGracePeriodSeconds: 3600
  resources: {requests: {memory: 167772160}, limits: {memory: 1073741824, ephemeral-storage: 10737418240}}
  tolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: 10485760}]
  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 2000000}}
  extraVolumes: [{name: scratch, emptyDir: {sizeLimit: 10485760}}]
operator:
  resources: {limits: {memory: 134217728}}
  podDisruptionBudget: {enabled: true, maxUnavailable: 3000000}
resourceQuota: {enabled: true, pods: 5000000}
"""

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


class Helm(HelmCase):
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
                self.assertIn(message, self.refused(*sets))

    def test_values_that_are_not_ours(self):
        """What a parent chart shares with all its charts is left alone."""
        for one in NOT_OURS:
            self.template(one)
        text = self.template("global.imagePullSecrets={one}", "imagePullSecrets[0].name=two", "global.imageRegistry=mirror.example")
        self.assertEqual(text.count("- name: one\n"), 3)  # agent, operator, test
        self.assertEqual(text.count("- name: two\n"), 3)
        self.assertIn("image: mirror.example/ghcr.io/sonde/sonde:", text)

    def test_as_part_of_another_chart(self):
        """With a condition, and with global values of others; ours are checked as strictly there."""
        parent = pathlib.Path(self.directory) / "parent"
        shutil.copytree(CHART, parent / "charts/sonde")
        (parent / "Chart.yaml").write_text("apiVersion: v2\nname: parent\nversion: 1.0.0\ndependencies:\n"
                                           "  - {name: sonde, version: 0.1.0, condition: sonde.enabled}\n")
        (parent / "values.yaml").write_text("global: {domain: example, imageRegistry: mirror.example}\n"
                                            "sonde: {enabled: true, agent: {port: 18081}}\n")
        for sets, there in (([], True), (["sonde.enabled=false"], False)):
            run = self.helm("template", "release", parent, *[f"--set={one}" for one in sets])
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual("image: mirror.example/ghcr.io/sonde/sonde:" in run.stdout, there)
            self.assertEqual("containerPort: 18081" in run.stdout, there)
        run = self.helm("template", "release", parent, "--set=sonde.agnet.port=1")
        self.assertNotEqual(run.returncode, 0)
        self.assertIn("additional properties 'agnet' not allowed", run.stderr)

    def big_numbers(self):
        path = pathlib.Path(self.directory) / "big.yaml"
        path.write_text(BIG)
        return path

    def test_whole_numbers_stay_whole(self):
        text = self.template(files=[self.big_numbers()])
        self.assertEqual(re.findall(r"(?m)^.*[ :\"][0-9.]+e[+-]?[0-9]+\b.*$", text), [])
        for number in (10485760, 33554432, 104857600, 10000000, 1073741824, 10737418240, 2000000, 3000000, 5000000):
            self.assertRegex(text, rf"\b{number}\b")

    def test_the_agent_reads_its_configuration(self):
        """What the ConfigMap holds is what the agent takes; here /host is not mounted."""
        for sets, files in (([], []), ([], [self.big_numbers()]), (
                ["config.export.otlp.endpoint=https://collector.example:4317", "config.export.to={otlp,prometheus}",
                 "config.limits.subjects=8192", "config.identity.source=apiServer", "agent.port=9999",
                 "config.defaultPolicy.outsideContainers=true", "config.defaultPolicy.probes=io\\,sched"], [])):
            text = self.template(*sets, files=files)
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
        text = self.template("operator.enabled=false", "rbac.apiServerPods=false", "agent.stateDirectory=",
                             "agent.podsApiDirectory=", "rbac.aggregate=false", "agent.capabilities={SYSLOG}", "config.kubernetes.report=false",
                             "image.digest=sha256:" + "0" * 64, "global.imageRegistry=mirror.example/m")
        for gone in ("sonde-operator", "path: /sys/kernel,", "pods-api", "aggregate-to", "kind: ResourceQuota", "resources: [pods]", "path: /var/lib/sonde", "sondenodes/status"):
            self.assertNotIn(gone, text)
        self.assertRegex(text, r"resources: \[sondenodes\]\n +verbs: \[delete\]")
        self.assertIn('add: ["BPF","PERFMON","SYSLOG"]', text)
        self.assertIn('add: ["BPF","PERFMON"]', self.template("agent.capabilities=null"))
        self.assertRegex(text, r"policyCache: /var/lib/sonde/policies.jsonl\n +report: false")
        self.assertIn("image: mirror.example/m/ghcr.io/sonde/sonde@sha256:000", text)
        pinned = r"name: SONDE_KUBELET_PIN\n +value: /var/lib/kubelet/pki/k.crt\n"
        self.assertRegex(self.template("agent.kubeletCertificate=/k/k.crt"), pinned)
        self.assertNotRegex(self.template("agent.kubeletCertificate=/k/k.crt", "config.kubelet.pinFile=/p/k.crt"), pinned)
        self.assertIn("rollingUpdate: {maxSurge: 10%, maxUnavailable: 0}", self.template())
        self.assertIn("rollingUpdate: {maxSurge: 0, maxUnavailable: 10%}", text)  # without stateDirectory
        self.assertIn("type: OnDelete", self.template("agent.updateStrategy.type=OnDelete"))
        self.assertIn("kind: PodDisruptionBudget", self.template("operator.podDisruptionBudget.enabled=true"))
        for word in ("privileged: true", "hostPID: true", "hostNetwork: true", "SYS_ADMIN"):
            self.assertNotIn(word, text)


    def test_nothing_optional_keeps_a_pod_from_starting(self):
        """Of the host only /proc, /sys/kernel and the cgroup tree must be there, as on every node; what else is mounted is made where
        it is missing. Files are not mounted: a kubelet finds it wrong if one is made."""
        for sets, wanted in (([], {"state", "pods-api"}), (["agent.tracefs=true", "agent.kubeletCertificate=/k/k.crt"],
                                                           {"state", "pods-api", "tracefs", "kubelet-certificate"})):
            text = self.template(*sets)
            volumes = {name: (path, kind) for name, path, kind in
                       re.findall(r"- name: (\S+)\n +hostPath: \{path: (\S+), type: (\S+)\}", text)}
            self.assertEqual(len(volumes), text.count("hostPath:"))
            self.assertEqual(volumes.pop("proc"), ("/proc", "Directory"))
            self.assertEqual(volumes.pop("cgroup"), ("/sys/fs/cgroup", "Directory"))
            self.assertEqual(set(volumes), wanted)
            # sysfs has it by itself. Nothing can be made there.
            self.assertEqual(volumes.pop("tracefs", ("/sys/kernel", '""')), ("/sys/kernel", '""'))
            self.assertEqual({kind for _, kind in volumes.values()}, {"DirectoryOrCreate"})
        self.assertEqual(volumes["kubelet-certificate"][0], "/k")
        self.assertIn("mountPath: /sys/kernel, readOnly: true, recursiveReadOnly: IfPossible}", text)
        self.assertIn("mountPath: /var/lib/kubelet/pki, readOnly: true}", text)

    def test_notes_claim_nothing_that_has_not_happened(self):
        self.assertNotRegex(self.notes(), r"counts on every|is running|now")
        self.assertIn("describe daemonset/sonde-agent", self.notes())
        self.assertIn("resourceQuota.enabled=true", self.notes())
        for there in (self.notes("resourceQuota.enabled=true"), self.notes("agent.priorityClassName="), self.notes(namespace="kube-system")):
            self.assertNotIn("GKE", there)


class Installed(Case):
    def setUp(self):
        super().setUp()
        self.cluster = self.start(cluster.Cluster(self.directory).start())

    def may(self, account):
        """Beside what every service account may: asking about itself, looking at what the API has and at who signs certificates."""
        listed = self.cluster.kubectl("auth", "can-i", "--list", "-n", "sonde", f"--as=system:serviceaccount:sonde:{account}",
                                      "--as-group=system:authenticated", "--as-group=system:serviceaccounts").stdout
        found = {}
        for line in listed.splitlines()[1:]:
            fields = re.match(r"^(\S*)\s+\[(.*?)\]\s+\[(.*?)\]\s+\[(.*?)\]$", line).groups()
            resource, urls, names, verbs = fields
            if not resource or resource.startswith(("selfsubject", "clustertrustbundles.")):
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
