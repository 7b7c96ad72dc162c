# SPDX-License-Identifier: Apache-2.0
"""The chart's Collector with the configuration that Helm renders, and `helm test`: a real API server, Collector, agent and Prometheus;
the pods are cgroups, and this scenario does for them what scheduler and kubelet would."""

import json
import os
import pathlib
import re
import subprocess
import urllib.request

from support import cluster, machine, otlp
from support.helm import CHART, HelmCase
from support.in_cluster import NODE, FakePod
from support.machine import wait_for
from support.receivers import Collector, Prometheus

ROUNDS, SIZE, FSYNCS = 2000, 4096, 7
WEB = ("default", "web", "main")
SAMPLE = re.compile(r'^(\w+)\{(.*)\} (\S+)$', re.MULTILINE)


def series(text, pod):
    """{(name, labels): value} of a pod. Buckets are left out: in text formats, native histograms have none."""
    found = {}
    for name, labels, value in SAMPLE.findall(text):
        if f'k8s_pod_name="{pod}"' in labels and not name.endswith("_bucket"):
            found[name, frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))] = float(value)
    return found


class ChartCollector(HelmCase):
    def setUp(self):
        super().setUp()
        self.cluster = self.start(cluster.Cluster(self.directory).start())
        self.config = self.cluster.kubeconfig("admin", self.cluster.admin, self.cluster.admin_key)
        self.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
        self.grpc, self.http, self.prometheus, self.health = (machine.free_port() for _ in range(4))
        self.next = self.start(Collector(self.directory)).start()
        self.seen = set()

    def helmed(self, *argv):
        run = self.helm("--kubeconfig", self.config, *argv)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def values(self, enabled):
        """Everything on loopback, on ports of its own, by collector.config."""
        path = pathlib.Path(self.directory) / "values.json"
        path.write_text(json.dumps({"collector": {
            "enabled": enabled, "otlphttp": {"endpoint": f"http://127.0.0.1:{self.next.http}"}, "config": {
                "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{self.grpc}"},
                                                     "http": {"endpoint": f"127.0.0.1:{self.http}"}}}},
                "exporters": {"prometheus": {"endpoint": f"127.0.0.1:{self.prometheus}"}},
                "extensions": {"health_check": {"endpoint": f"127.0.0.1:{self.health}"}}}}}))
        return f"--values={path}"

    def start_collector(self):
        """With what is in the ConfigMap, once the Collector itself has called that valid."""
        path = pathlib.Path(self.directory) / "chart-collector.yaml"
        path.write_text(self.cluster.get("configmap", "sonde-collector", "-n", "sonde")["data"]["collector.yaml"])
        run = subprocess.run([machine.tool("collector"), "validate", f"--config={path}"], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        service = machine.Service(self.directory, "chart-collector", [machine.tool("collector"), f"--config={path}"])
        self.ending(service, service.kill)
        # The address of its probes.
        service.wait_until(lambda: self.answers(self.health, "/"), 60, "the Collector is healthy")
        self.assertNotIn("deprecated", service.log())

    def answers(self, port, path):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30).status == 200
        except OSError:
            return False

    def shown(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.prometheus}/metrics", timeout=30) as answer:
            return answer.read().decode()

    def test_data_and_helm_test(self):
        self.helmed("install", "sonde", CHART, "--namespace=sonde", "--create-namespace", self.values(True))
        self.start_collector()
        self.sonde = self.agent(
            "--export", "otlp", "--otlp-endpoint", f"http://127.0.0.1:{self.grpc}", "--otlp-compression", "gzip", "--promote", "true",
            "--interval", "1s", "--api-server", self.cluster.url, "--api-ca", self.cluster.ca, "--node-name", NODE,
            "--api-token-file", self.cluster.token("sonde-agent", "sonde"), "--policy-cache", os.path.join(self.directory, "cache.jsonl"))
        self.assert_data()
        self.assert_helm_test("http://sonde-collector.sonde:8889/metrics", f"http://127.0.0.1:{self.prometheus}/metrics")
        self.assert_test_can_fail()
        self.helmed("upgrade", "sonde", CHART, "--namespace=sonde", self.values(False))
        self.assert_helm_test("SondeNode", "SondeNode")

    def assert_data(self):
        """Port 8889 has what the agent itself serves, under the same names; native histograms by protobuf; what is passed on is the same."""
        pod = FakePod(self, "web", {"app": "web"})
        pod.tell()
        pod.work(ROUNDS, FSYNCS)
        name = "sonde_file_io_bytes_total"

        def read():
            return [value for (metric, labels), value in series(self.shown(), "web").items()
                    if metric == name and ("disk_io_direction", "read") in labels]
        wait_for(lambda: read() == [ROUNDS * SIZE], 60, "what was read is at port 8889")
        ours, theirs = series(self.shown(), "web"), series(self.sonde.get("/metrics", local=True)[1], "web")
        self.assertEqual(set(ours), set(theirs))
        self.assertGreater(len(ours), 10)
        labels = dict(next(labels for metric, labels in ours if metric == name))
        wanted = {"k8s_namespace_name": "default", "k8s_pod_name": "web", "k8s_container_name": "main", "k8s_node_name": NODE,
                  "k8s_pod_label_app": "web"}
        self.assertEqual({key: labels.get(key) for key in wanted}, wanted)
        self.assertRegex(labels["instance"], r"^default\.web\.main\b")
        prometheus = self.start(Prometheus(self.directory, self.prometheus))
        fsyncs = 'sonde_file_operation_duration_seconds{k8s_pod_name="web",sonde_file_operation="fsync"}'
        wait_for(lambda: prometheus.number(f"histogram_count({fsyncs})") == FSYNCS, 60, "Prometheus has a native histogram")
        self.assertGreater(prometheus.number(f"histogram_quantile(0.5, {fsyncs})"), 0)
        passed = otlp.Metrics.read(self.next.file).total("sonde.file.io", WEB, disk__io__direction="read")
        self.assertEqual(passed, ROUNDS * SIZE)

    def assert_helm_test(self, source, instead):
        """`helm test` makes the pod; its command is run in its cgroup, with its environment."""
        words = ["--kubeconfig", self.config, "test", "sonde", "--namespace=sonde", "--timeout=280s"]
        homes = {f"HELM_{home}_HOME": self.directory for home in ("CACHE", "CONFIG", "DATA")}
        with subprocess.Popen([machine.tool("helm"), *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={**os.environ, **homes}) as running:
            try:
                pod = wait_for(self.new_test_pod, 60, "helm makes the pod")
                run = self.run_test(pod, source, instead)
                self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
                self.result.note(run.stdout.strip())
                self.assertIn("helm test: OK", run.stdout)
                out, _ = running.communicate(timeout=120)
            finally:
                running.kill()
        self.assertEqual(running.returncode, 0, out)
        self.assertRegex(out, r"Phase:\s+Succeeded")
        left = self.cluster.kubectl("get", "pod,configmap,mpol,serviceaccount,clusterrole,clusterrolebinding", "-A", "-o", "name",
                                    "-l", "app.kubernetes.io/component=test").stdout
        self.assertEqual(left, "", "the test cleans up after itself")

    def new_test_pod(self):
        pods = self.cluster.get("pod", "-n", "sonde", "-l", "app.kubernetes.io/component=test")["items"]
        return next((pod for pod in pods if pod["metadata"]["uid"] not in self.seen), None)

    def run_test(self, pod, source, instead):
        meta, container = pod["metadata"], pod["spec"]["containers"][0]
        self.seen.add(meta["uid"])
        self.cluster.rest("POST", f"/api/v1/namespaces/sonde/pods/{meta['name']}/binding", {
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"]}, "target": {"kind": "Node", "name": NODE}})
        fake = FakePod(self, meta["name"], {}, "sonde", container["name"], uid=meta["uid"])
        fake.tell()
        fields = {"metadata.name": meta["name"], "metadata.namespace": "sonde", "spec.nodeName": NODE}
        self.env = {one["name"]: one.get("value") or fields[one["valueFrom"]["fieldRef"]["fieldPath"]] for one in container["env"]}
        self.assertEqual(self.env["SOURCE"], source)
        account = pathlib.Path(self.directory) / "account"
        account.mkdir(exist_ok=True)
        if source == "SondeNode":  # the account that the hook has made, with its rights
            (account / "token").write_text(pathlib.Path(self.cluster.token(pod["spec"]["serviceAccountName"], "sonde")).read_text())
            (account / "ca.crt").write_text(pathlib.Path(self.cluster.ca).read_text())
        else:
            self.assertFalse(pod["spec"]["automountServiceAccountToken"])
        self.env.update(SOURCE=instead, DIRECTORY=self.directory, ACCOUNT=str(account), API=self.cluster.url, PATH=os.environ["PATH"])
        self.script = os.path.join(self.directory, "test.sh")
        pathlib.Path(self.script).write_text(self.cluster.get("configmap", "sonde-test", "-n", "sonde")["data"]["test.sh"])
        self.assertEqual(container["command"], ["sh", "/test/test.sh"])
        run = subprocess.run(["sh", "-c", 'echo $$ >"$1/cgroup.procs"; exec sh "$2"', "sh", fake.group.directory, self.script], env=self.env,
                             capture_output=True, text=True, timeout=300)
        over = {"terminated": {"exitCode": run.returncode, "containerID": f"containerd://{fake.id}"}}
        fake.tell("Failed" if run.returncode else "Succeeded", over)
        return run

    def assert_test_can_fail(self):
        """With a pod that nobody measures, and without the Collector, it ends with what it saw last."""
        for env, seen in (({"POD_NAME": "nobody"}, "it answers, and has no series of this pod"),
                          ({"SOURCE": f"http://127.0.0.1:{machine.free_port()}/metrics"}, "curl: (7)"),
                          ({"BYTES": "1048576"}, "more than were written")):
            run = subprocess.run(["sh", self.script], env={**self.env, "TIMEOUT": "1", **env}, capture_output=True, text=True, timeout=60)
            self.assertEqual(run.returncode, 1, run.stdout)
            self.assertIn("FAILED", run.stdout)
            self.assertIn(seen, run.stdout)
