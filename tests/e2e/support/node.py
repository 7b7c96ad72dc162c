# SPDX-License-Identifier: Apache-2.0
"""A node: containerd, runc and a real kubelet, in directories and a cgroup of its own; pods on the host's network."""

import hashlib
import io
import json
import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import tarfile
import urllib.error
import urllib.request

from . import machine

IMAGE = "docker.io/sonde/work:1"

# Of the container runtime, by its major version. 1 is Debian's, in PATH; 2 is built with the other tools, whose shim it finds
# beside itself. oom_score_adj below that of containerd itself is not allowed on every machine.
CONFIGURATIONS = {1: """version = 2
root = "{d}/root"
state = "{d}/run"
[grpc]
  address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{plugins}"
  conf_dir = "{networks}"
""", 2: """version = 3
root = "{d}/root"
state = "{d}/run"
[grpc]
  address = "{socket}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{image}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".containerd]
  default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  snapshotter = "native"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{plugins}"]
  conf_dir = "{networks}"
"""}


def _static(source, binary):
    subprocess.run(["cc", "-O2", "-static", "-o", str(binary), "-x", "c", "-"], input=source, text=True, check=True)


def add_file(archive, name, data, mode=0o644):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    archive.addfile(info, io.BytesIO(data))


def make_image(path, directory):
    """Two static programs: /pause, and /workload that runs as if it had been let go at once."""
    pause, work = directory / "pause", directory / "workload"
    _static("#include <unistd.h>\nint main(void) { for (;;) pause(); }\n", pause)
    _static((machine.REPOSITORY / "tests/e2e/workload.c").read_text(), work)
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        tmp = tarfile.TarInfo("tmp")
        tmp.type, tmp.mode = tarfile.DIRTYPE, 0o1777
        archive.addfile(tmp)
        for binary in (pause, work):
            add_file(archive, binary.name, binary.read_bytes(), 0o755)
    write_image(path, IMAGE, layer.getvalue(), {"Entrypoint": ["/pause"]})


def write_image(path, name, layer, config):
    """An image of one layer, a tar, as `docker save` writes it."""
    digest = hashlib.sha256(layer).hexdigest()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    config = json.dumps({"architecture": architecture, "os": "linux", "config": config,
                         "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}, "history": [{}]}).encode()
    file = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": file, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(path, "w") as archive:
        add_file(archive, file, config)
        add_file(archive, f"{digest}/layer.tar", layer)
        add_file(archive, "manifest.json", json.dumps(manifest).encode())


class Node:
    """`cluster`: who authenticates and authorizes the kubelet's clients; it is registered there as `name`."""

    def __init__(self, directory, cluster, name):
        self.directory = pathlib.Path(directory) / "node"
        self.directory.mkdir()
        self.manifests = self.directory / "manifests"
        self.manifests.mkdir()
        self.cluster, self.name = cluster, name
        self.port = machine.free_port()
        self.socket = self.directory / "containerd.sock"
        self.group = f"sonde-e2e-{os.getpid()}-node-{self.port}"
        self.address, self.plugins, self.networks = "127.0.0.1", self.directory / "cni", self.directory / "cni"
        self.kubelet = self.containerd = None
        self.extra = ()      # words for the kubelet
        self.serving = None  # certificate and key; None: the kubelet signs its own
        self.gates = {}  # of features
        self.runtime = 2  # containerd's major version

    # The kubelet wants its root cgroup in every hierarchy.
    def _groups(self):
        for line in open("/proc/mounts"):
            kind, mounted = line.split()[2], pathlib.Path(line.split()[1])
            if kind in ("cgroup", "cgroup2"):
                yield mounted / self.group

    def start(self):
        for group in self._groups():
            group.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if (group / setting).exists() and (group.parent / setting).exists():
                    (group / setting).write_text((group.parent / setting).read_text())
        self._start_containerd()
        self.start_kubelet()
        return self

    def _start_containerd(self):
        d = self.directory
        (d / "containerd.toml").write_text(CONFIGURATIONS[self.runtime].format(
            d=d, socket=self.socket, image=IMAGE, plugins=self.plugins, networks=self.networks))
        program = "containerd" if self.runtime == 1 else machine.tool("containerd")
        path = os.environ["PATH"] if self.runtime == 1 else f"{os.path.dirname(program)}:{os.environ['PATH']}"
        self.containerd = machine.Service(d, "containerd", [program, "-c", str(d / "containerd.toml")], {"PATH": path})
        self.containerd.wait_until(lambda: self.ctr("version", check=False).returncode == 0, 60, "containerd answers")
        make_image(d / "image.tar", d)
        self.add_image(d / "image.tar")

    def add_image(self, path):
        # Else containerd 2 has it unpacked by its transfer service, which has another snapshotter.
        local = ["--local"] if self.runtime == 2 else []
        self.ctr("images", "import", *local, "--snapshotter", "native", str(path))

    def ctr(self, *argv, check=True):
        program = "ctr" if self.runtime == 1 else machine.tool("ctr")
        return subprocess.run([program, "-a", str(self.socket), "-n", "k8s.io", *argv], check=check, capture_output=True, text=True)

    def _kubeconfig(self):
        who = f"/O=system:nodes/CN=system:node:{self.name}"
        certificate, key = self.cluster.certificates.issue("node", "DNS:node", subject=who)
        return self.cluster.kubeconfig("node", certificate, key)

    def start_kubelet(self):
        d = self.directory
        config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "address": self.address,
            "port": self.port, "healthzPort": 0, "staticPodPath": str(self.manifests), "failCgroupV1": False,
            "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{self.group}", "failSwapOn": False,
            "containerRuntimeEndpoint": f"unix://{self.socket}", "podLogsDir": str(d / "logs"),
            "localStorageCapacityIsolation": False, "makeIPTablesUtilChains": False, "fileCheckFrequency": "1s",
            "featureGates": self.gates, "evictionHard": {"memory.available": "1Mi"}, "syncFrequency": "10s",
            "enforceNodeAllocatable": ["pods"],
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True, "cacheTTL": "0s"},
                               "x509": {"clientCAFile": self.cluster.ca}},
            "authorization": {"mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "1s", "cacheUnauthorizedTTL": "1s"}}}
        if self.serving:
            config["tlsCertFile"], config["tlsPrivateKeyFile"] = self.serving
        (d / "kubelet.json").write_text(json.dumps(config))
        self.kubelet = machine.Service(d, "kubelet", [
            machine.tool("kubelet"), "--config", str(d / "kubelet.json"), "--kubeconfig", str(self._kubeconfig()),
            "--root-dir", str(d / "state"), "--cert-dir", str(d / "pki"), "--hostname-override", self.name, *self.extra])
        self.kubelet.wait_until(lambda: machine.listens(self.port), 90, "the kubelet listens")

    @property
    def pods_api_socket(self):
        return str(self.directory / "state/pods-api/pods-api.sock")

    @property
    def own_certificate(self):
        return str(self.directory / "pki" / "kubelet.crt")

    def stop_kubelet(self):
        self.kubelet.kill()

    def get(self, path, token):
        """(status, body) of the kubelet's own server, whoever it is."""
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10, context=ssl._create_unverified_context()) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def cgroup_of(self, pod):
        """Of the container of this pod, which the API server tells of; None while it does not run."""
        started = [s for s in pod.get("status", {}).get("containerStatuses", []) if "running" in s["state"]]
        if not started:
            return None
        found = machine.cgroup_root().glob(f"{self.group}/**/{started[0]['containerID'].rpartition('/')[2]}")
        return machine.ForeignCgroup(next(found))

    def static_pod(self, name, command, labels=None, **spec):
        """Its manifest; the kubelet runs it as <name>-<node>."""
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
               "spec": pod_spec(command, **spec)}
        part = self.directory / f"{name}.part"
        part.write_text(json.dumps(pod))
        part.rename(self.manifests / f"{name}.json")

    def pod(self, name, command, labels=None, owner=None, **spec):
        """As the API server has it, bound to this node. owner: the object that controls it."""
        metadata = {"name": name, "namespace": "default", "labels": labels or {}}
        if owner:
            metadata["ownerReferences"] = [owner_reference(owner)]
        self.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
                            "spec": {"nodeName": self.name, **pod_spec(command, **spec)}})

    def stop(self):
        if self.kubelet:
            self.kubelet.kill()
        if self.containerd:
            for task in self.ctr("tasks", "ls", "-q", check=False).stdout.split():
                self.ctr("tasks", "delete", "-f", task, check=False)
            for container in self.ctr("containers", "ls", "-q", check=False).stdout.split():
                self.ctr("containers", "rm", container, check=False)
            self.containerd.stop(signal.SIGTERM)
        for mounted in sorted((line.split()[1] for line in open("/proc/mounts")), reverse=True):
            if mounted.startswith(str(self.directory)):
                subprocess.run(["umount", "-l", mounted], check=False, capture_output=True)
        for group in self._groups():
            for directory, _, _ in os.walk(group, topdown=False):
                machine.wait_for(lambda: _rmdir(directory), 20, f"rmdir {directory}")
        shutil.rmtree(self.directory / "root", ignore_errors=True)


def owner_reference(owner):
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"], "controller": True}


def pod_spec(command, resources=None, **more):
    return {"hostNetwork": True, "restartPolicy": "Always", "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False, "enableServiceLinks": False,
            "containers": [{"name": "main", "image": IMAGE, "imagePullPolicy": "Never", "command": command,
                            "resources": resources or {}}], **more}


def _rmdir(directory):
    try:
        os.rmdir(directory)
        return True
    except FileNotFoundError:
        return True
    except OSError:
        return False
