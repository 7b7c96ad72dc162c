# SPDX-License-Identifier: Apache-2.0
"""Runs the scenarios, one line each; see README.md. main.py [WORD]… [--list]"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from support import machine, runner  # noqa: E402

# Each takes minutes by nature: run by E2E_FULL=1 (make soak) or by name.
LONG = (
    "test_misbehaving_kubelet",
    "test_api_server_away_under_load",
    "test_batches_are_split_below_4_mib",
    "test_api_server_kinds_of_pods",
)

sys.exit(runner.run(HERE, machine.build_workload, machine.JOBS, () if machine.FULL else LONG))
