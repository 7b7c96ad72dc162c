# SPDX-License-Identifier: Apache-2.0
"""`sonde operator`, under the account of manifests/base, which may do what it needs and no more."""

import re
import urllib.error
import urllib.request

from . import agent, machine

class Operator:
    def __init__(self, directory, cluster, name="operator"):
        self.name, self.port = name, machine.free_port()
        self.service = machine.Service(directory, name, [
            agent.BINARY, "operator", "--api-server", cluster.url, "--api-ca", cluster.ca, "--api-token-file",
            cluster.token("sonde-operator", "sonde"), "--namespace", "sonde", "--identity", name,
            "--http", f"127.0.0.1:{self.port}"])

    def get(self, path):
        """(status, body); (0, "") while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        return float(found.group(1)) if found else None

    def wait_ready(self, seconds=60):
        self.service.wait_until(lambda: self.get("/readyz")[0] == 200, seconds, "the operator is ready")
        return self

    def leads(self):
        return self.service.alive() and self.metric("sonde_operator_leader") == 1

    def stop(self):
        return self.service.stop()

    def kill(self):
        self.service.kill()
