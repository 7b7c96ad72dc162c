# SPDX-License-Identifier: Apache-2.0
"""Functions and USDT probes of servers, counted from outside, beside what the servers count themselves."""

import re

import nginx_test
import postgres_test
import program
import redis_test
from case import AppCase


def uprobe(name, path, symbol, *measure):
    return {"name": name, "type": "Uprobe", "path": str(path), "symbol": symbol, "measure": list(measure)}


class Counted(AppCase):
    def calls(self, metrics, where, name):
        return metrics.total("sonde.function.calls", where, sonde__function__name=name) or 0

    def timed(self, metrics, where, name):
        return sum(int(p["count"]) for p in metrics.select("sonde.function.duration", where, sonde__function__name=name))


class Nginx(Counted):
    def test_requests(self):
        """One request object is made for each request, and each is processed once."""
        wrk, binary = self.need("wrk", "nginx")
        group, other = self.cgroup(), self.cgroup("unselected")
        self.measure(group, functions=[uprobe("made", binary, "ngx_http_create_request", "Calls"),
                                       uprobe("processed", binary, "ngx_http_process_request", "Calls", "Duration")])
        servers = [nginx_test.Server(self, one, "on") for one in (group, other)]
        self.attached("made", "processed")
        # What came before the probes were in place; the status page counts its own request.
        _, before, _, _ = servers[0].status()
        settled = self.settled(group)
        for one in servers:
            program.run(self, [wrk, "-t", 1, "-c", nginx_test.CLIENTS, "-d", "1s", f"http://127.0.0.1:{one.port}/page"],
                        cgroup=self.client)
        _, requests, _, _ = servers[0].status()
        for one in servers:
            one.program.stop()
        metrics, where = self.finish(other), group.path
        self.assertGreater(requests - before, 100)
        self.compare(metrics, {
            what: (self.calls(metrics, where, what) - self.calls(settled, where, what), requests - before)
            for what in ("made", "processed")})
        self.compare(metrics, {"durations": (self.timed(metrics, where, "processed"), self.calls(metrics, where, "processed"))})


class Redis(redis_test.Redis, Counted):
    test_sockets = test_append_only_file = None  # they run in redis_test.py

    def test_commands(self):
        """Each command that the server counts went through call()."""
        binary = self.need("redis-check-rdb")
        self.need("redis-benchmark")
        group, other = self.cgroup(), self.cgroup("unselected")
        # The program's path is the one that the kernel knows, not the link by which it was started.
        self.measure(group, functions=[uprobe("commands", binary, "call", "Calls", "Duration")])
        (_, port), (_, second_port) = self.server(group), self.server(other)
        self.attached("commands")
        before, settled = int(self.info(port)["total_commands_processed"]), self.settled(group)
        for one in (port, second_port):
            self.load(one, "-n", 5000, "-c", 10, "-t", "set,get")
        now, after = int(self.info(port)["total_commands_processed"]), self.settled(group)
        where = group.path
        self.assertGreaterEqual(now - before, 10_000)
        self.compare(after, {
            "commands": (self.calls(after, where, "commands") - self.calls(settled, where, "commands"), now - before),
            "durations": (self.timed(after, where, "commands"), self.calls(after, where, "commands"))})
        self.finish(other)


class Postgres(Counted):
    def test_commits(self):
        """A USDT probe with a semaphore is passed by each commit that the statistics count; each that wrote something,
        those of pgbench, flushes the log once."""
        postgres = self.need("postgres")
        self.need("initdb", "psql", "pgbench")
        group, other = self.cgroup(), self.cgroup("unselected")
        server = postgres_test.Server(self, "one")
        server.make()
        second = server.copy("two")
        commits = {"name": "commits", "type": "USDT", "path": str(postgres), "symbol": "postgresql:transaction__commit",
                   "measure": ["Calls"]}
        self.measure(group, functions=[commits, uprobe("flushes", postgres, "XLogFlush", "Calls", "Duration")])
        server.start(group), second.start(other)
        self.attached("commits", "flushes")
        question = "select sum(xact_commit) from pg_stat_database"
        (told,), before = server.ask(question), self.settled(group)
        for one in (server, second):
            out = one.load("-n", "-c", postgres_test.CLIENTS, "-t", postgres_test.TRANSACTIONS, group=self.client)
        done = int(re.search(r"actually processed: (\d+)", out)[1])
        (now,), after = server.ask(question), self.settled(group)
        server.stop(), second.stop()
        self.finish(other)
        where = group.path

        def moved(name):
            return self.calls(after, where, name) - self.calls(before, where, name)
        self.compare(after, {"commits": (moved("commits"), now - told),
                             "durations": (self.timed(after, where, "flushes"), self.calls(after, where, "flushes"))})
        self.assertGreaterEqual(now - told, done)
        self.compare(after, {"flushes": (moved("flushes"), done)})
