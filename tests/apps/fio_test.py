# SPDX-License-Identifier: Apache-2.0
"""fio: what a job reports of itself is what Sonde counted, call by call.

fio's job process moves itself into the measured cgroup before its first operation (exec_prerun). So nothing stands there
but the job: no loading of libraries, no reading of /proc, no report.
"""

import json
import os
import pathlib

import program
from case import AppCase, operations
from unseen import UnseenEnds

PAGE = os.sysconf("SC_PAGE_SIZE")
BLOCK = 4096  # of a job that is not told another


class Fio(AppCase):
    def job(self, group, name, **options):
        """Begins fio; its job runs in the cgroup."""
        given = {"name": name, "filename": os.path.join(self.directory, f"{name}.data"), "size": "16m", "bs": "4k",
                 "rw": "randrw", "ioengine": "psync", "number_ios": 3000, "randseed": 7, "fallocate": "none",
                 "output-format": "json", "output": self.report(name), **options}
        fio = self.need("fio")
        words = [f"--{key}={value}" for key, value in given.items()]
        program.run(self, [fio, *words, "--create_only=1"])  # the file is there, and written, before anything is counted
        os.sync()
        pathlib.Path(given["filename"]).read_bytes()  # and in the page cache
        move = f"--exec_prerun={{ echo $PPID >{group.directory}/cgroup.procs; }}"
        return program.Program(self, [fio, *words, move], name=name).go()

    def report(self, name):
        return os.path.join(self.directory, f"{name}.json")

    def both(self, name, **options):
        """The same job in a measured cgroup and in one that is not: (what fio says, what Sonde says)."""
        group, other = self.cgroup(), self.cgroup("unselected")
        self.need("fio")
        self.measure(group)
        unseen = UnseenEnds()
        self.addCleanup(unseen.close)
        jobs = [self.job(group, name, **options), self.job(other, name + "-unselected", **options)]
        for job in jobs:
            job.finish()
        told = [json.load(open(self.report(job.name)))["jobs"][0] for job in jobs]
        self.assertEqual([job["error"] for job in told], [0, 0])
        self.unseen = unseen.count()
        return group.path, told[0], self.finish(other)

    def assert_job(self, where, told, metrics):
        """Bytes and calls, exactly."""
        self.compare(metrics, {
            "bytes read": (metrics.total("sonde.file.io", where, disk__io__direction="read") or 0, told["read"]["io_bytes"]),
            "bytes written": (metrics.total("sonde.file.io", where, disk__io__direction="write") or 0, told["write"]["io_bytes"]),
            "reads": (operations(metrics, where, "read"), told["read"]["total_ios"]),
            "writes": (operations(metrics, where, "write"), told["write"]["total_ios"]),
            "fsyncs": (operations(metrics, where, "fsync"), told["sync"]["total_ios"]),
            "errors": (metrics.total("sonde.file.operation.errors", where) or 0, 0),
        })

    def assert_cache(self, where, told, metrics, hit, miss):
        """Pages are read whole here, and none is written twice. The job also touches some pages of its program, and the
        probe may take a few hits after them for parts of one read (its README). A large folio gets dirty as a whole."""
        def total(name, **attributes):
            return metrics.total(f"sonde.page_cache.{name}", where, **attributes) or 0
        some = 64 * PAGE
        self.between(metrics, "bytes found in the cache", total("read", sonde__page_cache__outcome="hit"), hit - some, hit + some)
        self.between(metrics, "bytes not found", total("read", sonde__page_cache__outcome="miss"), miss, miss + some)
        written = told["write"]["io_bytes"]
        self.between(metrics, "bytes that became dirty", total("dirtied"), written, 4 * written + 4 * PAGE)

    def assert_blocks(self, where, told, metrics):
        """A direct job's disk I/O is its own, but for requests that end where no program can see it: each a block of its."""
        missing = 0
        for kind in ("read", "write"):
            truth = told[kind]["io_bytes"]
            counted = metrics.total("sonde.block.io", where, disk__io__direction=kind) or 0
            self.between(metrics, f"bytes {kind} on the disk", counted, truth - self.unseen * BLOCK, truth)
            missing += truth - counted
        self.between(metrics, "bytes missing in all", missing, 0, self.unseen * BLOCK)

    def test_buffered(self):
        where, told, metrics = self.both("buffered", invalidate=0)
        self.assert_job(where, told, metrics)
        self.assert_cache(where, told, metrics, told["read"]["io_bytes"], 0)

    def test_cold(self):
        """fio throws the file out of the cache and reads it from end to end."""
        where, told, metrics = self.both("cold", rw="read", number_ios=4096)
        self.assert_job(where, told, metrics)
        self.assert_cache(where, told, metrics, 0, told["read"]["io_bytes"])
        calls = metrics.total("sonde.fadvise.calls", where, sonde__fadvise__advice="dontneed")
        self.compare(metrics, {"calls to throw it out": (calls, 1)})

    def test_vectors(self):
        self.assert_job(*self.both("vectors", ioengine="pvsync2", bs="512-16k", number_ios=1000))

    def test_fsync(self):
        where, told, metrics = self.both("fsync", rw="randwrite", fsync=5, number_ios=200)
        self.assertGreaterEqual(told["sync"]["total_ios"], 39)
        self.assert_job(where, told, metrics)

    def test_direct(self):
        job = self.both("direct", direct=1, number_ios=1000)
        self.assert_job(*job)
        self.assert_blocks(*job)

    def test_io_uring(self):
        self.assert_job(*self.both("io_uring", ioengine="io_uring", iodepth=8, number_ios=1000))

    def test_io_uring_direct(self):
        job = self.both("io_uring_direct", ioengine="io_uring", iodepth=8, direct=1, number_ios=1000)
        self.assert_job(*job)
        self.assert_blocks(*job)
