#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints what `tests/bench/cost` measured and compares it with the budget.

    cost_table.py --budget FILE [--update] NAME=FIGURES.json…

A figure is the number of instructions that a variant adds to an operation. It fails if it is more than 3 % above its budget, or,
where that is less, more than 0.5 % of the operation itself, which is how much a run varies. A figure without a budget fails too:
new operations and probes need `SONDE_COST_UPDATE=1 make cost`.
"""
import argparse
import json
import pathlib
import sys

TOLERANCE = 0.03  # of the budget
NOISE = 0.005  # of the operation by itself

PRESETS = ["empty programs, Standard", "Standard, measured", "Standard, not measured", "Minimal, measured",
           "Minimal, not measured"]


def figures_of(path):
    """{operation: {variant: instructions added}}, the operation by itself as "nothing"; None if the machine failed."""
    if not path.exists():
        return None
    figures = {}
    for operation, rows in json.loads(path.read_text())["operations"].items():
        figures[operation] = {row["variant"]: round(row["ns"] if row["variant"] == "nothing" else row["added_ns"])
                              for row in rows}
    return figures


def cell(value):
    """A variant that cannot be attached on a kernel has no figure there."""
    return "not here" if value is None else f"{value:,}"


def print_table(machine, figures):
    operations = list(figures)
    variants = list(next(iter(figures.values())))
    rows = ["nothing", *PRESETS] + [variant for variant in variants if variant not in PRESETS and variant != "nothing"]
    print(f"\n{machine}: instructions added")
    print(f"{'':<30}" + "".join(f"{operation:>12}" for operation in operations))
    for variant in rows:
        label = "the operation by itself" if variant == "nothing" else variant
        print(f"{label:<30}" + "".join(f"{cell(figures[operation].get(variant)):>12}" for operation in operations))


def compare(machine, figures, budget):
    """Prints what is above the budget; returns how many figures passed and failed."""
    passed = failed = 0
    for operation, row in figures.items():
        for variant, value in row.items():
            if variant == "nothing":
                continue
            allowed = budget.get(machine, {}).get(operation, {}).get(variant)
            if allowed is None:
                problem = "has no budget (SONDE_COST_UPDATE=1 make cost adds it)"
            elif value > allowed + max(allowed * TOLERANCE, row["nothing"] * NOISE):
                problem = f"is above its budget of {allowed:,}"
            else:
                passed += 1
                continue
            failed += 1
            print(f"failed: cost: {machine}: {operation}: {variant}: {value:,} {problem}")
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description="Compares the instructions that Sonde adds with the budget.")
    parser.add_argument("--budget", type=pathlib.Path, required=True, help="file with what is allowed")
    parser.add_argument("--update", action="store_true", help="write the figures to the budget")
    parser.add_argument("figures", nargs="+", help="NAME=FILE, as bench_cost wrote it")
    arguments = parser.parse_args()
    budget = json.loads(arguments.budget.read_text()) if arguments.budget.exists() else {}
    passed = failed = 0
    for pair in arguments.figures:
        machine, path = pair.split("=", 1)
        figures = figures_of(pathlib.Path(path))
        if figures is None:
            failed += 1
            print(f"failed: cost: {machine}: no figures")
            continue
        print_table(machine, figures)
        if arguments.update:
            budget[machine] = {operation: {variant: value for variant, value in row.items() if variant != "nothing"}
                               for operation, row in figures.items()}
            passed += 1
        else:
            p, f = compare(machine, figures, budget)
            passed, failed = passed + p, failed + f
    if arguments.update and not failed:
        arguments.budget.write_text(json.dumps(budget, indent=2) + "\n")
        print(f"\nwritten: {arguments.budget}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
