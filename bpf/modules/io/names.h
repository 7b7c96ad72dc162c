// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
// Attribute values of the io probe, by the numbers of io.h.
#pragma once

#include <array>
#include <string_view>

#include "bpf/modules/io/io.h"

namespace sonde {

// By enum io_operation; transfers on streams go by their direction.
inline constexpr std::array<std::string_view, IO_HISTOGRAMS> kOperationNames = {
    "read", "write", "read",  "write", "read",  "write",  "read",   "write",
    "read", "write", "fsync", "open",  "close", "rename", "unlink", "stat"};

inline constexpr std::array<std::string_view, IO_TARGETS> kTargetNames = {"file", "socket", "pipe", "tty", "other"};

// By enum io_uring_op (include/uapi/linux/io_uring.h), of which numbers never change.
inline constexpr std::array<std::string_view, IO_OPCODES> kOpcodeNames = {
    "nop",           "readv",          "writev",         "fsync",           "read_fixed",   "write_fixed",
    "poll_add",      "poll_remove",    "sync_file_range", "sendmsg",        "recvmsg",      "timeout",
    "timeout_remove", "accept",        "async_cancel",   "link_timeout",    "connect",      "fallocate",
    "openat",        "close",          "files_update",   "statx",           "read",         "write",
    "fadvise",       "madvise",        "send",           "recv",            "openat2",      "epoll_ctl",
    "splice",        "provide_buffers", "remove_buffers", "tee",            "shutdown",     "renameat",
    "unlinkat",      "mkdirat",        "symlinkat",      "linkat",          "msg_ring",     "fsetxattr",
    "setxattr",      "fgetxattr",      "getxattr",       "socket",          "uring_cmd",    "send_zc",
    "sendmsg_zc",    "read_multishot", "waitid",         "futex_wait",      "futex_wake",   "futex_waitv",
    "fixed_fd_install", "ftruncate",   "bind",           "listen",          "recv_zc",      "epoll_wait",
    "readv_fixed",   "writev_fixed",   "pipe",           "other"};

}  // namespace sonde
