// SPDX-License-Identifier: Apache-2.0
// Series of Source::Read: what Module::read() brings, as deltas like those of kernel rows. Knows last values per slot.
//
// A subject counts from its selection on: when a series is requested, it is read once for a baseline; only
// a cgroup that was born with the question (the kernel side gave it its flags at mkdir) counts from zero. States with a
// key (Source::ReadKeyed) are what the last reading brought; one that was there before and is not is 0.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/base/result.h"
#include "agent/module/module.h"
#include "agent/module/sample.h"

namespace sonde {

class Reads {
 public:
  Reads(const Module& module, uint16_t module_id);

  // Bits of the flags byte that ask for something to be read; 0: this module reads nothing.
  uint8_t flags() const { return flags_; }
  // The slot is asked for series that it was not asked for before: they count from now on. target.flags: the new bits.
  void begin(uint32_t slot, const ReadTarget& target);
  // The slot is not asked for these series any more.
  void end(uint32_t slot, uint8_t flags);
  // Reads and keeps what changed until drain(). False: nothing could be read, see error().
  bool read(uint32_t slot, const ReadTarget& target);
  // How many series moved.
  uint64_t drain(uint32_t slot, SampleSink& sink);
  void drain_states(uint32_t slot, SampleSink& sink) const;
  void forget(uint32_t slot) {
    values_.erase(slot);
    states_.erase(slot);
  }
  const std::string& error() const { return error_; }

 private:
  struct Value {
    uint64_t last = 0;     // kUnread: it has to be seen once before it counts
    uint64_t pending = 0;  // change since the last drain(); of a state the value, kUnread: none
  };
  std::vector<Value>& of(uint32_t slot);
  Result<void> ask(const ReadTarget& target);
  bool read_keyed(uint32_t slot, const ReadTarget& target);

  static constexpr uint16_t kNoSeries = 0xffff;
  const Module& module_;
  const uint16_t id_;
  uint8_t flags_ = 0;
  std::vector<uint16_t> series_;  // by index of the value
  std::vector<uint64_t> read_;    // what the last read() brought
  std::unordered_map<uint32_t, std::vector<Value>> values_;
  uint16_t keyed_series_ = kNoSeries;  // that of Source::ReadKeyed
  uint8_t keyed_flags_ = 0;
  std::unordered_map<uint32_t, std::vector<KeyedState>> states_;
  std::string error_;
};

}  // namespace sonde
