# SPDX-License-Identifier: Apache-2.0
"""A real program in a cgroup, and what the kernel says that it and its children did."""

import os
import pathlib
import pwd
import shutil
import signal
import struct
import subprocess
import time

from support import machine

HELD = machine.BUILD / "apps" / "held"
USER = pwd.getpwnam("nobody")


def build_held():
    source = machine.REPOSITORY / "tests/apps/held.c"
    if not HELD.exists() or HELD.stat().st_mtime < source.stat().st_mtime:
        HELD.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(HELD), str(source)], check=True)


def exec_bytes(path):
    """What the kernel itself reads to execute an ELF program, in no system call that reads: /proc/<pid>/io has it, Sonde
    does not. fs/binfmt_elf.c: the first 256 bytes, the program headers, and of the interpreter its name and headers."""
    def headers(data):
        offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
        return [struct.unpack_from("<IIQQQQ", data, offset + i * size) for i in range(count)], size * count

    data = pathlib.Path(path).read_bytes()
    segments, total = headers(data)
    total += min(256, len(data))
    for kind, _, offset, _, _, length in segments:
        if kind == 3:  # PT_INTERP
            interpreter = data[offset:offset + length].split(b"\0")[0].decode()
            total += length + 64 + headers(pathlib.Path(interpreter).read_bytes())[1]
    return total


class Did:
    """Totals of a process and of the children that it has waited for; `after - before` is what it did in between."""

    def __init__(self, **values):
        self.__dict__.update(values)

    @staticmethod
    def of_thread(pid):
        """Of a process that has one thread and had no children yet."""
        status = _fields(pid, "status")
        # Fields of proc(5) from the third on; the second, the name, may have blanks.
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return Did(**_io(pid), minor_faults=int(stat[7]), major_faults=int(stat[9]),
                   voluntary=int(status["voluntary_ctxt_switches"]), involuntary=int(status["nonvoluntary_ctxt_switches"]),
                   cpu_seconds=int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9)

    @staticmethod
    def of_end(pid):
        """(its numbers, its exit code), of a process that has ended; it is reaped."""
        io = _io(pid)
        _, status, usage = os.wait4(pid, 0)
        did = Did(**io, minor_faults=usage.ru_minflt, major_faults=usage.ru_majflt, voluntary=usage.ru_nvcsw,
                  involuntary=usage.ru_nivcsw, cpu_seconds=usage.ru_utime + usage.ru_stime)
        return did, os.waitstatus_to_exitcode(status)

    def __sub__(self, other):
        return Did(**{name: value - getattr(other, name) for name, value in self.__dict__.items()})


def _io(pid):
    io = _fields(pid, "io")
    return {"rchar": int(io["rchar"]), "wchar": int(io["wchar"])}


def _fields(pid, name):
    return dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/{name}").read_text().splitlines())


class Program:
    """Runs from go() on; finish() waits for its end. `did` is then what it and its children did since go(),
    `held` for how long it stood still before that."""

    def __init__(self, case, argv, cgroup=None, name=None, user=None, cwd=None, env=None):
        self.argv = [str(word) for word in argv]
        self.name = name or os.path.basename(self.argv[0])
        self.directory = pathlib.Path(case.directory)
        case.programs += 1
        self.out_path, self.log_path = (self.directory / f"{self.name}-{case.programs}.{kind}" for kind in ("out", "log"))
        held = HELD
        if user:  # to whom the way to the build may be closed, as in a clone below /root
            held = self.directory / "held"
            if not held.exists():
                shutil.copy(HELD, held)
        with open(self.out_path, "wb") as out, open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [str(held), *self.argv], stdin=subprocess.DEVNULL, stdout=out, stderr=log, cwd=cwd or case.directory,
                env={**os.environ, "LC_ALL": "C", **(env or {})}, process_group=0,
                **({"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}))
        case.ending(self, self.kill)
        self.started = time.monotonic()
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            raise AssertionError(f"{self.name} was not held: {self.log()}")
        if cgroup:
            cgroup.add(self.process.pid)
        self.before, self.did = Did.of_thread(self.process.pid), None

    @property
    def pid(self):
        return self.process.pid

    def go(self):
        self.held = time.monotonic() - self.started
        os.kill(self.pid, signal.SIGCONT)
        return self

    def ended(self):
        """Has it, without being waited for: its numbers stay readable."""
        return self.did or os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def wait_until(self, condition, what, seconds=60):
        def check():
            if self.ended():
                raise AssertionError(f"{self.name} has ended: {self.log()[-3000:]}")
            return condition()
        return machine.wait_for(check, seconds, what)

    def finish(self, seconds=120, code=0):
        """What it printed. It has to end by itself, with this exit code."""
        machine.wait_for(self.ended, seconds, f"{self.name} ends")
        if self.did is None:
            end, self.process.returncode = Did.of_end(self.pid)
            self.did = end - self.before
            if self.process.returncode != code:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}: {self.out()[-2000:]}{self.log()[-3000:]}")
        return self.out()

    def stop(self, how=signal.SIGTERM, seconds=60, code=0):
        os.kill(self.pid, how)
        return self.finish(seconds, code)

    def threads(self):
        """How many it has now beside the first."""
        return len(os.listdir(f"/proc/{self.pid}/task")) - 1

    def kill(self):
        if self.process.returncode is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()

    def out(self):
        return self.out_path.read_text(errors="replace")

    def log(self):
        return self.log_path.read_text(errors="replace")


def run(case, argv, **kwargs):
    """A program from begin to end; what it printed."""
    return Program(case, argv, **kwargs).go().finish()
