// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// The programs of the io probe and the two ways to see system calls. Included by io.cpp alone.
#pragma once

#include <sonde/syscalls.h>

#include <string>
#include <string_view>

#include "agent/module/module.h"
#include "agent/module/threads.h"
#include "bpf/modules/io/io.h"

namespace sonde {

enum IoAlternative : int { kFentry, kTracepoints };

inline std::string fentry_unusable(const Features& features) {
  if (!features.fentry) return "this kernel refuses fentry programs";
  if (features.preemptible) return "the kernel is preemptible, and fentry programs would miss calls";
  if (!features.has_function(SONDE_SYSCALL(read))) return "system call functions do not take pt_regs on this kernel";
  return {};
}

inline bool has_overflows(const Features& features) { return features.has_tracepoint("io_uring_cqe_overflow"); }
// CONFIG_AIO, CONFIG_FHANDLE
inline bool has_aio(const Features& features) { return features.has_function(SONDE_SYSCALL(io_submit)); }
inline bool has_open_by_handle(const Features& features) {
  return features.has_function(SONDE_SYSCALL(open_by_handle_at));
}

inline constexpr Alternative kAlternatives[] = {
    {"fentry", fentry_unusable},
    {"tracepoints", [](const Features&) { return std::string(); }},
};

inline constexpr uint8_t kCallEnds = IO_ENTRY | IO_BYTES;
inline constexpr uint8_t kFsync = IO_OPERATIONS | IO_ERRORS;
inline constexpr uint16_t kTracepointNs = 125;  // README.md, "Cost"

// Calls that a kernel may be built without name a function that says whether it has them.
#define IO_PROGRAMS_IF(has, name, begins, ends)                                                               \
  {.program = "io_enter_" #name,                                                                              \
   .hook = "fentry/" SONDE_SYSCALL(name),                                                                     \
   .flags = begins,                                                                                           \
   .alternative = kFentry,                                                                                    \
   .needs_context = true,                                                                                     \
   .needed = has},                                                                                            \
  {                                                                                                           \
    .program = "io_exit_" #name, .hook = "fexit/" SONDE_SYSCALL(name), .flags = ends, .alternative = kFentry, \
    .needs_context = true, .needed = has                                                                      \
  }
#define IO_PROGRAMS(name, begins, ends) IO_PROGRAMS_IF(nullptr, name, begins, ends)

inline constexpr ProgramSpec kPrograms[] = {
    {.program = "io_sys_enter",
     .hook = "tp_btf/sys_enter",
     .flags = IO_ENTRY,
     .alternative = kTracepoints,
     .needs_context = true,
     .cost_ns = kTracepointNs},
    {.program = "io_sys_exit",
     .hook = "tp_btf/sys_exit",
     .flags = kCallEnds,
     .alternative = kTracepoints,
     .needs_context = true,
     .cost_ns = kTracepointNs},
    IO_PROGRAMS(read, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(pread64, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(readv, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(preadv, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(preadv2, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(write, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(pwrite64, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(writev, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(pwritev, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(pwritev2, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(sendfile64, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(splice, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(tee, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(vmsplice, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(copy_file_range, IO_ENTRY, kCallEnds),
    IO_PROGRAMS_IF(has_aio, io_submit, IO_ENTRY, kCallEnds),
    IO_PROGRAMS_IF(has_aio, io_getevents, IO_ENTRY, kCallEnds),
    IO_PROGRAMS_IF(has_aio, io_pgetevents, IO_ENTRY, kCallEnds),
    IO_PROGRAMS(fsync, kFsync, kFsync),
    IO_PROGRAMS(fdatasync, kFsync, kFsync),
    IO_PROGRAMS(openat, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(openat2, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS_IF(has_open_by_handle, open_by_handle_at, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(close, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(renameat, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(renameat2, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(unlinkat, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(newfstat, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(newfstatat, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(statx, IO_DETAIL, IO_DETAIL),
#if defined(__x86_64__)
    IO_PROGRAMS(open, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(creat, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(rename, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(unlink, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(rmdir, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(newstat, IO_DETAIL, IO_DETAIL),
    IO_PROGRAMS(newlstat, IO_DETAIL, IO_DETAIL),
#endif
    {.program = "io_uring_submit",
     .hook = "tp_btf/io_uring_submit_req",
     .flags = IO_URING | IO_REQUEST,
     .gap = "io_uring requests are not counted, and neither are their bytes and durations"},
    {.program = "io_uring_complete",
     .hook = "tp_btf/io_uring_complete",
     .flags = IO_REQUEST,
     .gap = "bytes, durations and errors of io_uring requests are not counted"},
    {.program = "io_uring_overflow",
     .hook = "tp_btf/io_uring_cqe_overflow",
     .flags = IO_REQUEST,
     .gap = "io_uring requests that overflow the completion queue are not counted",
     .needed = has_overflows},
    {.program = "io_count_files_all",
     .hook = "run by the agent before a collection, over the file tables of all tasks",
     .flags = IO_OPEN_COUNT,
     .gap = "open files are not counted (sonde.file.open_descriptors)",
     .needed = walks_by_kernel},
    {.program = "io_open_files",
     .hook = "iter/task_file",
     .flags = IO_OPEN_COUNT,
     .gap = "open files are not counted (sonde.file.open_descriptors)",
     .needed = [](const Features& features) { return !walks_by_kernel(features); },
     .blind = cannot_walk_files},
};

#undef IO_PROGRAMS
#undef IO_PROGRAMS_IF

}  // namespace sonde
