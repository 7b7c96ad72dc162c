# SPDX-License-Identifier: Apache-2.0
"""A build: make and gcc over files that the test writes, so how many programs run is known."""

import os
import pathlib
import subprocess

import program
from case import AppCase, bytes_moved

FILES = 30
SOURCE = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int part_{i}(int n);
int part_{i}(int n) {{ char text[64]; snprintf(text, sizeof(text), "%d", n + {i}); return atoi(text) + (int)strlen(text); }}
"""
MAKEFILE = """OBJECTS := {objects}
program: $(OBJECTS)
\tgcc -o $@ $(OBJECTS)
%.o: %.c
\tgcc -O1 -c -o $@ $<
"""


class Build(AppCase):
    def project(self, name):
        directory = pathlib.Path(self.directory) / name
        directory.mkdir()
        names = [f"part_{i}" for i in range(FILES)]
        for i, one in enumerate(names):
            (directory / f"{one}.c").write_text(SOURCE.format(i=i))
        (directory / "main.c").write_text("int part_0(int);\nint main(void) { return part_0(1) == 2 ? 0 : 1; }\n")
        (directory / "Makefile").write_text(MAKEFILE.format(objects=" ".join(f"{one}.o" for one in [*names, "main"])))
        return directory

    def make(self, directory, group):
        # No built-in rules: they make nothing here, and look for many files.
        return program.Program(self, [self.need("make"), "-rR", "-j2", "-s"], cgroup=group, cwd=directory,
                               env={"TMPDIR": str(directory)}).go()

    def executed(self):
        """Each program that runs, and how often: gcc starts cc1 and as for a file, and collect2, which starts ld, at the end."""
        def part(name):
            found = subprocess.run([gcc, f"-print-prog-name={name}"], check=True, capture_output=True, text=True).stdout.strip()
            return self.need(found)
        make, gcc = self.need("make", "gcc")
        return {make: 1, gcc: FILES + 2, part("cc1"): FILES + 1, part("as"): FILES + 1, part("collect2"): 1, part("ld"): 1}

    def test_make(self):
        group, other = self.cgroup(), self.cgroup("unselected")
        programs = self.executed()
        self.measure(group)
        directories = [self.project(name) for name in ("one", "two")]
        builds = [self.make(directory, at) for directory, at in zip(directories, (group, other))]
        for build in builds:
            build.finish()
        self.assertTrue(os.access(directories[0] / "program", os.X_OK))
        metrics, where, did = self.finish(other), group.path, builds[0].did
        executed = sum(program.exec_bytes(path) * count for path, count in programs.items())
        self.compare(metrics, {
            "bytes written in all": (bytes_moved(metrics, where, "write"), did.wchar),
            "bytes read in all": (bytes_moved(metrics, where, "read") + executed, did.rchar),
        })
        self.assert_scheduling(metrics, where, did)
        self.assert_faults(metrics, where, did, execs=sum(programs.values()))
        self.assert_thread_time(metrics, where, builds[0].held)
        # make and gcc start a process for each program, make itself excepted.
        count = sum(programs.values())
        self.assert_processes(metrics, where, execs=count, forks=count - 1)
        self.compare(metrics, {"ends with success": (metrics.total("sonde.process.exits", where,
                                                                   sonde__process__exit="success"), count)})
