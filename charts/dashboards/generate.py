#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes charts/sonde/dashboards/*.json. With --check it only compares them, and exits with 1 if they differ."""

import importlib
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
OUT = HERE.parent / "sonde" / "dashboards"
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True


def generated():
    """{file name: content}"""
    found = {}
    for source in sorted((HERE / "boards").glob("[!_]*.py")):
        board = importlib.import_module(f"boards.{source.stem}").board()
        found[f"{board['uid']}.json"] = json.dumps(board, indent=1, ensure_ascii=False) + "\n"
    return found


def main():
    wanted = generated()
    present = {path.name: path.read_text(encoding="utf-8") for path in OUT.glob("*.json")}
    different = sorted(name for name in {*wanted, *present} if wanted.get(name) != present.get(name))
    if "--check" in sys.argv[1:]:
        for name in different:
            print(f"{OUT.name}/{name} is not what charts/dashboards/generate.py writes: run it", file=sys.stderr)
        return 1 if different else 0
    OUT.mkdir(exist_ok=True)
    for name in different:
        if name in wanted:
            (OUT / name).write_text(wanted[name], encoding="utf-8")
        else:
            (OUT / name).unlink()
        print(f"{name}: {'written' if name in wanted else 'removed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
