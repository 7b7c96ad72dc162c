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

// By enum io_uring_op.
#define IO_OPCODE_NAME(number, name, call) #name,
inline constexpr std::array<std::string_view, IO_OPCODES> kOpcodeNames = {IO_URING_OPCODES(IO_OPCODE_NAME) "other"};
#undef IO_OPCODE_NAME

}  // namespace sonde
