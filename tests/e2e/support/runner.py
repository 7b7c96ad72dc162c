# SPDX-License-Identifier: Apache-2.0
"""Runs scenarios, one line each, and ends with the counts."""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import resource
import sys
import time
import unittest

from . import agent, machine

MOST_AGAIN = 3  # more failures than this are no accident


@dataclasses.dataclass
class Outcome:
    """Of one scenario, as it comes from the process that ran it."""
    name: str
    word: str  # ok, FAILED, or why it was skipped
    seconds: float
    cpu: float  # seconds of a CPU, its programs' included: what it costs a machine that has other work too
    texts: list  # of what went wrong
    notes: list

    @property
    def failed(self):
        return self.word == "FAILED"


class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def _cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def perform(name):
    result, begin, cpu = Result(), time.monotonic(), _cpu_seconds()
    unittest.defaultTestLoader.loadTestsFromName(name).run(result)
    texts = [text for _, text in result.failures + result.errors]
    word = "FAILED" if texts else f"skipped: {result.skipped[0][1]}" if result.skipped else "ok"
    return Outcome(name, word, time.monotonic() - begin, _cpu_seconds() - cpu, texts, result.notes)


def perform_all(names, jobs):
    """So many at once; each line is printed when its scenario has ended."""
    outcomes = []
    # Processes and not threads: a scenario may enter a network namespace.
    with concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        running = {pool.submit(perform, name): name for name in names}
        for future in concurrent.futures.as_completed(running):
            try:
                outcome = future.result()
            except concurrent.futures.process.BrokenProcessPool as broken:
                outcome = Outcome(running[future], "FAILED", 0, 0, [str(broken)], [])
            outcomes.append(outcome)
            print(f"  {outcome.name:72} {outcome.word} ({outcome.seconds:.1f} s, {outcome.cpu:.1f} s of CPU)", flush=True)
            for text in outcome.texts:  # at once: the others may take long
                print(f"\n== {outcome.name}\n{text}", flush=True)
    for outcome in outcomes:
        if outcome.notes:
            print("\n".join([f"-- {outcome.name}", *outcome.notes]))
    return outcomes


def each(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from each(test)
        else:
            yield test


def missing():
    """Why nothing of this can run here; None if it can."""
    if os.geteuid() != 0:
        return "needs root: the agent loads BPF programs"
    if machine.cgroup_root() is None:
        return "no cgroup v2 tree is mounted"
    if not os.path.exists("/sys/kernel/btf/vmlinux"):
        return "this kernel has no BTF"
    return None


def run(folder, prepare, jobs=1, left_out=()):
    """All *_test.py of a folder but what is left out, or those whose name has one of the words on the command line; --list
    only names them."""
    tests = each(unittest.TestLoader().discover(str(folder), pattern="*_test.py", top_level_dir=str(folder)))
    names = [test.id() for test in tests]
    words = [w for w in sys.argv[1:] if not w.startswith("-")]
    if words:
        names = [name for name in names if any(w in name for w in words)]
    if "--list" in sys.argv:
        print("\n".join(names))
        return 0
    if not words:
        names = [name for name in names if not name.endswith(tuple(left_out))]
        if left_out:
            print(f"  without {', '.join(left_out)}: E2E_FULL=1", flush=True)
    reason = missing()
    if reason:
        print(f"  skipped: {reason}\n0 passed, 0 failed, {len(names)} skipped")
        return 0
    if not os.access(agent.BINARY, os.X_OK):
        print(f"{agent.BINARY} is not there: `make build`\n0 passed, 1 failed, 0 skipped")
        return 1
    prepare()
    outcomes = perform_all(names, jobs)
    failed = sorted(outcome.name for outcome in outcomes if outcome.failed)
    if 0 < len(failed) <= MOST_AGAIN:  # they share the machine with other work; what needed a second try is named
        print("second try:", " ".join(failed), flush=True)
        outcomes = [outcome for outcome in outcomes if not outcome.failed] + perform_all(failed, 1)
    for outcome in outcomes:
        if outcome.failed:
            print("failed: e2e:", outcome.name)
    passed, failed = (sum(outcome.word == word for outcome in outcomes) for word in ("ok", "FAILED"))
    print(f"{passed} passed, {failed} failed, {len(outcomes) - passed - failed} skipped")
    return 1 if failed else 0
