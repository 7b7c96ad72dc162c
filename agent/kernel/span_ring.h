// SPDX-License-Identifier: Apache-2.0
// Spans as the kernel side sends them, and the tokens that it may spend on them. For the agent's loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "agent/base/result.h"
#include "agent/kernel/core.h"

struct ring_buffer;

namespace sonde {

class SpanRing {
 public:
  static Result<std::unique_ptr<SpanRing>> open(Core& core);
  ~SpanRing();

  // Everything sent since the last call, in order: records of any size, to be checked.
  void read(const std::function<void(std::span<const std::byte>)>& take);

  // SONDE_SLOT_NODE: those of the node.
  int64_t tokens(uint32_t slot) const;
  void add_tokens(uint32_t slot, int64_t more);
  // Operations of a slot that qualified and found no token, since the last span of the same operation was sent.
  uint64_t suppressed(uint32_t slot) const;
  // They are told by this number alone: nobody else counts them.
  uint64_t take_suppressed(uint32_t slot);

 private:
  explicit SpanRing(Core& core) : core_(core) {}

  Core& core_;
  ring_buffer* ring_ = nullptr;
  const std::function<void(std::span<const std::byte>)>* take_ = nullptr;  // during read()
};

}  // namespace sonde
