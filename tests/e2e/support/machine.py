# SPDX-License-Identifier: Apache-2.0
"""Processes, ports, cgroups and the known work of workload.c."""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
BUILD = REPOSITORY / "build"
PATIENCE = int(os.environ.get("E2E_PATIENCE", "1"))  # times longer that everything may take, for emulated machines
FULL = os.environ.get("E2E_FULL") == "1"
JOBS = int(os.environ.get("E2E_JOBS") or min(2, os.cpu_count() or 1))  # most of a scenario is waiting


def tool(name):
    return str(pathlib.Path(os.environ["SONDE_E2E_TOOLS"]) / name)


_given = set()


def free_port():
    """Never given twice, and below those that the kernel gives to connections: nobody takes it before it is used."""
    first, last = 12_000, 32_000
    while True:
        port = random.randrange(first, last)
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass  # somebody listens there


def wait_for(condition, seconds, what):
    """The first true value of condition(); AssertionError naming `what` if there is none in time."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.1)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    except OSError:
        return False


class Service:
    """A program that runs until it is stopped; its output goes to files of its own that failures point to."""
    started = 0

    def __init__(self, directory, name, argv, env=None):
        Service.started += 1
        self.name = f"{name}-{Service.started}"
        self.log_path = pathlib.Path(directory) / f"{self.name}.log"
        self.stdout_path = pathlib.Path(directory) / f"{self.name}.out"
        with open(self.log_path, "wb") as log, open(self.stdout_path, "wb") as out:
            inherited = {k: v for k, v in os.environ.items() if not k.startswith(("SONDE_", "OTEL_"))}
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                                            env={**inherited, **(env or {})}, cwd=directory)

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def out(self):
        return self.stdout_path.read_text(errors="replace")

    def wait_until(self, condition, seconds, what):
        def check():
            if not self.alive():
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log()[-3000:]}")
            return condition()
        return wait_for(check, seconds, what)

    def rss(self):
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"{self.name} has no VmRSS")

    def stop(self, sig=signal.SIGTERM, seconds=60):
        """Its exit code; negative: the signal that ended it."""
        if self.alive():
            self.process.send_signal(sig)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not stop within {seconds} s:\n{self.log()[-3000:]}") from None

    def kill(self):
        if self.alive():
            self.process.kill()
        self.process.wait()


def cgroup_root():
    for line in open("/proc/mounts"):
        fields = line.split()
        if fields[2] == "cgroup2":
            return pathlib.Path(fields[1])
    return None


class Cgroup:
    """A directory of its own in the v2 tree; what is in it is killed at the end."""

    def __init__(self, name):
        self.path = f"/{name}"
        self.directory = cgroup_root() / name
        self.directory.mkdir(parents=True)

    def add(self, pid):
        (self.directory / "cgroup.procs").write_text(str(pid))

    def remove(self):
        for pid in (self.directory / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        wait_for(lambda: _removed(self.directory), 60, f"rmdir {self.directory}")


class MemoryLimit:
    """A limit for who is added: a cgroup of version 1 where the machine has its memory controller there."""

    def __init__(self, name, limit):
        self.directory = pathlib.Path("/sys/fs/cgroup/memory") / name
        if self.directory.parent.is_dir():
            self.directory.mkdir()
            for file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"):
                if (self.directory / file).exists():
                    (self.directory / file).write_text(str(limit))
        self.limit = limit

    def hold(self, cgroup, pid):
        """Limits the process, which goes into this cgroup of version 2 as well. False: this machine has no such controller."""
        cgroup.add(pid)
        if self.directory.is_dir():
            (self.directory / "cgroup.procs").write_text(str(pid))
            return True
        controllers = [parent / "cgroup.subtree_control" for parent in reversed(cgroup.directory.parents)]
        for one in controllers:
            if one.exists() and "memory" not in one.read_text().split():
                try:
                    one.write_text("+memory")
                except OSError:
                    return False
        (cgroup.directory / "memory.max").write_text(str(self.limit))
        if (cgroup.directory / "memory.swap.max").exists():
            (cgroup.directory / "memory.swap.max").write_text("0")
        return True

    def remove(self):
        if self.directory.is_dir():
            wait_for(lambda: _removed(self.directory), 20, f"rmdir {self.directory}")


def _removed(directory):
    try:
        directory.rmdir()
        return True
    except OSError:
        return False


class ForeignCgroup:
    """A directory of somebody else, to work in."""

    def __init__(self, directory):
        self.directory = directory

    def add(self, pid):
        (self.directory / "cgroup.procs").write_text(str(pid))


class Workload:
    """workload.c, stopped before its first call, then moved into the cgroup."""

    def __init__(self, cgroup, *args, stdin="", held=False):
        self.process = subprocess.Popen([str(BUILD / "e2e" / "workload"), *map(str, args)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.process.stdin.write(stdin)
        self.process.stdin.close()
        self.process.stdin = None
        _, status = os.waitpid(self.process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            raise AssertionError(f"workload {args}: {self.process.stderr.read()}")
        if cgroup:
            cgroup.add(self.process.pid)
        if not held:
            self.go()

    def go(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.finish()

    def finish(self, seconds=300):
        """What it printed."""
        out, err = self.process.communicate(timeout=seconds)  # what it prints may be more than a pipe takes
        code = self.process.returncode
        if code != 0:
            raise AssertionError(f"the workload ended with {code}: {err}")
        return json.loads(out) if out else None


def settled(value, seconds=5, most=60):
    """What value() is once it has not changed for so long."""
    seen, end = [value()], time.monotonic() + most * PATIENCE
    while len(seen) <= seconds or len(set(seen[-seconds - 1:])) > 1:
        assert time.monotonic() < end, f"it goes on: {seen}"
        time.sleep(1)
        seen.append(value())
    return seen[-1]


def most_within(times, seconds):
    """How many of these ascending times are within any span of so many seconds at most."""
    most = first = 0
    for last, time_of_last in enumerate(times):
        while times[first] < time_of_last - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def build_workload():
    source = REPOSITORY / "tests/e2e/workload.c"
    binary = BUILD / "e2e" / "workload"
    if not binary.exists() or binary.stat().st_mtime < source.stat().st_mtime:
        binary.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(binary), str(source)], check=True)
