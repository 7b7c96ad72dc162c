# SPDX-License-Identifier: Apache-2.0
"""Throughput that applications lose: without an agent, with preset Standard, with each probe alone.

The programs of tests/apps, server and client both in measured cgroups. In each round every variant runs every load once, one
after the other, the order turned from round to round, after a first round that does not count. What disturbs a machine only
takes away: a loss is what the upper quartile of the rounds is below the one without an agent. CPU time for a piece of work, of all
processes of the load by cpu.stat, says the same of a full machine with less chance in it: its lower quartile beside the one
without an agent. The range behind each holds nine in ten of such figures if the rounds are drawn again (bootstrap), and
`nothing again` shows what is chance. Loads begin after the agent's first second of the kernel's statistics, which double the
price of a program; it takes the next one a minute later.
  apps_bench.py [--rounds N] [--seconds S] [--loads a,b] [--variants a,b] [--json FILE]
"""

import argparse
import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "apps"), str(HERE.parent / "e2e")]
sys.dont_write_bytecode = True

import build_test  # noqa: E402
import nginx_test  # noqa: E402
import postgres_test  # noqa: E402
import program  # noqa: E402
import redis_test  # noqa: E402
from support import agent, machine  # noqa: E402

PARENT = f"sonde-bench-{os.getpid()}"
POLICY = """apiVersion: sonde.dev/v1alpha1
kind: ClusterMonitorPolicy
metadata: {{name: bench}}
spec:
  cgroups: ["/{parent}/*"]
  {asked}
"""


class Bench(redis_test.Redis):
    """Programs of the loads, and what ends them."""

    def runTest(self):
        pass

    def cgroup(self, name="work"):
        group = machine.Cgroup(f"{PARENT}/{name}")
        return self.ending(group, group.remove)

    def output(self, argv, cgroup, **kwargs):
        text = program.run(self, argv, cgroup=cgroup, **kwargs)
        self._ends.pop()  # it has ended; there are thousands of them
        return text


# A load is a class: made once, called with seconds, it returns pieces of work, and the same per second.
class Fio:
    title = "fio, random 4 KiB reads, cached"

    def __init__(self, bench):
        self.bench, self.fio, self.group = bench, bench.need("fio"), bench.cgroup("fio")
        self.argv = [self.fio, "--name=fio", f"--filename={bench.directory}/fio.data", "--size=64m", "--bs=4k",
                     "--rw=randread", "--ioengine=psync", "--invalidate=0", "--output-format=json"]
        bench.output([*self.argv, "--create_only=1"], None)

    def __call__(self, seconds):
        out = self.bench.output([*self.argv, "--time_based", f"--runtime={seconds}"], self.group)
        read = json.loads(out[out.index("{"):])["jobs"][0]["read"]
        return read["total_ios"], read["iops"]


class Redis:
    title = "Redis, GET from 10 clients"

    def __init__(self, bench):
        self.bench, self.tool, self.group = bench, bench.need("redis-benchmark"), bench.cgroup("redis-client")
        _, self.port = bench.server(bench.cgroup("redis"))
        self.requests = 5000
        self(1)

    def __call__(self, seconds):
        pieces = int(self.requests * seconds)
        out = self.bench.output([self.tool, "-p", self.port, "-c", 10, "-n", pieces, "-t", "get", "--csv"], self.group)
        rate = float(re.search(r'"GET","([0-9.]+)"', out)[1])
        self.requests = max(1000, rate)
        return pieces, rate


class Nginx:
    title = "nginx, 20 kB pages over 8 connections"

    def __init__(self, bench):
        self.bench, self.tool, self.group = bench, bench.need("wrk"), bench.cgroup("nginx-client")
        self.port = nginx_test.Server(bench, bench.cgroup("nginx-1"), "on").port

    def __call__(self, seconds):
        out = self.bench.output([self.tool, "-t", 1, "-c", 8, "-d", f"{seconds}s", f"http://127.0.0.1:{self.port}/page"],
                                self.group)
        return int(re.search(r"(\d+) requests in", out)[1]), float(re.search(r"Requests/sec:\s+([0-9.]+)", out)[1])


class Postgres:
    title = "PostgreSQL, pgbench -S from 4 clients"

    def __init__(self, bench):
        self.bench, self.group = bench, bench.cgroup("postgres-client")
        self.server = postgres_test.Server(bench, "postgres")
        self.server.make()
        self.server.start(bench.cgroup("postgres"))

    def __call__(self, seconds):
        out = self.server.load("-n", "-S", "-c", 4, "-T", seconds, group=self.group)
        self.bench._ends.pop()
        return (int(re.search(r"transactions actually processed: (\d+)", out)[1]),
                float(re.search(r"tps = ([0-9.]+)", out)[1]))


class Build:
    title = "make and gcc, 31 files"

    def __init__(self, bench):
        self.bench, self.group = bench, bench.cgroup("build")
        self.directory = build_test.Build.project(bench, "build")
        self.make = bench.need("make")

    def __call__(self, seconds):
        begin, builds = time.monotonic(), 0
        while builds == 0 or time.monotonic() - begin < seconds:
            for part in self.directory.glob("*.o"):
                part.unlink()
            self.bench.output([self.make, "-rR", "-j2", "-s"], self.group, cwd=self.directory)
            builds += 1
        return builds, builds / (time.monotonic() - begin)


LOADS = {"fio": Fio, "redis": Redis, "nginx": Nginx, "postgres": Postgres, "build": Build}


def variants():
    """Name → what a policy asks; None: no agent."""
    found = {"nothing": None, "nothing again": None, "Standard": "preset: Standard"}
    probes = json.loads(subprocess.run([agent.BINARY, "probes", "-o", "json"], check=True, capture_output=True).stdout)
    for probe in probes:
        levels = {metric["level"] for metric in probe["metrics"] if not metric["node"]}
        level = "Standard" if levels & {"Minimal", "Standard"} else "Detailed"
        if level in levels or level == "Standard":
            name = probe["module"]
            found[f"{name}" if level == "Standard" else f"{name} {level}"] = f"probes: [{{name: {name}, level: {level}}}]"
    return found


def has_sampled(sonde):
    """One second in sixty, the first soon after its start, the agent has the kernel time each run of a program, which costs
    more than most programs. Has that second passed?"""
    status, body = sonde.get("/statusz", local=True)
    return status == 200 and all("mean_ns" in module for module in json.loads(body)["modules"] if module["programs"])


@contextlib.contextmanager
def measured(bench, asked):
    """While an agent measures the loads' cgroups, if one is asked."""
    if asked is None:
        yield
        return
    policies = pathlib.Path(bench.directory) / "policies"
    policies.mkdir(exist_ok=True)
    (policies / "bench.yaml").write_text(POLICY.format(parent=PARENT, asked=asked))
    sonde = agent.Agent(bench.directory, "--export", "file", "--file", "/dev/null", "--interval", "10s", policies=str(policies))
    try:
        sonde.wait_ready()
        machine.wait_for(lambda: has_sampled(sonde), 30, "the agent's first second of statistics is over")
        yield
    finally:
        sonde.stop()


def cpu_us():
    """Of all processes of the loads, since they were started."""
    stat = (machine.cgroup_root() / PARENT / "cpu.stat").read_text()
    return int(re.search(r"usage_usec (\d+)", stat)[1])


def run(bench, loads, wanted, rounds, seconds):
    """{load: {variant: [(pieces per second, us of CPU per piece)]}}"""
    found = {load: {name: [] for name in wanted} for load in loads}
    names = list(wanted)
    for work in loads.values():
        work(seconds)
    for i in range(rounds):
        turn = i * 5 % len(names)
        for name in names[turn:] + names[:turn]:
            with measured(bench, wanted[name]):
                for load, work in loads.items():
                    before = cpu_us()
                    pieces, rate = work(seconds)
                    found[load][name].append((rate, (cpu_us() - before) / pieces))
        if sys.stderr.isatty():
            print(f"\r  round {i + 1} of {rounds} ", end="", file=sys.stderr, flush=True)
    return found


def upper(values):
    return sorted(values)[-1 - len(values) // 4]


def lower(values):
    return sorted(values)[len(values) // 4]


def beside(values, nothing, quartile, percent):
    """What `percent` says of the quartiles of both, and its 5th and 95th percentile over rounds drawn again."""
    draw = random.Random(1)

    def again(rounds):
        return quartile(draw.choices(rounds, k=len(rounds)))

    drawn = sorted(percent(again(values), again(nothing)) for _ in range(1000))
    return {"percent": percent(quartile(values), quartile(nothing)), "nine_in_ten": [drawn[50], drawn[-51]]}


def described(name, rounds, nothing):
    rates, costs = zip(*rounds)
    base_rates, base_costs = zip(*nothing)
    return {"variant": name, "per_second": upper(rates), "cpu_us": lower(costs),
            "lost": beside(rates, base_rates, upper, lambda value, base: 100 * (1 - value / base)),
            "more_cpu": beside(costs, base_costs, lower, lambda value, base: 100 * (value / base - 1)),
            "rounds": [[round(rate, 2), round(cost, 4)] for rate, cost in rounds]}


def report(loads, found):
    answer = {}
    for load, work in loads.items():
        rows = [described(name, rounds, found[load]["nothing"]) for name, rounds in found[load].items()]
        print(f"\n{work.title}: {rows[0]['per_second']:,.1f} a second, {rows[0]['cpu_us']:,.1f} us of CPU each, "
              "with nothing attached")
        print(f"{'':24}{'% lost':>10}{'nine in ten':>20}{'% more CPU':>14}{'nine in ten':>20}")
        for row in rows[1:]:
            line = f"{row['variant']:24}"
            for key, width in (("lost", 10), ("more_cpu", 14)):
                low, high = row[key]["nine_in_ten"]
                line += f"{row[key]['percent']:>{width}.1f}{f'{low:.1f} .. {high:.1f}':>20}"
            print(line)
        answer[load] = {"work": work.title, "variants": rows}
    return answer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--loads", default=",".join(LOADS))
    parser.add_argument("--variants", default="")
    parser.add_argument("--json", default="")
    given = parser.parse_args()
    program.build_held()
    bench = Bench()
    bench.setUp()
    parent = machine.cgroup_root() / PARENT
    parent.mkdir()
    try:
        wanted = variants()
        if given.variants:
            wanted = {name: wanted[name] for name in ["nothing", *given.variants.split(",")]}
        loads = {name: LOADS[name](bench) for name in given.loads.split(",")}
        answer = report(loads, run(bench, loads, wanted, given.rounds, given.seconds))
    finally:
        bench.tearDown()
        shutil.rmtree(bench.directory, ignore_errors=True)
        parent.rmdir()
    if given.json:
        pathlib.Path(given.json).write_text(json.dumps({"rounds": given.rounds, "seconds": given.seconds, "loads": answer}, indent=2))


main()
