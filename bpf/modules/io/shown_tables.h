/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
// Where metrics of io are shown under other names: `sonde top`, the names of the tools that Sonde replaces.
#pragma once

#include "agent/module/metric.h"

namespace sonde {

inline constexpr TopSpec kTopIo[] = {{"read", "READ/S", "read_bytes_per_second", 'r', "read"},
                                     {"write", "WRITE/S", "write_bytes_per_second", 'w', "write"}};
inline constexpr TopSpec kTopOperations[] = {
    {.name = "operations",
     .title = "OPS/S",
     .field = "file_operations_per_second",
     .key = 'o',
     .first = true,
     .legend = "ops: files"},
    {.name = "latency", .title = "OPS P99", .field = "file_operation_p99_seconds", .key = 'l', .p99 = true}};
inline constexpr TopSpec kTopErrors[] = {{"errors", "ERR/S", "file_errors_per_second", 'e'}};

inline constexpr LegacyName kAppWriteBytes = {.name = "app_write_bytes", .help = "Bytes written to files and streams."};
inline constexpr LegacyName kAppWriteEvents = {.name = "app_write_events", .help = "Writes to files and streams."};

inline constexpr LegacySpec kLegacyIo[] = {{.to = {.name = "ebpf_io_read_bytes", .help = "Bytes read from files."},
                                            .key = "disk.io.direction",
                                            .value = "read"},
                                           {.to = {.name = "ebpf_io_write_bytes", .help = "Bytes written to files."},
                                            .key = "disk.io.direction",
                                            .value = "write"},
                                           {.to = kAppWriteBytes, .key = "disk.io.direction", .value = "write"}};
inline constexpr LegacySpec kLegacyOperations[] = {
    {.to = {.name = "ebpf_io_read_ops", .help = "Reads of files."}, .key = "sonde.file.operation", .value = "read"},
    {.to = {.name = "ebpf_io_write_ops", .help = "Writes to files."}, .key = "sonde.file.operation", .value = "write"},
    {.to = kAppWriteEvents, .key = "sonde.file.operation", .value = "write"}};
inline constexpr LegacySpec kLegacyStreams[] = {{.to = kAppWriteBytes, .key = "disk.io.direction", .value = "write"}};
inline constexpr LegacySpec kLegacyStreamOperations[] = {
    {.to = kAppWriteEvents, .key = "disk.io.direction", .value = "write"}};

}  // namespace sonde
