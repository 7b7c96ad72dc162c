# SPDX-License-Identifier: Apache-2.0
"""`sonde agent`, on ports of its own."""

import json
import os
import pathlib
import urllib.error
import urllib.request

from . import machine

BINARY = os.environ.get("SONDE_BINARY") or str(machine.BUILD / "sonde")

HANDOVER = 0.5  # seconds for which no agent counts while one replaces another, at most

POLICY = """apiVersion: sonde.dev/v1alpha1
kind: ClusterMonitorPolicy
metadata: {{name: e2e}}
spec:
  cgroups: ["{cgroups}"]
  preset: {preset}
  collection: {{periodSeconds: 1{collection}}}
"""


def policy_directory(directory, cgroups, preset="Detailed", collection="", more=""):
    """A directory with one policy; the default policy is off, so nothing else is selected. more: lines of its spec."""
    policies = pathlib.Path(directory) / "policies"
    policies.mkdir(exist_ok=True)
    (policies / "e2e.yaml").write_text(POLICY.format(cgroups=cgroups, preset=preset, collection=collection) + more)
    return str(policies)


class Agent:
    def __init__(self, directory, *flags, policies=None, settings=None, env=None, name="agent", within=(), http=None):
        """within: a command that runs the agent as its last words. http: a port that somebody else knows already."""
        self.http, self.local, self.grpc = http or machine.free_port(), machine.free_port(), machine.free_port()
        merged = {"listen.http": f"127.0.0.1:{self.http}", "listen.httpLocal": f"127.0.0.1:{self.local}",
                  "listen.grpc": f"127.0.0.1:{self.grpc}", "overhead.milliCpu": "0"}
        if policies:
            merged["defaultPolicy.enabled"] = "false"
        merged.update(settings or {})
        config = pathlib.Path(directory) / f"{name}.yaml"
        config.write_text(_yaml(merged))
        argv = [*within, BINARY, "agent", "--config", str(config), *map(str, flags)]
        if policies:
            argv += ["--policies", policies]
        self.service = machine.Service(directory, name, argv, env)

    def wait_ready(self, seconds=90):
        self.service.wait_until(self._ready, seconds, "the agent is ready")
        return self

    def _ready(self):
        try:
            # One listener is there a moment before the other.
            return self.get("/readyz")[0] == 200 and self.get("/readyz", local=True)[0] == 200
        except OSError:
            return False

    def get(self, path, local=False, headers=None):
        """(status, body)"""
        port = self.local if local else self.http
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode(errors="replace")
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")

    def exporter(self, name="otlp"):
        """What the agent says of its exporter in /statusz."""
        status, body = self.get("/statusz", local=True)
        assert status == 200, body
        status = json.loads(body)
        return next(e for e in [*status["exporters"], *status["span_exporters"]] if e["name"] == name)

    def stop(self, seconds=60):
        return self.service.stop(seconds=seconds)

    def kill(self):
        self.service.kill()

    def rss(self):
        return self.service.rss()

    def log(self):
        return self.service.log()


def _yaml(settings):
    """{"a.b": "1"} as nested YAML flow maps."""
    tree = {}
    for name, value in settings.items():
        at = tree
        *parents, last = name.split(".")
        for parent in parents:
            at = at.setdefault(parent, {})
        at[last] = value

    def render(node):
        if isinstance(node, dict):
            return "{" + ", ".join(f"{k}: {render(v)}" for k, v in node.items()) + "}"
        return node if node in ("true", "false") or node.isdigit() else json.dumps(node)

    return "".join(f"{key}: {render(value)}\n" for key, value in tree.items())
