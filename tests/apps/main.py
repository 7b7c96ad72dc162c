# SPDX-License-Identifier: Apache-2.0
"""Runs the loads, one line each; see README.md. main.py [WORD]… [--list]"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
sys.dont_write_bytecode = True

import program  # noqa: E402
from support import runner  # noqa: E402

sys.exit(runner.run(HERE, program.build_held))
