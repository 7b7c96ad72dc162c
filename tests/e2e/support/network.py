# SPDX-License-Identifier: Apache-2.0
"""A network namespace that the whole test enters: its ports, links and routes are nobody else's and end with it."""

import ctypes
import os
import pathlib
import subprocess

CLONE_NEWNET = 0x40000000
# The package containernetworking-plugins; Debian has them in the first place, Fedora in the second.
PLUGINS = next((path for path in map(pathlib.Path, ("/usr/lib/cni", "/usr/libexec/cni")) if path.is_dir()), None)


def _enter(descriptor):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*argv):
    subprocess.run(["ip", *argv], check=True, capture_output=True)


class Network:
    """A bridge that pods are to be on, with the node's address; the API server's service address is one of the node's own."""
    bridge, node, subnet, service = "pods0", "10.244.0.1", "10.244.0.0/24", "10.96.0.1"

    def __init__(self, name):
        self.name = name
        self.before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _ip("netns", "add", name)
        inside = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
        _enter(inside)
        os.close(inside)
        try:
            _ip("link", "set", "lo", "up")
            _ip("address", "add", f"{self.service}/32", "dev", "lo")
            _ip("link", "add", self.bridge, "type", "bridge")
            _ip("address", "add", f"{self.node}/24", "dev", self.bridge)
            _ip("link", "set", self.bridge, "up")
        except subprocess.CalledProcessError:
            self.leave()
            raise

    def configuration(self, directory):
        """What containerd is to read: pods get an address of the bridge's subnet."""
        ipam = {"type": "host-local", "dataDir": str(directory / "addresses"), "routes": [{"dst": "0.0.0.0/0"}],
                "ranges": [[{"subnet": self.subnet, "gateway": self.node}]]}
        return {"cniVersion": "0.4.0", "name": "e2e", "plugins": [
            {"type": "bridge", "bridge": self.bridge, "isGateway": True, "ipMasq": False, "ipam": ipam}]}

    def leave(self):
        _enter(self.before)
        os.close(self.before)
        subprocess.run(["ip", "netns", "delete", self.name], check=False, capture_output=True)
