# SPDX-License-Identifier: Apache-2.0
"""Every command and example of the documents, run in the place that it is meant for (support/documents.py)."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

from support import cluster, documents, machine
from support.case import Case
from support.machine import wait_for

POLICIES = "docs/ops/policies.md"


def yaml_blocks(page):
    return [block for block in documents.blocks(page) if block.language == "yaml"]


def policies():
    """The examples of policies on every page."""
    return [block for page in documents.PAGES for block in yaml_blocks(page) if "MonitorPolicy" in block.text]


def scrape_configs():
    """The examples of Prometheus's configuration on every page."""
    return [block for page in documents.PAGES for block in yaml_blocks(page) if block.text.startswith("scrape_configs:")]


class Known(Case):
    def test_every_command_is_run_or_excused(self):
        found = {command.text: command for page in documents.PAGES for command in documents.commands(page)}
        listed = [*documents.PLACES, *documents.NOT_RUN]
        self.assertEqual(len(listed), len(set(listed)), "a command has two entries")
        self.assertEqual([found[text] for text in set(found) - set(listed)], [], "documents.py does not say what runs these")
        self.assertEqual(set(listed) - set(found), set(), "no document has these any more")
        self.assertEqual({block.language for page in documents.PAGES for block in documents.blocks(page)},
                         {"", "yaml", "promql"}, "a language that nothing here runs")

    def test_targets_of_make(self):
        """Those that are not run are there at least."""
        for text in documents.NOT_RUN:
            if text.startswith("make "):
                run = subprocess.run([*text.split(), "--dry-run"], cwd=machine.REPOSITORY, capture_output=True, text=True)
                self.assertEqual(run.returncode, 0, run.stderr)


    def test_every_example_is_used(self):
        """Settings in unit_config, policies at an API server, queries in readers_test.py, Prometheus's configuration below."""
        settings = yaml_blocks("docs/ops/configuration.md")
        self.assertEqual(len(settings), 1)
        for page in documents.PAGES:
            for block in yaml_blocks(page):
                self.assertTrue(block in [*settings, *policies(), *scrape_configs()], f"nothing uses {block}")

    def test_prometheus_takes_its_configuration(self):
        self.assertEqual(len(scrape_configs()), 1)
        file = pathlib.Path(self.directory) / "prometheus.yml"
        for text, taken in ((scrape_configs()[0].text, True), (scrape_configs()[0].text.replace("honor_labels", "honour_labels"), False)):
            file.write_text(text)
            run = subprocess.run([machine.tool("promtool"), "check", "config", file], capture_output=True, text=True)
            self.assertEqual(run.returncode == 0, taken, f"{run.stdout}{run.stderr}")


class Binary(Case):
    def setUp(self):
        """A network of its own, so that the ports which agent and commands take by themselves are free."""
        super().setUp()
        holder = self.start(machine.Service(self.directory, "network", ["unshare", "--net", "sleep", "infinity"]))
        host = os.readlink("/proc/self/ns/net")
        wait_for(lambda: os.readlink(f"/proc/{holder.pid}/ns/net") != host, 10, "it has a network")
        within = ["nsenter", "--net", "--target", str(holder.pid)]
        subprocess.run([*within, "ip", "link", "set", "lo", "up"], check=True)
        self.shell = documents.Shell(self.directory, before=within)

    def filled(self, text):
        """The document's placeholders are things of this machine."""
        d = pathlib.Path(self.directory)
        (d / "policies").mkdir(exist_ok=True)
        blocks = yaml_blocks(POLICIES)
        (d / "policies/p.yaml").write_text("---\n".join(block.text for block in blocks))
        (d / "sonde.yaml").write_text("limits: {subjects: 2048}\n")
        if "4711" in text:
            self.target = self.start(machine.Service(self.directory, "target", ["sleep", "infinity"]))
            text = text.replace("4711", str(self.target.pid))
        text = text.replace("/etc/sonde/policies", f"{d}/policies").replace("FILE", f"{d}/policies/p.yaml")
        text = text.replace("vmlinux-6.12", "/sys/kernel/btf/vmlinux").replace("--config …", f"--config {d}/sonde.yaml")
        return f"{text} {d}/policies/p.yaml" if text == "sonde policy check" else text

    def agent(self, text):
        """Runs until the word is there that it counts; `exec`, so that signals reach it."""
        service = machine.Service(self.directory, "agent", self.shell.words(f"exec {text}"), self.shell.env)
        self.ending(service, service.kill)
        if "--check-config" in text:
            self.assertEqual(service.process.wait(60), 0, service.log())
            self.assertIn("interval:", service.out())
            return None
        service.wait_until(lambda: self.shell.run("sonde status").returncode == 0, 90, f"{text} answers")
        return service

    def test_agents(self):
        for command in documents.commands_for(documents.BINARY):
            if not command.text.startswith("sonde agent"):
                continue
            with self.subTest(command.text):
                service = self.agent(self.filled(command.text))
                if service:
                    self.assertEqual(service.stop(), 0, service.log())
        lines = pathlib.Path(self.directory, "m.jsonl").read_text().splitlines()
        self.assertTrue(lines and all("resourceMetrics" in json.loads(line) for line in lines))

    def test_commands_beside_an_agent(self):
        """Each ends with the code that it promises, and says something."""
        self.agent("sonde agent --export prometheus --interval 1s")
        wait_for(lambda: "[+] metrics served" in self.shell.run("sonde verify").stdout, 60, "the agent has counted something")
        for command in documents.commands_for(documents.BINARY):
            if command.text.startswith("sonde agent"):
                continue
            with self.subTest(command.text):
                text = self.filled(command.text)
                if text == "sonde top":  # until it is interrupted
                    top = machine.Service(self.directory, "top", self.shell.words(f"exec {text}"), self.shell.env)
                    self.ending(top, top.kill)
                    top.wait_until(top.out, 60, "sonde top shows something")
                    self.assertEqual(top.stop(signal.SIGINT), 0, top.log())
                    continue
                run = self.shell.run(text)
                # 1: it ran, and this machine lacks something.
                self.assertIn(run.returncode, (0, 1) if text in ("sonde doctor", "sonde verify") else (0,), f"{run.stdout}{run.stderr}")
                self.assertNotEqual(run.stdout.strip(), "")
                if text.endswith("-o json"):
                    json.loads(run.stdout)

    def test_examples_of_policies(self):
        """`policy check` takes them all, and says which are for files."""
        for block in policies():
            path = pathlib.Path(self.directory) / "p.yaml"
            path.write_text(block.text)
            run = self.shell.run(f"sonde policy check {path}")
            self.assertEqual(run.returncode, 0, run.stderr)
            self.assertEqual("for files only" in run.stdout, only_in_files(block), block)


def only_in_files(block):
    return bool(re.search(r"^  (cgroups|commands):", block.text, re.MULTILINE))


class Cluster(Case):
    def setUp(self):
        super().setUp()
        self.cluster = self.start(cluster.Cluster(self.directory).start())
        config = self.cluster.kubeconfig("admin", self.cluster.admin, self.cluster.admin_key)
        # Ports of its own: the other scenarios' agents are in the same network.
        self.ports = {f"SONDE_{name}": f"127.0.0.1:{machine.free_port()}" for name in ("HTTP", "HTTP_LOCAL", "GRPC")}
        self.shell = documents.Shell(self.directory, config, env=self.ports)

    def succeeds(self, text, where=machine.REPOSITORY):
        run = self.shell.run(text, where)
        self.assertEqual(run.returncode, 0, f"{text}: {run.stdout}{run.stderr}")
        return run.stdout

    def test_policies_in_a_new_cluster(self):
        """The commands of docs/ops/policies.md in their order, then the examples of all pages and those of crds/."""
        commands = documents.commands_for(documents.API, [POLICIES])
        self.assertGreater(len(commands), 4)
        for command in commands:
            if command.text.startswith("sonde agent"):
                self.follows_the_api_server(command.text)
            else:
                self.succeeds(command.text)
        blocks = policies()
        self.assertGreater({block.page for block in blocks}, {POLICIES})
        self.assertEqual({only_in_files(block) for block in blocks}, {True, False})
        for block in blocks:
            run = self.cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=block.text, check=False)
            if only_in_files(block):
                self.assertIn('unknown field "spec.', run.stderr)
                self.assertNotEqual(run.returncode, 0)
            else:
                self.assertEqual(run.returncode, 0, run.stderr)
        for path in sorted((machine.REPOSITORY / "crds/examples").glob("*.yaml")):
            self.succeeds(f"kubectl apply --dry-run=server -f {path}")
        self.describes_every_field()

    def follows_the_api_server(self, text):
        """The agent of the document, with this API server's address and files."""
        self.cluster.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}})
        self.cluster.kubectl("create", "serviceaccount", "sonde", "-n", "default")
        self.cluster.kubectl("create", "clusterrolebinding", "sonde", "--clusterrole=cluster-admin", "--serviceaccount=default:sonde")
        token = self.cluster.token("sonde", "default")
        text = text.replace("https://10.0.0.1:6443", self.cluster.url).replace("--api-ca ca.crt", f"--api-ca {self.cluster.ca}")
        text = text.replace("--api-token-file token", f"--api-token-file {token}")
        service = machine.Service(self.directory, "agent", self.shell.words(f"exec {text} --export none"), self.shell.env)
        self.ending(service, service.kill)

        def follows():
            run = self.shell.run(f"sonde status -o json --address {self.ports['SONDE_HTTP_LOCAL']}")
            return run.returncode == 0 and "databases" in [policy["name"] for policy in json.loads(run.stdout)["policies"]]
        service.wait_until(follows, 90, "the agent follows the policy that was applied")
        self.assertEqual(service.stop(), 0, service.log())

    def describes_every_field(self):
        """What `kubectl explain` shows, as the API server publishes it."""
        def fields(schema, path):
            for name, field in schema.get("properties", {}).items():
                yield f"{path}.{name}", field
                yield from fields(field, f"{path}.{name}")
            if "items" in schema:
                yield from fields(schema["items"], f"{path}[]")
        published = json.loads(self.cluster.kubectl("get", "--raw", "/openapi/v3/apis/sonde.dev/v1alpha1").stdout)
        seen = 0
        for kind in ("ClusterMonitorPolicy", "MonitorPolicy", "SondeNode"):
            schema = published["components"]["schemas"][f"dev.sonde.v1alpha1.{kind}"]
            for path, field in fields(schema, kind):
                seen += 1
                told = field.get("description") or any("$ref" in one for one in field.get("allOf", []))
                self.assertTrue(told, f"{path} has no description")
        self.assertGreater(seen, 100)

    def test_chart_and_manifests(self):
        """README's and the chart's commands, each in its own words; the CRDs are renewed in a cluster in which Helm made them."""
        tree = pathlib.Path(self.directory) / "tree"
        for part in ("charts", "crds", "manifests"):
            shutil.copytree(machine.REPOSITORY / part, tree / part)
        upgrade = None
        # Helm first: what kubectl has made Helm does not take over.
        for command in sorted(documents.commands_for(documents.API), key=lambda one: not one.text.startswith("helm install")):
            if command.page == POLICIES:
                continue
            text = command.text
            if "show crds" in text:
                upgrade = text
            elif text.startswith("helm install"):
                self.succeeds(text, tree)
                self.assertIn("sonde-agent", self.succeeds("kubectl get daemonset -n sonde -o name"))
                self.renews_crds(tree)
                self.succeeds("helm uninstall sonde --namespace sonde")
                if "--set" not in text:
                    self.installs_once_more(text, tree)
                self.succeeds("kubectl delete crd clustermonitorpolicies.sonde.dev monitorpolicies.sonde.dev sondenodes.sonde.dev")
            else:
                if text.startswith("kubectl label"):
                    self.succeeds("kubectl create namespace sonde --dry-run=client -o yaml | kubectl apply -f -")
                self.succeeds(text, tree)
        self.assertIsNotNone(upgrade)

    def renews_crds(self, tree):
        """A newer chart has another CRD: the documented command brings it in, and without its flag it is a conflict."""
        text = next(one.text for one in documents.commands_for(documents.API) if "show crds" in one.text)
        word = self.newer_crd(tree)
        run = self.shell.run(text.replace("--force-conflicts --field-manager=helm ", ""), tree)
        self.assertIn("conflict", run.stderr)
        self.succeeds(text, tree)
        self.assertIn(word, self.succeeds("kubectl get crd sondenodes.sonde.dev -o yaml"))

    def newer_crd(self, tree):
        """Another description in the chart's CRD, which is returned."""
        word = f"What has happened by {time.monotonic()}."
        crd = tree / "charts/sonde/crds/sondenodes.yaml"
        crd.write_text(re.sub(r"description: \w.*\n", f"description: {word}\n", crd.read_text(), count=1))
        return word

    def installs_once_more(self, text, tree):
        """Helm takes CRDs that were renewed as its own. Those that kubectl made its own it takes when it is told to."""
        self.succeeds(text, tree)
        self.succeeds("helm uninstall sonde --namespace sonde")
        renew = next(one.text for one in documents.commands_for(documents.API) if "show crds" in one.text)
        self.newer_crd(tree)
        self.succeeds(renew.replace("--field-manager=helm ", ""), tree)
        self.newer_crd(tree)
        run = self.shell.run(text, tree)
        self.assertIn('conflict with "kubectl"', run.stderr)
        self.succeeds("helm uninstall sonde --namespace sonde --ignore-not-found")
        self.succeeds(f"{text} --force-conflicts", tree)
        self.succeeds("helm uninstall sonde --namespace sonde")
