# SPDX-License-Identifier: Apache-2.0
"""Block requests whose end no BPF program can see. There are machines that run none while a thread of their process 1 is on
a CPU, not even in an interrupt that comes over it; perf counts there all the same."""

import ctypes
import os
import pathlib
import struct

TRACEPOINT = pathlib.Path("/sys/kernel/tracing/events/block/block_rq_complete/id")
PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
SET_FILTER = 0x40082406  # PERF_EVENT_IOC_SET_FILTER


class UnseenEnds:
    """Counts from its making on."""

    def __init__(self):
        threads = os.listdir("/proc/1/task")
        words = ctypes.create_string_buffer(" || ".join(f"common_pid == {thread}" for thread in threads).encode())
        attributes = ctypes.create_string_buffer(struct.pack("<IIQ", 2, 128, int(TRACEPOINT.read_text())), 128)
        libc = ctypes.CDLL(None, use_errno=True)
        self.events = []
        for cpu in os.sched_getaffinity(0):
            event = libc.syscall(PERF_EVENT_OPEN[os.uname().machine], attributes, -1, cpu, -1, 8)
            if event < 0:
                raise OSError(ctypes.get_errno(), "perf does not count block_rq_complete")
            self.events.append(os.fdopen(event, "rb", buffering=0))
            if libc.ioctl(event, ctypes.c_ulong(SET_FILTER), words):
                raise OSError(ctypes.get_errno(), "perf does not take the filter")

    def count(self):
        return sum(struct.unpack("<Q", event.read(8))[0] for event in self.events)

    def close(self):
        for event in self.events:
            event.close()
