# SPDX-License-Identifier: Apache-2.0
"""A first install: `helm install` into a cluster of one node whose pods have a network; use, upgrade, uninstall."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

from support import agent, documents, machine, node, otlp, sonde_image
from support.case import Case
from support.in_cluster import policy
from support.machine import ForeignCgroup, Workload, wait_for
from support.network import Network
from support.receivers import Collector
from support.whole_cluster import NODE, WholeCluster

CAPABILITIES = (1 << 12) | (1 << 38) | (1 << 39)  # NET_ADMIN, PERFMON, BPF
ROUNDS, SIZE, FSYNCS = 700, 4096, 13

SHOP = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "checkout", "namespace": "shop"}, "spec": {
    "selector": {"matchLabels": {"app": "checkout"}},
    "template": {"metadata": {"labels": {"app": "checkout", "team": "payments", "other": "not-asked-for"}}, "spec": {
        "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "main", "image": node.IMAGE, "imagePullPolicy": "Never",
            "command": ["/workload", "armed", "/tmp/file", str(ROUNDS), str(SIZE), "0", str(FSYNCS), "0"]}]}}}}


class Install(Case):
    def setUp(self):
        super().setUp()
        try:
            network = Network(f"sonde-e2e-{os.getpid()}")
            self.ending(network, network.leave)
            self.whole = WholeCluster(self.directory, network)
            self.ending(self.whole, self.whole.stop)
            self.whole.start()
            # Where the chart's default sends: the node's own address, port 4317.
            self.collector = self.start(Collector(self.directory, address="0.0.0.0", ports=(4317, 4318)))
            self.collector.start()
            self.received = otlp.Following(self.collector.file)
        except BaseException:
            self.tearDown()  # nobody else does
            raise

    def helm(self, verb, *sets):
        values = {"config.ceilings.namespaced.level": "Detailed", "config.ceilings.namespaced.period": "1s",
                  "image.repository": sonde_image.REPOSITORY, "image.tag": sonde_image.TAG,
                  # Directories of this machine, which has no kubelet of its own.
                  "agent.stateDirectory": f"{self.directory}/state",
                  "agent.podsApiDirectory": f"{self.whole.node.directory}/state/pods-api",
                  # This cluster is as GKE in that.
                  "resourceQuota.enabled": "true"}
        words = [f"--set={key}={value}" for key, value in values.items()] + [f"--set={one}" for one in sets]
        return self.whole.helm(verb, "sonde", machine.REPOSITORY / "charts/sonde", "--namespace=sonde", "--create-namespace",
                               "--wait", "--timeout=120s", *words)

    def component(self, name):
        """Its pods that are not about to end."""
        pods = self.whole.pods("sonde", f"app.kubernetes.io/component={name}")
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def ready(self, pod):
        return {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}.get("Ready") == "True"

    def total(self, name, where, **attributes):
        return self.received.now().total(name, where, **attributes)

    def test_helm_install_use_upgrade_uninstall(self):
        """Ready by its own probes, with the rights of the chart and no others; exact and named; nothing stays behind."""
        self.assert_quota_is_needed()
        begin = time.monotonic()
        notes = self.helm("install")
        self.result.note(f"helm install --wait: {time.monotonic() - begin:.0f} s")
        self.assertIn("DaemonSet sonde-agent", notes)
        agents, operators = self.component("agent"), self.component("operator")
        self.assertEqual((len(agents), len(operators)), (1, 2))
        for pod in [*agents, *operators]:
            self.assertTrue(self.ready(pod), pod["status"])
            self.assertEqual(pod["status"]["containerStatuses"][0]["restartCount"], 0)
        self.assert_rights(agents[0], operators[0])
        lease = self.whole.control.get("lease", "sonde-operator", "-n", "sonde")["spec"]["holderIdentity"]
        self.assertTrue(any(lease.startswith(pod["metadata"]["name"]) for pod in operators), lease)
        doctor = self.exec("doctor", "--config", "/etc/sonde/sonde.yaml")
        self.assertRegex(doctor, r"\[\+\] capabilities +BPF and PERFMON\n")
        self.assertIn("names: podsApi", self.exec("status"))

        self.assert_counts()
        self.assert_documents()
        self.assert_policies_of_a_namespace()
        self.assert_upgrade()
        self.assert_rollback()
        self.assert_uninstall()

    def assert_quota_is_needed(self):
        """Without it there is no pod of the chart's priority class, whatever Helm says."""
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "critical", "namespace": "default"},
               "spec": {"priorityClassName": "system-node-critical", "containers": [{"name": "main", "image": node.IMAGE}]}}
        wait_for(lambda: self.whole.kubectl("get", "serviceaccount", "default", check=False).returncode == 0, 60, "an account is there")
        run = self.whole.kubectl("apply", "--dry-run=server", "-f", "-", stdin=json.dumps(pod), check=False)
        self.assertIn("insufficient quota to match these scopes", run.stderr)

    def assert_documents(self):
        """The commands that documents have for a cluster, as they stand there."""
        shell = documents.Shell(self.directory, self.whole.config)
        for command in documents.commands_for(documents.CLUSTER):
            if "delete" in command.text.split():
                continue
            run = shell.run(command.text)
            # 1: it ran, and this machine lacks something.
            self.assertIn(run.returncode, (0, 1) if "sonde doctor" in command.text else (0,), f"{command}: {run.stdout}{run.stderr}")
            self.assertNotEqual(run.stdout.strip(), "", command)
        pod = self.whole.pods("shop", "app=checkout")[0]["metadata"]["name"]
        self.assertIn("checkout", self.exec("explain", "pod", f"shop/{pod}"))

    def assert_policies_of_a_namespace(self):
        """admin and edit of a namespace write its MonitorPolicies, view reads them; nothing beyond the namespace."""
        def may(who, verb, what, namespace, *more):
            asked = self.whole.kubectl("auth", "can-i", verb, what, "-n", namespace, f"--as={who}", *more, check=False)
            return asked.stdout.strip() == "yes"
        for role, writes in (("admin", True), ("edit", True), ("view", False)):
            self.whole.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}", "-n", "shop")
            wait_for(lambda: may(role, "list", "monitorpolicies.sonde.dev", "shop"), 30, f"{role} reads policies")
            for verb in ("create", "patch", "delete"):
                self.assertEqual(may(role, verb, "monitorpolicies.sonde.dev", "shop"), writes, (role, verb))
            self.assertFalse(may(role, "create", "monitorpolicies.sonde.dev", "default"), role)
            self.assertFalse(may(role, "create", "clustermonitorpolicies.sonde.dev", "shop"), role)
            self.assertFalse(may(role, "patch", "monitorpolicies.sonde.dev", "shop", "--subresource=status"), role)

    def exec(self, *words):
        return self.whole.kubectl("exec", "-n", "sonde", "ds/sonde-agent", "--", "sonde", *words, check=False).stdout

    def assert_rights(self, agent, operator):
        """As the kernel has them, not as the manifest asks for them."""
        for pod, capabilities, user in ((agent, CAPABILITIES, 0), (operator, 0, 65532)):
            process = pathlib.Path(f"/proc/{self.whole.pid(pod)}")
            status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
            for kind in ("CapPrm", "CapEff"):
                self.assertEqual(int(status[kind], 16), capabilities, kind)
            self.assertEqual(int(status["CapBnd"], 16), capabilities)
            self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))
            self.assertEqual({int(one) for one in status["Uid"].split()}, {user})
            for space in ("pid", "net", "mnt", "ipc"):
                self.assertNotEqual(os.readlink(process / "ns" / space), os.readlink(f"/proc/self/ns/{space}"), space)
            root = [line for line in (process / "mounts").read_text().splitlines() if line.split()[1] == "/"]
            self.assertTrue(root[-1].split()[3].startswith("ro"), root)

    def assert_counts(self):
        """A policy of a namespace and a Deployment of it: exact bytes under all its names."""
        control = self.whole.control
        control.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        control.apply(policy("checkout", {
            "podSelector": {"matchLabels": {"app": "checkout"}}, "probes": [{"name": "io", "level": "Detailed"}],
            "collection": {"periodSeconds": 1}, "attributes": {"podLabels": ["team"]}}, "MonitorPolicy", "shop"))
        control.apply(policy("everything", {"preset": "Minimal"}))
        control.apply(SHOP)
        self.whole.kubectl("rollout", "status", "deployment/checkout", "-n", "shop", "--timeout=60s")
        pod = self.whole.pods("shop", "app=checkout")[0]
        instance = ("shop", pod["metadata"]["name"], "main")

        def io():
            done = [self.total("sonde.file.io", instance, disk__io__direction=way) or 0 for way in ("read", "write")]
            return [*done, self.total("sonde.file.operation.duration", instance, sonde__file__operation="fsync") or 0]

        def settled():
            """What the container's start did is exported; the program waits."""
            before, requests = io(), self.received.now().requests
            wait_for(lambda: self.received.now().requests >= requests + 2, 30, "more is exported")
            return before if before == io() and before[1] > 0 else None
        before = wait_for(settled, 60, "the container is counted")
        os.kill(self.whole.pid(pod), signal.SIGUSR1)
        truth = [before[0] + ROUNDS * SIZE, before[1] + ROUNDS * SIZE, before[2] + FSYNCS]
        wait_for(lambda: io() == truth, 30, f"what was done is counted ({before}, {truth})")
        wait_for(settled, 30, "and no more than that")
        self.assertEqual(io(), truth)
        self.result.note(f"read, written, fsyncs before {before}, after {truth}")
        resource = self.received.now().resource(instance)
        self.assertEqual({key: resource.get(key) for key in (
            "k8s.namespace.name", "k8s.pod.name", "k8s.deployment.name", "k8s.container.name", "k8s.node.name", "k8s.pod.uid",
            "k8s.pod.label.team", "k8s.pod.label.other")},
            {"k8s.namespace.name": "shop", "k8s.pod.name": pod["metadata"]["name"], "k8s.deployment.name": "checkout",
             "k8s.container.name": "main", "k8s.node.name": NODE, "k8s.pod.uid": pod["metadata"]["uid"],
             "k8s.pod.label.team": "payments", "k8s.pod.label.other": None})
        for where, name in ((("mpol", "checkout", "-n", "shop"), "checkout"), (("cmpol", "everything"), "everything")):
            self.whole.kubectl("wait", "--for=condition=Ready", *where, "--timeout=60s")
            self.assertRegex(self.whole.kubectl("get", *where, "-o", "wide").stdout, rf"(?m)^{name} +True +Monitor +1 +1 +\d")
        self.assertRegex(self.whole.kubectl("get", "sondenodes").stdout, rf"(?m)^{NODE} ")

    def assert_upgrade(self):
        """Another list of probes is another agent's pod; what is not on the list is not attached any more."""
        self.assertRegex(self.exec("status"), r"(?m)^memory +ok")
        self.whole.kubectl("delete", "cmpol", "everything")
        before = self.component("agent")[0]["metadata"]["uid"]
        missing = pathlib.Path(self.directory) / "not/there/kubelet.crt"
        with self.work_goes_on(), self.always_a_ready_agent():
            self.helm("upgrade", "config.defaultPolicy.probes={io,sched}", "agent.tracefs=true", f"agent.kubeletCertificate={missing}")
            wait_for(lambda: len(self.component("agent")) == 1, 60, "the old pod is gone")
        agents = self.component("agent")
        self.assertEqual([self.ready(pod) for pod in agents], [True])
        self.assertNotEqual(agents[0]["metadata"]["uid"], before)

        def programs():
            return dict(re.findall(r"(?m)^(\w+) +ok +(?:[a-z_]+ +)?(\d+) ", self.exec("status")))
        wait_for(lambda: programs().get("memory") == "0", 30, f"only what is asked for is attached: {programs()}")
        self.assertGreater(int(programs()["io"]), 0)

    @contextlib.contextmanager
    def work_goes_on(self):
        """In a container, a read each 10 ms: what comes between the old agent's last look and the new one's first is lost."""
        pod = self.whole.pods("shop", "app=checkout")[0]
        group = pathlib.Path(f"/proc/{self.whole.pid(pod)}/cgroup").read_text().split("::")[1].strip()
        instance = ("shop", pod["metadata"]["name"], "main")

        def reads():
            totals = otlp.totals_by_start(self.collector.file, "sonde.file.io", instance, disk__io__direction="read")
            return sum(totals) / SIZE, len(totals)
        begin, _ = reads()
        work = Workload(ForeignCgroup(machine.cgroup_root() / group[1:]), "ticks", os.path.join(self.directory, "ticks"), 10)
        self.ending(work, work.process.kill)
        wait_for(lambda: reads()[0] > begin, 30, "it is counted")
        yield
        time.sleep(3)
        at = [us / 1e6 for us in work.stop()["at"]]
        counted, starts = machine.settled(reads)
        lost = len(at) - (counted - begin)
        self.result.note(f"the upgrade lost {lost} of {len(at)} reads")
        self.assertEqual(starts, 2, "one of each agent")
        self.assertGreaterEqual(lost, 0, "nothing is counted twice")
        self.assertLessEqual(lost, machine.most_within(at, agent.HANDOVER * machine.PATIENCE))

    @contextlib.contextmanager
    def always_a_ready_agent(self):
        """The new pod starts beside the old one: there is no moment without one that is ready."""
        seen, ready, over = [], [], threading.Event()

        def look():
            while not over.wait(0.2):
                pods = self.whole.pods("sonde", "app.kubernetes.io/component=agent")
                seen.append(len(pods))
                ready.append(sum(self.ready(pod) for pod in pods))
        looking = threading.Thread(target=look)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()
        self.assertEqual(max(seen), 2, "the new pod is there before the old one has gone")
        self.assertGreaterEqual(min(ready), 1, ready)

    def assert_rollback(self):
        """Back to the first revision, under which all probes are asked; the state directory is the same."""
        self.whole.helm("rollback", "sonde", "1", "--namespace=sonde", "--wait", "--timeout=120s")
        wait_for(lambda: re.search(r"(?m)^memory +ok +(?:[a-z_]+ +)?[1-9]", self.exec("status")), 60, "all probes are attached again")
        self.assertEqual(len(self.component("agent")), 1)

    def assert_uninstall(self):
        """No pod, no right, and in the kernel none of the agent's programs, maps and links; CRDs stay, as the chart says."""
        pid = self.whole.pid(self.component("agent")[0])
        held = set()
        for info in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir():
            held |= set(re.findall(r"(?m)^(prog|map|link)_id:\s+(\d+)$", info.read_text()))
        self.assertGreater(len(held), 20)
        self.result.note(f"the agent held {len(held)} programs, maps and links")

        def left():
            there = set()
            for kind in ("prog", "map", "link"):
                told = subprocess.run(["bpftool", "-j", kind, "list"], capture_output=True, text=True)
                if told.returncode != 0:  # something went while it was listed
                    return None
                there |= {(kind, str(one["id"])) for one in json.loads(told.stdout)}
            return held & there
        wait_for(lambda: left() == held, 30, "bpftool sees all that the agent holds")
        self.whole.helm("uninstall", "sonde", "--namespace=sonde", "--wait", "--timeout=60s")
        wait_for(lambda: not self.component("agent") and not self.component("operator"), 60, "the pods are gone")
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"), 60, "the agent has ended")
        wait_for(lambda: left() == set(), 30, f"the kernel has let go of all: {left()}")
        names = "daemonset,deployment,configmap,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding"
        mine = self.whole.kubectl("get", names, "-A", "-l", "app.kubernetes.io/instance=sonde", "-o", "name").stdout
        self.assertEqual(mine, "")
        crds = self.whole.kubectl("get", "crd", "-o", "name").stdout
        self.assertEqual(len(re.findall(r"\.sonde\.dev$", crds, re.MULTILINE)), 3)
        # What the chart's README says of the rest.
        last = [one.text for one in documents.commands_for(documents.CLUSTER) if "delete" in one.text.split()]
        self.assertEqual(len(last), 1)
        run = documents.Shell(self.directory, self.whole.config).run(last[0])
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertNotIn("sonde", self.whole.kubectl("get", "crd", "-o", "name").stdout)
