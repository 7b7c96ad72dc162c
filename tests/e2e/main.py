# SPDX-License-Identifier: Apache-2.0
"""Runs the scenarios, one line each; see README.md. main.py [WORD]… [--list]"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from support import machine, runner  # noqa: E402

sys.exit(runner.run(HERE, machine.build_workload, machine.JOBS))
