# SPDX-License-Identifier: Apache-2.0
"""pgbench against a PostgreSQL server: what the server's statistics say of its log, and the kernel of all its processes."""

import pathlib
import shutil
import signal
import subprocess

import program
from case import AppCase, bytes_moved, operations
from support import machine

# Nothing but the load writes or syncs: no checkpoint, no vacuum, no background writer. Work is done by the backends.
SETTINGS = """
listen_addresses = ''
shared_buffers = 64MB
wal_sync_method = fdatasync
wal_init_zero = off
synchronous_commit = on
checkpoint_timeout = 1d
max_wal_size = 2GB
autovacuum = off
bgwriter_lru_maxpages = 0
max_parallel_workers = 0
log_checkpoints = off
"""
STATISTICS = "select wal_write, wal_sync, pg_database_size(current_database()) from pg_stat_wal"
PAGE = 8192
CLIENTS, TRANSACTIONS = 4, 100


class Server:
    def __init__(self, case, name):
        self.case = case
        self.postgres, self.initdb, self.psql, self.pgbench = case.need("postgres", "initdb", "psql", "pgbench")
        self.directory = pathlib.Path(case.directory) / name
        self.data = self.directory / "data"

    def make(self):
        """A new cluster with pgbench's tables. Its log does not come to the end of a file: that would be a sync more."""
        self.directory.mkdir()
        shutil.chown(self.directory, program.USER.pw_uid, program.USER.pw_gid)
        program.run(self.case, [self.initdb, "-D", self.data, "-A", "trust", "-U", "postgres", "-N", "--no-instructions",
                                "--wal-segsize=64"], user=program.USER)
        with open(self.data / "postgresql.conf", "a", encoding="ascii") as config:
            config.write(SETTINGS)
        self.start()
        self.load("-i", "-q", "-s", 1)
        self.stop()

    def copy(self, name):
        other = Server(self.case, name)
        subprocess.run(["cp", "-a", self.directory, other.directory], check=True)
        return other

    def start(self, group=None):
        self.program = program.Program(self.case, [self.postgres, "-D", self.data, "-k", self.directory], cgroup=group, user=program.USER,
                                       name="postgres").go()
        self.program.wait_until(lambda: "ready to accept connections" in self.program.log(), "PostgreSQL is ready")
        return self

    def stop(self):
        self.program.stop(signal.SIGINT)  # a fast shutdown

    def ask(self, query):
        """The one row of the answer."""
        out = program.run(self.case, [self.psql, "-h", self.directory, "-U", "postgres", "-AtX", "-c", query])
        return [int(word) for word in out.strip().split("|")]

    def load(self, *options, group=None):
        return program.run(self.case, [self.pgbench, "-h", self.directory, "-U", "postgres", *options, "postgres"], cgroup=group)


class Postgres(AppCase):
    def test_pgbench(self):
        self.need("postgres", "initdb", "psql", "pgbench")
        group, other = self.cgroup(), self.cgroup("unselected")
        server = Server(self, "one")
        server.make()
        second = server.copy("two")
        self.measure(group)
        server.start(group), second.start(other)
        # Caches filled and files of the log in place: a first round that is not looked at.
        for one in (server, second):
            one.load("-n", "-c", CLIENTS, "-t", TRANSACTIONS, group=self.client)
        told, before = server.ask(STATISTICS), self.settled(group)
        for one in (server, second):
            out = one.load("-n", "-c", CLIENTS, "-t", TRANSACTIONS, group=self.client)
            self.assertIn(f"number of transactions actually processed: {CLIENTS * TRANSACTIONS}/", out)
        now, after = server.ask(STATISTICS), self.settled(group)
        server.stop(), second.stop()
        metrics, where = self.finish(other), group.path

        writes, syncs, grown = (b - a for a, b in zip(told, now))
        self.compare(after, {
            "syncs of the log": (operations(after, where, "fsync") - operations(before, where, "fsync"), syncs),
            # Pages stay in the server's memory, except that a file grows by a write for each new page.
            "writes": (operations(after, where, "write") - operations(before, where, "write"), writes + grown // PAGE),
        })
        self.between(after, "syncs", syncs, TRANSACTIONS, CLIENTS * TRANSACTIONS + 10)
        self.compare(metrics, {
            "bytes written in all": (bytes_moved(metrics, where, "write"), server.program.did.wchar),
            "bytes read in all": (bytes_moved(metrics, where, "read") + program.exec_bytes(server.postgres),
                                  server.program.did.rchar),
        })
        self.assertEqual(metrics.total("sonde.tcp.io", where) or 0, 0)  # all went over a unix socket
        self.assert_scheduling(metrics, where, server.program.did)
        self.assert_thread_time(metrics, where, server.program.held)
        # Each session is a process: those of pgbench, twice, its own for the transactions' sake, and the two questions.
        self.assert_processes(metrics, where, execs=1)
        self.assertGreaterEqual(metrics.total("sonde.process.forks", where), 2 * CLIENTS + 2)
