# SPDX-License-Identifier: Apache-2.0
"""A control plane without nodes: etcd and kube-apiserver with RBAC, and kubectl."""

import json
import pathlib
import ssl
import subprocess
import urllib.error
import urllib.request

from . import certificates, machine

CRDS = machine.REPOSITORY / "crds"
ALONE = ("--bind-address=127.0.0.1", "--disable-admission-plugins=ServiceAccount", "--service-cluster-ip-range=10.0.0.0/24")


class Cluster:
    """Everything on loopback, in a directory of its own. Stop and start keep what etcd has."""

    def __init__(self, directory, flags=ALONE, port=None, names="DNS:localhost,IP:127.0.0.1"):
        """names: those of the API server in its certificate."""
        self.directory = pathlib.Path(directory) / "cluster"
        self.directory.mkdir()
        self.flags, self.names = flags, names
        self.port, self.etcd_port, self.etcd_peer = (machine.free_port() for _ in range(3))
        self.port = port or self.port
        self.url = f"https://127.0.0.1:{self.port}"
        self._keys()
        self.etcd = self.apiserver = None

    def _keys(self):
        d = self.directory
        self.certificates = certificates.Authority(d, "cluster")
        self.ca = self.certificates.certificate
        self.certificate, self.key = self.certificates.issue("apiserver", self.names)
        self.admin, self.admin_key = self.certificates.issue("admin", "DNS:admin", subject="/O=system:masters/CN=admin")
        subprocess.run(["openssl", "genrsa", "-out", str(d / "sa.key"), "2048"], check=True, capture_output=True)

    def start(self):
        try:
            return self._start()
        except BaseException:
            self.stop()  # nobody else does: who starts it has no cluster yet
            raise

    def _start(self):
        d = self.directory
        if self.etcd is None:
            self.etcd = machine.Service(d, "etcd", [
                machine.tool("etcd"), "--data-dir", str(d / "etcd"), "--listen-client-urls", f"http://127.0.0.1:{self.etcd_port}",
                "--advertise-client-urls", f"http://127.0.0.1:{self.etcd_port}", "--listen-peer-urls",
                f"http://127.0.0.1:{self.etcd_peer}", "--unsafe-no-fsync"])
            self.etcd.wait_until(lambda: machine.listens(self.etcd_port), 30, "etcd listens")
        self.apiserver = machine.Service(d, "kube-apiserver", [
            machine.tool("kube-apiserver"), f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--secure-port={self.port}", "--authorization-mode=Node,RBAC", *self.flags,
            f"--tls-cert-file={self.certificate}", f"--tls-private-key-file={self.key}", f"--client-ca-file={self.ca}",
            f"--service-account-key-file={d / 'sa.key'}", f"--service-account-signing-key-file={d / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc", f"--cert-dir={d}"])
        self.apiserver.wait_until(self._ready, 90, "the API server is ready")
        return self

    def _ready(self):
        try:
            return self._ask(urllib.request.Request(self.url + "/readyz")) == b"ok"
        except OSError:
            return False

    def kubectl(self, *argv, stdin=None, check=True):
        run = subprocess.run([machine.tool("kubectl"), f"--server={self.url}", f"--certificate-authority={self.ca}",
                              f"--client-certificate={self.admin}", f"--client-key={self.admin_key}",
                              f"--cache-dir={self.directory / 'cache'}", *map(str, argv)],
                             input=stdin, capture_output=True, text=True)
        if check and run.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(map(str, argv))}: {run.stderr}")
        return run

    def rest(self, method, path, body, kind="application/json"):
        """What the API server answers to the administrator: a kubectl takes as long to start as twenty of these."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), {"Content-Type": kind}, method=method)
        try:
            return json.loads(self._ask(request))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from None

    def _ask(self, request):
        trust = ssl.create_default_context(cafile=self.ca)
        trust.load_cert_chain(self.admin, self.admin_key)
        with urllib.request.urlopen(request, timeout=30, context=trust) as answer:
            return answer.read()

    def apply(self, objects, *argv):
        """A dict, or YAML text."""
        text = objects if isinstance(objects, str) else json.dumps(objects)
        return self.kubectl("apply", "-f", "-", *argv, stdin=text)

    def get(self, *argv):
        return json.loads(self.kubectl("get", *argv, "-o", "json").stdout)

    def install_crds(self):
        self.kubectl("apply", *[f"--filename={path}" for path in sorted(CRDS.glob("*.yaml"))])
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd",
                     "monitorpolicies.sonde.dev", "clustermonitorpolicies.sonde.dev", "sondenodes.sonde.dev")

    def install(self):
        """What `kubectl apply -k manifests/base` makes: CRDs, accounts and their rights, workloads. What kubectl warns of."""
        run = self.kubectl("apply", "--server-side", "--validate=strict", "-k", machine.REPOSITORY / "manifests/base")
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "--all")
        return run.stderr

    def kubeconfig(self, name, certificate, key):
        """A file by which a program is who the certificate says."""
        path = self.directory / f"{name}.kubeconfig"
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": self.url, "certificate-authority": self.ca}}],
            "users": [{"name": "u", "user": {"client-certificate": certificate, "client-key": key}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}))
        return str(path)

    def token(self, account, namespace):
        """A file with a token of this service account."""
        path = self.directory / f"{account}.token"
        path.write_text(self.kubectl("create", "token", account, "-n", namespace, "--duration=1h").stdout)
        return str(path)

    def stop_apiserver(self):
        self.apiserver.kill()

    def stop(self):
        for service in (self.apiserver, self.etcd):
            if service:
                service.kill()
