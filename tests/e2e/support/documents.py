# SPDX-License-Identifier: Apache-2.0
"""The commands and examples of the documents, each with the place in which a test runs it."""

import dataclasses
import os
import re
import subprocess

from . import agent, machine

PAGES = ["README.md", "CONTRIBUTING.md", "charts/sonde/README.md",
         *sorted(str(path.relative_to(machine.REPOSITORY)) for path in (machine.REPOSITORY / "docs/ops").glob("**/*.md"))]
PROGRAMS = ("buildah", "curl", "docker", "git", "helm", "kubectl", "make", "promtool", "sonde")

BINARY = "the binary alone"
API = "an API server without nodes"
CLUSTER = "a cluster of one node"

# What each command is run by. A command that is in no document any more, or is not here, fails documents_test.py.
PLACES = {
    "sonde agent": BINARY,
    "sonde agent --check-config": BINARY,
    "sonde agent --export file --file m.jsonl --interval 5s --duration 1m": BINARY,
    "sonde agent --export otlp,prometheus --otlp-endpoint https://collector:4317": BINARY,
    "sonde agent --policies /etc/sonde/policies": BINARY,
    "sonde agent --target-pid 4711": BINARY,
    "sonde top": BINARY,
    "sonde doctor": BINARY,
    "sonde doctor --btf vmlinux-6.12": BINARY,
    "sonde doctor --plan": BINARY,
    "sonde doctor --plan --config …": BINARY,
    "sonde probes": BINARY,
    "sonde policy check": BINARY,
    "sonde policy check FILE": BINARY,
    "sonde policy check FILE --estimate": BINARY,
    "sonde status": BINARY,
    "sonde status -o json": BINARY,
    "sonde pods": BINARY,
    "sonde verify": BINARY,

    "kubectl apply --server-side -f crds/": API,
    "kubectl wait --for=condition=Established crd/clustermonitorpolicies.sonde.dev crd/monitorpolicies.sonde.dev": API,
    "kubectl apply -f crds/examples/databases.yaml": API,
    "kubectl get clustermonitorpolicies,monitorpolicies --all-namespaces": API,
    "sonde agent --api-server https://10.0.0.1:6443 --api-token-file token --api-ca ca.crt --node-name node-1": API,
    "helm install sonde charts/sonde --namespace sonde --create-namespace": API,
    "helm install sonde charts/sonde --namespace sonde --create-namespace"
    " --set config.export.otlp.endpoint=http://collector.observability:4317": API,
    "helm install sonde charts/sonde --namespace sonde --create-namespace --set collector.enabled=true": API,
    "helm show crds charts/sonde | kubectl apply --server-side --force-conflicts --field-manager=helm -f -": API,
    "kubectl label namespace sonde pod-security.kubernetes.io/enforce=privileged": API,
    "kubectl apply --server-side -k manifests/base": API,
    "kubectl delete sondenodes --all": API,
    "kubectl create configmap sonde-dashboards --namespace sonde --from-file charts/sonde/dashboards": API,
    "kubectl label configmap sonde-dashboards --namespace sonde grafana_dashboard=1": API,

    "kubectl get sondenodes": CLUSTER,
    "kubectl get sondenodes -o wide": CLUSTER,
    "kubectl -n sonde exec ds/sonde-agent -- sonde doctor --config /etc/sonde/sonde.yaml": CLUSTER,
    "kubectl -n sonde exec ds/sonde-agent -- sonde status": CLUSTER,
    "kubectl get cmpol -o wide": CLUSTER,
    "kubectl delete crd monitorpolicies.sonde.dev clustermonitorpolicies.sonde.dev sondenodes.sonde.dev": CLUSTER,
}

OF_THIS_TREE = "it is what builds and tests this tree"
NO_COMMAND = "names a command in a sentence, without its arguments"
# What no test runs as it stands, and why.
NOT_RUN = {
    "make run": "a live table on a terminal; `sonde top` is run",
    "make test": OF_THIS_TREE, "make bench": OF_THIS_TREE, "make generate": OF_THIS_TREE, "make deps": OF_THIS_TREE,
    "make fmt": OF_THIS_TREE, "make tidy": OF_THIS_TREE, "make unit": OF_THIS_TREE,
    "git clone … && cd sonde": "the address depends on where the source is",
    "docker build .": "fetches the base image from a registry", "buildah bud .": "fetches the base image from a registry",
    "helm install … --force-conflicts": "documents_test.py adds the flag to the whole command",
    "helm install --wait": NO_COMMAND, "helm upgrade": NO_COMMAND, "helm uninstall": NO_COMMAND,
    "kubectl rollout status": NO_COMMAND, "kubectl wait": NO_COMMAND, "kubectl auth can-i --list": NO_COMMAND,
    "helm test": NO_COMMAND, "helm test sonde -n sonde": "chart_test.py runs what is in its pod",
    "helm test sonde --namespace sonde --logs": "chart_test.py runs what is in its pod",
    "kubectl -n sonde port-forward service/sonde-collector 8889": "chart_collector_test.py runs the Collector itself",
    "kubectl wait --for=condition=Ready cmpol/databases": "install_test.py waits for policies of its own",
    "sonde operator": "install_test.py and operator_test.py run it with an account of its own",
    "sonde explain": NO_COMMAND,
    "sonde explain pod ns/name": "install_test.py asks for a pod that it made",
    "sonde explain pod shop/web-0": "install_test.py asks for a pod that it made",
    "sonde explain pod NAMESPACE/NAME": "install_test.py asks for a pod that it made",
}


@dataclasses.dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str


@dataclasses.dataclass(frozen=True)
class Command:
    page: str
    line: int
    text: str


def blocks(page):
    """The fenced blocks of a page."""
    text = (machine.REPOSITORY / page).read_text()
    for found in re.finditer(r"^```(\S*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        yield Block(page, text[:found.start()].count("\n") + 2, found.group(1), found.group(2))


def _without_comment(line):
    return re.sub(r"\s+#.*$", "", line).rstrip()


def commands(page):
    """Of blocks without a language the lines that begin with a program, of sentences the words in `…` that do."""
    found = []
    for block in blocks(page):
        if block.language:
            continue
        text, number = "", block.line
        for offset, line in enumerate(block.text.splitlines()):
            number = number if text else block.line + offset
            text += _without_comment(line.removeprefix("$ "))
            if text.endswith("\\"):
                text = text[:-1].rstrip() + " "
                continue
            words = " ".join(text.split())
            if words.split(" ")[0] in PROGRAMS:
                found.append(Command(page, number, words))
            text = ""
    prose = re.sub(r"^```.*?^```$", lambda block: "\n" * block.group().count("\n"),
                   (machine.REPOSITORY / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    for span in re.finditer(r"`([^`\n]+)`", prose):
        words = span.group(1).split()
        if len(words) > 1 and words[0] in PROGRAMS:
            found.append(Command(page, prose[:span.start()].count("\n") + 1, " ".join(words)))
    return sorted(found, key=lambda command: command.line)


def commands_for(place, pages=PAGES):
    """In the order of the pages, each once."""
    seen = {}
    for page in pages:
        for command in commands(page):
            if PLACES.get(command.text) == place:
                seen.setdefault(command.text, command)
    return list(seen.values())


class Shell:
    """Runs commands as they stand in a document, from the top of the source, with the tools of the tests in PATH."""

    def __init__(self, directory, kubeconfig=None, before=(), env=None):
        """before: words in front of the shell. env: more variables."""
        self.before = list(before)
        bin_directory = os.path.join(directory, "bin")
        os.makedirs(bin_directory, exist_ok=True)
        for name, path in {"sonde": agent.BINARY, **{tool: machine.tool(tool) for tool in ("helm", "kubectl")}}.items():
            if not os.path.lexists(os.path.join(bin_directory, name)):
                os.symlink(path, os.path.join(bin_directory, name))
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SONDE_", "OTEL_"))}
        homes = {f"HELM_{home}_HOME": directory for home in ("CACHE", "CONFIG", "DATA")}
        self.env = {**inherited, **homes, "PATH": f"{bin_directory}:{inherited['PATH']}", **(env or {})}
        if kubeconfig:
            self.env["KUBECONFIG"] = kubeconfig

    def words(self, text):
        return [*self.before, "bash", "-c", f"set -o pipefail\n{text}"]

    def run(self, text, where=machine.REPOSITORY):
        return subprocess.run(self.words(text), cwd=where, env=self.env, capture_output=True, text=True, timeout=180,
                              stdin=subprocess.DEVNULL)
