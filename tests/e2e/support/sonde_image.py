# SPDX-License-Identifier: Apache-2.0
"""The image of agent and operator without a registry: what the Dockerfile's last stage has, of this machine's libraries."""

import io
import pathlib
import re
import subprocess
import tarfile

from . import agent, node

REPOSITORY, TAG = "docker.io/sonde/sonde", "e2e"
USERS = "root:x:0:0:root:/:/usr/sbin/nologin\nsonde:x:65532:65532:sonde:/:/usr/sbin/nologin\n"


def make(directory):
    """A tar for `ctr images import`."""
    directory = pathlib.Path(directory)
    binary = directory / "sonde"
    subprocess.run(["strip", "-o", str(binary), agent.BINARY], check=True)
    told = subprocess.run(["ldd", str(binary)], check=True, capture_output=True, text=True).stdout
    libraries = re.findall(r"(/\S+) \(0x", told)
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        node.add_file(archive, "usr/bin/sonde", binary.read_bytes(), 0o755)
        for path in [*libraries, "/etc/ssl/certs/ca-certificates.crt"]:
            node.add_file(archive, path.lstrip("/"), pathlib.Path(path).read_bytes(), 0o755)
        node.add_file(archive, "etc/passwd", USERS.encode())
    path = directory / "sonde.tar"
    node.write_image(path, f"{REPOSITORY}:{TAG}", layer.getvalue(), {"Entrypoint": ["/usr/bin/sonde"], "Env": ["PATH=/usr/bin"]})
    return path
