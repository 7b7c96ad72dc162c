# SPDX-License-Identifier: Apache-2.0
"""Helm and the chart, for the scenarios about them."""

import os
import subprocess

from . import machine
from .case import Case

CHART = machine.REPOSITORY / "charts/sonde"


class HelmCase(Case):
    """What the scenarios share; no scenario itself."""

    def helm(self, *argv):
        homes = {f"HELM_{home}_HOME": self.directory for home in ("CACHE", "CONFIG", "DATA")}
        return subprocess.run([machine.tool("helm"), *map(str, argv)], capture_output=True, text=True,
                              env={**os.environ, **homes})

    def template(self, *sets, files=(), chart=CHART):
        argv = [word for one in sets for word in ("--set", one)] + [f"--values={path}" for path in files]
        run = self.helm("template", "sonde", chart, "--namespace", "sonde", *argv)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def refused(self, *sets, chart=CHART):
        """What helm says of values that it does not take."""
        argv = [word for one in sets for word in ("--set", one)]
        run = self.helm("template", "sonde", chart, *argv)
        self.assertNotEqual(run.returncode, 0)
        return run.stderr

    def notes(self, *sets, namespace="sonde"):
        argv = [word for one in sets for word in ("--set", one)]
        run = self.helm("install", "sonde", CHART, "--namespace", namespace, "--dry-run=client", *argv)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout.partition("NOTES:")[2]
