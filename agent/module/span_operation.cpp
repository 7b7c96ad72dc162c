// SPDX-License-Identifier: Apache-2.0
#include "agent/module/span_operation.h"

#include <array>

namespace sonde {
namespace {

struct Words {
  std::string_view word, name;
};
constexpr std::array<Words, kSpanOperations> kWords{{{"Read", "read"},
                                                     {"Write", "write"},
                                                     {"Fsync", "fsync"},
                                                     {"Open", "open"},
                                                     {"Rename", "rename"},
                                                     {"Unlink", "unlink"},
                                                     {"Connect", "connect"},
                                                     {"Accept", "accept"},
                                                     {"Send", "send"},
                                                     {"DnsLookup", "dns lookup"},
                                                     {"BlockIO", "block io"},
                                                     {"CpuThrottle", "cpu throttle"},
                                                     {"PageFault", "page fault"},
                                                     {"DirectReclaim", "direct reclaim"},
                                                     {"LockWait", "lock wait"},
                                                     {"RunQueueWait", "run queue wait"},
                                                     {"OomKill", "oom kill"},
                                                     {"Receive", "receive"},
                                                     {"FutexWait", "futex wait"},
                                                     {"Process", "process"},
                                                     {"Function", "function"}}};

}  // namespace

std::string_view word_of(SpanOperation operation) { return kWords[static_cast<std::size_t>(operation)].word; }

std::string_view name_of(SpanOperation operation) { return kWords[static_cast<std::size_t>(operation)].name; }

std::optional<SpanOperation> span_operation(std::string_view word) {
  for (std::size_t i = 0; i < kWords.size(); ++i) {
    if (kWords[i].word == word) return static_cast<SpanOperation>(i);
  }
  return std::nullopt;
}

}  // namespace sonde
