# SPDX-License-Identifier: Apache-2.0
"""The dashboards and rules of the chart: Grafana's schema, promtool, and each query with data of a real agent."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import uuid

from support import agent, machine
from support.case import Case
from support.certificates import Authority
from support.fake_kubelet import FakeKubelet
from support.machine import wait_for
from support.receivers import Collector, Prometheus

DASHBOARDS = sorted((machine.REPOSITORY / "charts/sonde/dashboards").glob("*.json"))
RULES = sorted((machine.REPOSITORY / "charts/sonde/rules").glob("*.yaml"))
RUNBOOKS = machine.REPOSITORY / "docs/ops/runbooks"
TESTS_OF_RULES = sorted((machine.REPOSITORY / "tests/e2e/rules").glob("*.yaml"))

# What a user chooses: the pods of one application, by its label.
CHOSEN = {"datasource": "prometheus", "cluster": ".*", "node": ".*", "namespace": "shop", "workload": ".*",
          "label": "k8s_pod_label_app", "label_value": "web", "container": ".*", "pod": "web-0",
          "sidecar": ".*(sidecar|proxy).*", "__rate_interval": "20s",
          "__range": "60s"}

V2 = "cgroups of version 2 do not have the cpu controller here, so they have no quota"
CPUFREQ = "this machine has no cpufreq"
WELL = "every probe runs with all of its programs"

POLICY = """apiVersion: sonde.dev/v1alpha1
kind: ClusterMonitorPolicy
metadata: {name: e2e}
spec:
  preset: Detailed
  probes:
    - {name: sched, level: Detailed, includeMetrics: [sonde.irq.time, sonde.cpu.frequency]}
  collection: {periodSeconds: 1}
  attributes: {podLabels: [app]}
"""


def every_panel(board):
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def queries():
    """(dashboard, panel, query) of all panels."""
    for path in DASHBOARDS:
        for panel in every_panel(json.loads(path.read_text())):
            for target in panel.get("targets", []):
                yield path.stem, panel["title"], target["expr"]


def filled(query):
    """With the variables' values in place."""
    return re.sub(r"\$(\w+)", lambda name: CHOSEN[name[1]], query)


def of_rules(kind):
    """[(name, expression)] of all rules of a kind: alert or record. Their files are plain enough to be read by lines."""
    found = []
    for path in RULES:
        for rule in re.split(r"^ {6}- ", path.read_text(), flags=re.M)[1:]:
            name = re.match(rf"{kind}: (\S+)\n", rule)
            if name:
                expression = re.search(r"^ {8}expr: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", rule, re.M)
                found.append((name[1], (expression[1] or expression[2]).strip()))
    return found


def printed():
    """[(page, query)] of the runbooks."""
    return [(path.name, query.strip()) for path in sorted(RUNBOOKS.glob("*.md"))
            for query in re.findall(r"^```promql\n(.*?)^```", path.read_text(), re.M | re.S)]


class Files(Case):
    def test_dashboards_have_the_form_that_grafana_reads(self):
        self.assertGreaterEqual(len(DASHBOARDS), 5)
        build = subprocess.run([machine.REPOSITORY / "tests/e2e/tools/grafana/build"], capture_output=True, text=True)
        self.assertEqual(build.returncode, 0, build.stderr)
        check = [build.stdout.strip()]
        run = subprocess.run([*check, *map(str, DASHBOARDS)], capture_output=True, text=True)
        self.assertEqual((run.returncode, run.stdout), (0, ""), run.stderr)
        wrong = pathlib.Path(self.directory) / "wrong.json"
        wrong.write_text(DASHBOARDS[0].read_text().replace('"templating"', '"templates"'))
        run = subprocess.run([*check, str(wrong)], capture_output=True, text=True)
        self.assertEqual(run.returncode, 1)
        self.assertRegex(run.stdout, "templates")

    def test_each_panel_says_what_it_shows(self):
        for path in DASHBOARDS:
            board = json.loads(path.read_text())
            self.assertEqual(board["uid"], path.stem)
            panels = [panel for panel in every_panel(board) if panel["type"] not in ("row", "text")]
            self.assertEqual([panel["title"] for panel in panels if not panel["description"]], [], path.stem)
            numbers = [panel["id"] for panel in every_panel(board)]
            self.assertEqual(len(numbers), len(set(numbers)))
        for board, title, query in queries():
            self.assertNotIn("target_info", query)
            self.assertRegex(query, r"=~\"\$cluster\"", f"{board}: {title} does not heed the chosen cluster")

    def test_rules(self):
        """promtool takes the rules and their tests; each alert has a test in which it fires, and a runbook."""
        for command in (["check", "rules", *map(str, RULES)], ["test", "rules", *map(str, TESTS_OF_RULES)]):
            run = subprocess.run([machine.tool("promtool"), *command], capture_output=True, text=True)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        alerts = [name for name, _ in of_rules("alert")]
        self.assertGreater(len(alerts), 10)
        tested = "".join(path.read_text() for path in TESTS_OF_RULES)
        boards = {path.stem for path in DASHBOARDS}
        rules = "".join(path.read_text() for path in RULES)
        groups = re.findall(r"^ {2}- name: (\S+)$", rules, re.M)
        self.assertEqual(len(groups), len(set(groups)), "the chart makes one PrometheusRule of them, in which names are unique")
        for name in alerts:
            self.assertRegex(tested, rf"alertname: {name}\n +exp_alerts:\n")
            self.assertTrue((RUNBOOKS / f"{name}.md").exists(), f"{name} has no runbook")
            self.assertIn(f"/docs/ops/runbooks/{name}.md", rules)
        self.assertEqual({path.stem for path in RUNBOOKS.glob("Sonde*.md")}, set(alerts), "a runbook without an alert")
        self.assertLessEqual(set(re.findall(r"/d/([\w-]+)", rules)), boards)
        self.assertEqual(rules.count("dashboard: "), len(alerts))


class WithData(Case):
    def setUp(self):
        super().setUp()
        self.busy = []
        self.slice = f"sonde-e2e-{os.getpid()}-kubepods.slice"
        self.ending(None, self.remove_slices)
        authority = Authority(self.directory)
        self.kubelet = self.start(FakeKubelet(*authority.issue("kubelet", "IP:127.0.0.1"), self.pods()))
        self.identity = ("--identity-source", "kubelet", "--kubelet", f"127.0.0.1:{self.kubelet.port}", "--kubelet-tls", "ca",
                         "--kubelet-ca", authority.certificate, "--kubelet-token-file", os.path.join(self.directory, "token"))
        pathlib.Path(self.directory, "token").write_text("none")

    def pods(self):
        """A pod of a StatefulSet with a sidecar: its cgroups, what works in them, and what a kubelet says of it."""
        uid = str(uuid.uuid4())
        statuses = []
        for container in ("main", "log-sidecar"):
            identity = uuid.uuid4().hex * 2
            parent = f"{self.slice}/kubepods-burstable-pod{uid.replace('-', '_')}.slice"
            group = machine.Cgroup(f"{parent}/cri-containerd-{identity}.scope")
            self.ending(group, group.remove)
            statuses.append({"name": container, "containerID": f"containerd://{identity}", "image": "none", "imageID": "none",
                             "ready": True, "restartCount": 0, "state": {"running": {}}, "lastState": {}})
            self.busy.append(group)
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": str(uuid.uuid4()), "controller": True}
        pod = {"metadata": {"name": "web-0", "namespace": "shop", "uid": uid, "labels": {"app": "web"},
                            "ownerReferences": [owner]},
               "spec": {"nodeName": "node-1", "containers": [{"name": one["name"], "image": "none"} for one in statuses]},
               "status": {"phase": "Running", "containerStatuses": statuses}}
        return json.dumps({"kind": "PodList", "apiVersion": "v1", "items": [pod]}).encode()

    def remove_slices(self):
        root = machine.cgroup_root() / self.slice
        for directory in (*root.glob("*"), root):
            if directory.is_dir():
                directory.rmdir()

    def quota(self):
        return self.busy[0].directory / "cpu.max"

    def work(self):
        """In both containers; the first one with less memory than its files have, and with a CPU limit, if there are any here."""
        if self.quota().exists():
            self.quota().write_text("50000 100000")
        program = pathlib.Path(__file__).parent / "support/busy.py"
        limit = machine.MemoryLimit(f"sonde-e2e-{os.getpid()}-busy", 48 << 20)
        self.ending(limit, limit.remove)
        for number, group in enumerate(self.busy):
            process = subprocess.Popen([sys.executable, "-B", str(program), self.directory, f"127.{os.getpid() % 200 + 2}.7.7"])
            self.ending(process, lambda p=process: (p.kill(), p.wait()))
            os.waitpid(process.pid, os.WUNTRACED)
            if number > 0 or not limit.hold(group, process.pid):
                group.add(process.pid)
            os.kill(process.pid, signal.SIGCONT)

    def excused(self, sonde):
        """{title of a panel: why it is empty here}"""
        reasons = {}
        if not self.quota().exists():
            reasons["Throttled periods"] = V2
        if not list(pathlib.Path("/sys/devices/system/cpu/cpufreq").glob("policy*")):
            reasons["CPU frequency"] = CPUFREQ
        modules = json.loads(sonde.get("/statusz", local=True)[1])["modules"]
        if not {module["health"] for module in modules} & {"degraded", "failed"}:
            reasons["Probes that are not running"] = WELL
        return reasons

    def assert_answers(self, prometheus, wanted, what):
        """Each query has an answer in the end. wanted: [(name, query)]"""
        missing = dict.fromkeys(wanted)

        def all_there():
            for one in list(missing):
                if prometheus.query(one[1]):
                    del missing[one]
            return not missing
        try:
            wait_for(all_there, 45, "")
        except AssertionError:
            lines = "\n".join(f"{name}: {query}" for name, query in missing)
            raise AssertionError(f"{what}: nothing answers\n{lines}") from None

    def test_every_query_has_an_answer(self):
        """With native histograms by OTLP through the Collector, and with classic ones by scrape."""
        policies = pathlib.Path(self.directory) / "policies"
        policies.mkdir()
        (policies / "e2e.yaml").write_text(POLICY)
        pushed = self.start(Prometheus(self.directory, name="pushed"))
        collector = self.start(Collector(self.directory, forward=pushed.otlp())).start()
        sonde = self.agent("--export", "otlp,prometheus", "--otlp-endpoint", f"http://127.0.0.1:{collector.grpc}", "--promote",
                           "--interval", "1s", "--node-name", "node-1", "--cluster-name", "test", "--outside-containers", "false",
                           *self.identity, policies=str(policies), settings={"overhead.milliCpu": "100000"})
        scraped = self.start(Prometheus(self.directory, sonde.http, native=False, name="scraped"))
        self.work()
        excused = self.excused(sonde)
        asked = [(f"{board}: {title}", title, filled(query)) for board, title, query in queries()]
        self.assertGreater(len(asked), 150)
        self.assertLessEqual(set(excused), {title for _, title, _ in asked})
        rules = [(name, query) for name, query in of_rules("record") if not name.startswith("sonde:cpu:") or not excused.get(
            "Throttled periods")]
        self.assertGreater(len(rules), 5)
        for prometheus, other in ((pushed, "(classic)"), (scraped, "(native)")):
            name = "pushed" if prometheus is pushed else "scraped"
            wanted = [(name, query) for name, title, query in asked if title not in excused and not title.endswith(other)]
            self.assert_answers(prometheus, wanted, name)
            self.assert_answers(prometheus, rules, f"{name}, rules")
            for title in excused:  # else it is no reason
                for full, one, query in asked:
                    if one == title:
                        self.assertEqual(prometheus.query(query), [], f"{full} is not empty: {excused[title]}")
        self.assertEqual({labels["k8s_pod_name"] for labels, _ in pushed.query(filled(dict(
            (title, query) for _, title, query in queries())["Pods that suffer, and why"]))}, {"web-0"})
        self.alerts_and_runbooks(pushed, scraped, excused)

    def alerts_and_runbooks(self, pushed, scraped, excused):
        """They may find nothing wrong, but they are valid, and everything that they name is there."""
        records = {name for name, _ in of_rules("record")}
        present = {name for prometheus in (pushed, scraped) for name in prometheus.names()}
        quotas = {f"sonde_cpu_{name}_total" for name in ("periods", "throttled_periods", "throttled_time_seconds")}
        listed = printed()
        self.assertGreater(len(listed), 20)
        for where, query in [*of_rules("alert"), *listed]:
            scraped.query(query)
            pushed.query(query)
            named = set(re.findall(r"\bsonde:\w+:\w+", query))
            self.assertLessEqual(named, records, where)
            of_labels = re.sub(r"\"[^\"]*\"|by \([^)]*\)|\w+\s*(=~|!=|!~|=)", "", query)
            metrics = set(re.findall(r"(?<![\w:])sonde_\w+", of_labels)) - (quotas if "Throttled periods" in excused else set())
            self.assertTrue(named or metrics or quotas & set(re.findall(r"sonde_\w+", query)), where)
            self.assertLessEqual(metrics, present, f"{where} names metrics that are not there")
