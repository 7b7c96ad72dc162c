# SPDX-License-Identifier: Apache-2.0
"""Runs scenarios, one line each, and ends with the counts."""

import os
import sys
import time
import unittest

from . import agent, machine

MOST_AGAIN = 3  # more failures than this are no accident


class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed, self.notes, self.failed_ids = 0, [], set()

    def note(self, text):
        self.notes.append(text)

    def startTest(self, test):
        super().startTest(test)
        self.begin = time.monotonic()
        print(f"  {test.id():72} ", end="", flush=True)

    def say(self, word):
        print(f"{word} ({time.monotonic() - self.begin:.1f} s)", flush=True)

    def addSuccess(self, test):
        self.passed += 1
        self.say("ok")

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.failed_ids.add(test.id())

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say(f"skipped: {reason}")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failed_ids.add(test.id())

    def addError(self, test, err):
        super().addError(test, err)
        self.failed_ids.add(test.id())

    def stopTest(self, test):
        if test.id() in self.failed_ids:
            self.say("FAILED")
        super().stopTest(test)


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


def tell(result):
    for test, text in result.failures + result.errors:
        print(f"\n== {test}\n{text}")
    for note in result.notes:
        print(note)


def run(folder, prepare):
    """All *_test.py of a folder, or those whose name has one of the words on the command line; --list only names them."""
    tests = list(each(unittest.TestLoader().discover(str(folder), pattern="*_test.py", top_level_dir=str(folder))))
    words = [w for w in sys.argv[1:] if not w.startswith("-")]
    if words:
        tests = [t for t in tests if any(w in t.id() for w in words)]
    if "--list" in sys.argv:
        print("\n".join(t.id() for t in tests))
        return 0
    reason = missing()
    if reason:
        print(f"  skipped: {reason}\n0 passed, 0 failed, {len(tests)} skipped")
        return 0
    if not os.access(agent.BINARY, os.X_OK):
        print(f"{agent.BINARY} is not there: `make build`\n0 passed, 1 failed, 0 skipped")
        return 1
    prepare()
    first = Result()
    unittest.TestSuite(tests).run(first)
    tell(first)
    passed, failed = first.passed, len(first.failed_ids)
    if 0 < failed <= MOST_AGAIN:  # they share the machine with other work; what needed a second try is named
        print("second try:", " ".join(sorted(first.failed_ids)), flush=True)
        names = sorted(first.failed_ids)
        again = Result()
        unittest.defaultTestLoader.loadTestsFromNames(names).run(again)
        tell(again)
        passed, failed = passed + again.passed, len(again.failed_ids)
    print(f"{passed} passed, {failed} failed, {len(first.skipped)} skipped")
    return 1 if failed else 0
