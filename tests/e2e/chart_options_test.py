# SPDX-License-Identifier: Apache-2.0
"""What the chart's values add: rendered by Helm, and installed into a real API server that has Prometheus Operator's CRDs."""

import json
import pathlib
import re
import shutil
import subprocess

from support import cluster, machine
from support.helm import CHART, HelmCase

ELSEWHERE = {"nodeSelectorTerms": [
    {"matchExpressions": [{"key": "pool", "operator": "Exists"}]},
    {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}]}
UNSUPPORTED = ["eks.amazonaws.com/compute-type", "type", "sandbox.gke.io/runtime"]

RULES = """groups:
  - name: sonde.alerts
    interval: 30s
    rules:
      - alert: SondeLoses
        expr: sum by (k8s_node_name) (rate(sonde_module_losses_total[5m])) > 0
        annotations: {summary: "{{ $labels.k8s_node_name }} loses {{ $value }} events"}
      - alert: SondeDown
        expr: up == 0
  - name: sonde.records
    rules: [{record: "sonde:io", expr: "sum(rate(sonde_file_io_bytes_total[5m]))"}]
"""
DASHBOARD = {"title": "Sonde", "panels": [{"targets": [{"expr": "up{job=~\"$job\"}", "legendFormat": "{{ instance }}"}]}]}

MONITOR = {"enabled": True, "labels": {"release": "prometheus"}, "annotations": {"a": "b"}, "interval": "15s", "scrapeTimeout": "10s",
           "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}],
           "metricRelabelings": [{"action": "labeldrop", "regex": "unused"}], "extraSpec": {"sampleLimit": 5000000}}
VOLUME, MOUNT = {"name": "extra", "emptyDir": {}}, {"name": "extra", "mountPath": "/extra"}
ENV = {"name": "EXTRA", "value": "1"}

# All that may be switched on at once.
EVERYTHING = {
    "commonLabels": {"team": "platform"},
    "config": {"export": {"to": ["otlp", "prometheus"]}},
    "policies": {"everything": {"spec": {"preset": "Minimal"}},
                 "web": {"namespace": "sonde", "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "preset": "Standard"}}},
    "agent": {"otlp": {"headers": {"existingSecret": "receiver"},
                       "tls": {"existingSecret": "receiver-tls", "certificate": "tls.crt", "key": "tls.key"}},
              "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": ELSEWHERE}},
              "dnsPolicy": "Default", "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]}, "extraEnv": [ENV],
              "extraEnvFrom": [{"secretRef": {"name": "more", "optional": True}}], "extraVolumes": [VOLUME], "extraVolumeMounts": [MOUNT],
              "initContainers": [{"name": "before", "image": "busybox"}], "extraContainers": [{"name": "more", "image": "busybox"}]},
    "service": {"annotations": {"a": "b"}, "labels": {"c": "d"}},
    "podMonitor": {**MONITOR, "nativeHistograms": False},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}, "disabled": ["SondeDown"],
                       "extraGroups": [{"name": "mine", "rules": [{"record": "a:b", "expr": "1"}]}]},
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Sonde"}},
    "networkPolicy": {"enabled": True, "scrapeFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
                      "egress": [{"ports": [{"port": 443}]}]},
    "collector": {"enabled": True, "otlphttp": {"endpoint": "https://receiver.example:4318", "headers": {"authorization": "${env:TOKEN}"}},
                  "config": {"service": {"telemetry": {"logs": {"level": "debug"}}}},
                  "podMonitor": {**MONITOR, "nativeHistograms": False}, "extraEnv": [{"name": "TOKEN", "value": "secret"}],
                  "extraVolumes": [VOLUME], "extraVolumeMounts": [MOUNT]},
    "operator": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": "50%"}}, "extraEnv": [ENV],
                 "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone",
                                                "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"a": "b"}}}],
                 "extraVolumes": [VOLUME], "extraVolumeMounts": [MOUNT], "podDisruptionBudget": {"enabled": True}},
    "resourceQuota": {"enabled": True},
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mine"}, "data": {"a": "{{ b }}"}},
                     "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-theirs'}\n"],
}


def with_files(directory):
    """The chart with rules of ours and one more dashboard."""
    chart = pathlib.Path(directory) / "chart"
    shutil.copytree(CHART, chart)
    for folder, name, text in (("rules", "sonde.yaml", RULES), ("dashboards", "Node_Overview.json", json.dumps(DASHBOARD, indent=2))):
        if folder == "rules":
            shutil.rmtree(chart / folder, ignore_errors=True)
        (chart / folder).mkdir(exist_ok=True)
        (chart / folder / name).write_text(text)
    return chart


class Rendered(HelmCase):
    def images(self, *sets):
        text = self.template("collector.enabled=true", *sets)
        return sorted(set(re.findall(r"(?m)^ +image: (\S+)$", text)))

    def test_images(self):
        """A registry in place of each image's own, digests, one mirror for all; Artifact Hub is told of the same ones."""
        usual = self.images()
        listed = re.findall(r"(?m)^      image: (\S+)$", (CHART / "Chart.yaml").read_text())
        self.assertEqual(sorted(listed), usual)
        self.assertEqual(self.images("global.imageRegistry=mirror.example/m"), sorted(f"mirror.example/m/{one}" for one in usual))
        text = self.images(*(f"{one}image.registry=own.example:5000/x" for one in ("", "collector.", "test.")), "global.imageRegistry=mirror.example")
        self.assertEqual(text, sorted("own.example:5000/x/" + one.split("/", 1)[1] for one in usual))
        digest = "sha256:" + "a" * 64
        pinned = self.images(*(f"{one}image.digest={digest}" for one in ("", "collector.", "test.")))
        self.assertEqual(pinned, sorted(re.sub(r":[^:/]+$", "@" + digest, one) for one in usual))

    def test_the_collector_is_the_one_that_is_tested(self):
        version = re.search(r"go.opentelemetry.io/collector/otelcol v(\S+)", (machine.REPOSITORY / "tests/e2e/tools/go.mod").read_text())
        self.assertIn(f"docker.io/otel/opentelemetry-collector:{version.group(1)}", self.images())

    def test_what_is_off_is_not_there(self):
        text = self.template("test.enabled=false")
        for gone in ("Monitor\n", "PrometheusRule", "NetworkPolicy", "grafana", "collector", "helm.sh/hook", "kind: Service\n", "policies.sonde.dev/v1"):
            self.assertNotIn(gone, text)
        self.assertNotIn("nodeAffinity", self.template("agent.unsupportedNodes=null", "test.enabled=false").split("kind: DaemonSet")[1].split("kind: Deployment")[0])

    def test_where_agents_send(self):
        for sets, address in (([], "http://$(HOST_IP):4317"), (["config.export.otlp.protocol=http/protobuf"], "http://$(HOST_IP):4318"),
                              (["collector.enabled=true"], "http://sonde-collector.sonde:4317"),
                              (["collector.enabled=true", "namespaceOverride=other", "config.export.otlp.protocol=http/protobuf"],
                               "http://sonde-collector.other:4318")):
            self.assertIn(f"- name: OTEL_EXPORTER_OTLP_ENDPOINT\n              value: {address}\n", self.template(*sets))

    def test_where_the_test_looks(self):
        """The Collector, else the agents, else the SondeNode, for which alone it has an account; without any there is no test."""
        for sets, source in (([], "SondeNode"), (["config.export.to={prometheus,otlp}"], "http://sonde-agent.sonde:18080/metrics"),
                             (["config.export.to={prometheus,otlp}", "collector.enabled=true"], "http://sonde-collector.sonde:8889/metrics")):
            text = self.template(*sets)
            self.assertIn(f'- {{name: SOURCE, value: "{source}"}}', text)
            self.assertEqual("resources: [sondenodes]\n    verbs: [get]" in text, source == "SondeNode")
            self.assertEqual("automountServiceAccountToken: false" in text.split("kind: Pod\n")[1], source != "SondeNode")
        for nowhere in ("config.kubernetes.report=false", "rbac.create=false"):
            self.assertNotIn("helm.sh/hook", self.template(nowhere))

    def test_notes_say_what_to_do_next(self):
        plain, tried = self.notes(), self.notes("collector.enabled=true", "collector.podMonitor.enabled=true")
        for text in (plain, tried):
            self.assertIn("helm test sonde --namespace sonde", text)
        self.assertIn("collector.enabled=true for a Collector to try it with", plain)
        self.assertIn("port-forward service/sonde-collector 8889", tried)
        self.assertIn("scrapes them by the PodMonitor sonde-collector", tried)
        self.assertIn("port-forward ds/sonde-agent 18080", self.notes("config.export.to={prometheus}"))
        self.assertNotIn("helm test", self.notes("test.enabled=false"))
        self.assertIn("dashboards.enabled=true", plain)
        self.assertNotIn("dashboards.enabled=true", self.notes("dashboards.enabled=true"))
        self.assertIn("not measured, since the default policy is disabled", self.notes("config.defaultPolicy.enabled=false"))


class Installed(HelmCase):
    def setUp(self):
        super().setUp()
        self.cluster = self.start(cluster.Cluster(self.directory).start())
        self.config = self.cluster.kubeconfig("admin", self.cluster.admin, self.cluster.admin_key)
        told = subprocess.run([machine.REPOSITORY / "tests/e2e/tools/operator_crds"], check=True, capture_output=True, text=True)
        crds = pathlib.Path(told.stdout.strip())
        names = ("podmonitors", "servicemonitors", "prometheusrules")
        self.cluster.kubectl("apply", "--server-side", *[f"--filename={crds}/monitoring.coreos.com_{name}.yaml" for name in names])
        self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", *[f"{name}.monitoring.coreos.com" for name in names])
        self.chart = with_files(self.directory)

    def try_to(self, verb, values):
        path = pathlib.Path(self.directory) / "values.json"
        path.write_text(json.dumps(values))
        return self.helm("--kubeconfig", self.config, verb, "sonde", self.chart, "--namespace=sonde", "--create-namespace", f"--values={path}")

    def get(self, kind, name):
        return self.cluster.get(kind, name, "-n", "sonde")

    def test_everything(self):
        """The API server takes each object, and has in it what the values say."""
        run = self.try_to("install", EVERYTHING)
        self.assertEqual(run.returncode, 0, run.stderr)
        told = re.sub(r"(?m)^I\d{4} .*$", "", run.stderr)  # Kubernetes' client says when a watch of its own ends
        self.assertNotIn("warn", told.lower())
        self.assert_monitors()
        self.assert_rules_and_dashboards()
        self.assert_pods()
        self.assert_network_policies()
        self.assertEqual(self.get("configmap", "mine")["data"], {"a": "{{ b }}"})
        self.assertEqual(self.get("configmap", "sonde-theirs")["metadata"]["namespace"], "sonde")
        self.assertEqual(self.cluster.get("cmpol", "everything")["spec"]["preset"], "Minimal")
        self.assertEqual(self.get("mpol", "web")["metadata"]["labels"]["team"], "platform")
        self.assert_test_is_unprivileged()
        self.assert_service_monitor()

    def assert_monitors(self):
        for name, port, component in (("sonde-agent", "http", "agent"), ("sonde-collector", "prometheus", "collector")):
            monitor = self.get("podmonitor", name)
            self.assertEqual(monitor["metadata"]["labels"]["release"], "prometheus")
            spec = monitor["spec"]
            self.assertEqual(spec["namespaceSelector"], {"matchNames": ["sonde"]})
            self.assertEqual(spec["selector"]["matchLabels"]["app.kubernetes.io/component"], component)
            self.assertEqual((spec["scrapeProtocols"][0], spec["sampleLimit"]), ("PrometheusProto", 5000000))
            endpoint, = spec["podMetricsEndpoints"]
            self.assertEqual({key: endpoint[key] for key in ("port", "path", "honorLabels", "interval", "scrapeTimeout")},
                             {"port": port, "path": "/metrics", "honorLabels": True, "interval": "15s", "scrapeTimeout": "10s"})
            self.assertEqual((len(endpoint["relabelings"]), len(endpoint["metricRelabelings"])), (1, 1))

    def assert_service_monitor(self):
        """In the PodMonitor's place, in the namespace of the Prometheus; an operator that is too old for native histograms says which
        field it lacks."""
        self.cluster.kubectl("create", "namespace", "monitoring")
        values = {**EVERYTHING, "podMonitor": {"enabled": False}, "serviceMonitor": {**MONITOR, "nativeHistograms": False, "namespace": "monitoring"}}
        run = self.try_to("upgrade", values)
        self.assertEqual(run.returncode, 0, run.stderr)
        spec = self.cluster.get("servicemonitor", "sonde-agent", "-n", "monitoring")["spec"]
        labels = self.get("service", "sonde-agent")["metadata"]["labels"]
        self.assertLess(spec["selector"]["matchLabels"].items(), labels.items())
        self.assertEqual((spec["namespaceSelector"], spec["endpoints"][0]["port"]), ({"matchNames": ["sonde"]}, "http"))
        self.assertEqual(self.cluster.kubectl("get", "podmonitor", "sonde-agent", "-n", "sonde", check=False).returncode, 1)
        run = self.try_to("upgrade", {**values, "serviceMonitor": {**MONITOR, "nativeHistograms": True}})
        self.assertIn("scrapeNativeHistograms", run.stderr)

    def assert_rules_and_dashboards(self):
        groups = {group["name"]: group for group in self.get("prometheusrule", "sonde")["spec"]["groups"]}
        self.assertEqual(set(groups), {"sonde.alerts", "sonde.records", "mine"})
        self.assertEqual([rule["alert"] for rule in groups["sonde.alerts"]["rules"]], ["SondeLoses"])
        self.assertEqual(groups["sonde.alerts"]["interval"], "30s")
        self.assertEqual(groups["sonde.alerts"]["rules"][0]["annotations"]["summary"], "{{ $labels.k8s_node_name }} loses {{ $value }} events")
        board = self.get("configmap", "sonde-dashboard-node-overview")
        self.assertEqual(json.loads(board["data"]["Node_Overview.json"]), DASHBOARD)
        for path in (CHART / "dashboards").glob("*.json"):
            data = self.get("configmap", f"sonde-dashboard-{path.stem}")["data"]
            self.assertEqual(data[path.name].strip(), path.read_text().strip(), path.name)
        self.assertEqual(board["metadata"]["labels"]["grafana_dashboard"], "1")
        self.assertEqual(board["metadata"]["annotations"]["grafana_folder"], "Sonde")

    def assert_pods(self):
        agent = self.get("daemonset", "sonde-agent")["spec"]["template"]
        self.assertEqual(agent["metadata"]["labels"]["team"], "platform")
        spec = agent["spec"]
        terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        keys = [[one["key"] for one in term["matchExpressions"]] for term in terms]
        self.assertEqual(keys, [["pool", *UNSUPPORTED], UNSUPPORTED])
        self.assertEqual(terms[1]["matchFields"], ELSEWHERE["nodeSelectorTerms"][1]["matchFields"])
        container = spec["containers"][0]
        env = {one["name"]: one for one in container["env"]}
        self.assertEqual(env["SONDE_OTLP_HEADERS"]["valueFrom"], {"secretKeyRef": {"name": "receiver", "key": "headers"}})
        for variable, file in (("CA", "ca.crt"), ("CERTIFICATE", "tls.crt"), ("KEY", "tls.key")):
            self.assertEqual(env[f"SONDE_OTLP_{variable}"]["value"], f"/etc/sonde-tls/{file}")
        self.assertEqual(len([one for one in spec["volumes"] if one["name"] in ("otlp-tls", "extra")]), 2)
        self.assertEqual((spec["dnsPolicy"], spec["dnsConfig"]["options"][0]["name"], spec["initContainers"][0]["name"], spec["containers"][1]["name"]),
                         ("Default", "ndots", "before", "more"))
        self.assertIn("EXTRA", env)
        self.assertIn("secretRef", container["envFrom"][0])
        # No option gives the agent more rights than it has without any.
        self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"], "add": ["BPF", "PERFMON", "NET_ADMIN"]})
        operator = self.get("deployment", "sonde-operator")["spec"]
        self.assertEqual(operator["strategy"]["rollingUpdate"], {"maxSurge": 1, "maxUnavailable": "50%"})
        self.assertEqual(len(operator["template"]["spec"]["topologySpreadConstraints"]), 1)
        for name in ("sonde-operator", "sonde-collector"):
            pod = self.get("deployment", name)["spec"]["template"]["spec"]
            self.assertIn("/extra", [one["mountPath"] for one in pod["containers"][0]["volumeMounts"]])
            self.assertIn("extra", [one["name"] for one in pod["volumes"]])

    def assert_network_policies(self):
        spec = self.get("networkpolicy", "sonde-agent")["spec"]
        self.assertEqual((spec["policyTypes"], spec["egress"]), (["Ingress", "Egress"], [{"ports": [{"port": 443, "protocol": "TCP"}]}]))
        spec = self.get("networkpolicy", "sonde-collector")["spec"]
        otlp, scrape = spec["ingress"]
        self.assertEqual(otlp["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "agent")
        self.assertEqual(scrape["from"][1]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "test")
        self.assertNotIn("ingress", self.get("networkpolicy", "sonde-operator")["spec"])

    def assert_test_is_unprivileged(self):
        """Its pod, and those of operator and Collector, are let into a namespace in which everything is forbidden that can be."""
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {
            "name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}}})
        for sets in ((), ("config.export.to={prometheus}",), ("collector.enabled=true",)):
            text = self.template(*sets, "namespaceOverride=strict")
            documents = [one for one in re.split(r"(?m)^---$", text) if re.search(r"(?m)^kind: (Pod|Deployment|DaemonSet|MonitorPolicy)$", one)]
            for one in documents:
                run = self.cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=one)
                self.assertEqual("would violate PodSecurity" in run.stderr, "kind: DaemonSet" in one, run.stderr)
            self.assertEqual(sum("kind: Pod\n" in one for one in documents), 1)
