// SPDX-License-Identifier: Apache-2.0
// Whose turn it is. An upgrade starts the new agent before the old one has ended: both count, but two writers of one series
// make it fall and rise. So who exports holds a lock on a file of the state directory, and says there that it is alive.
// The kernel gives the lock back when its holder ends, however that is.
#pragma once

#include <cstdint>
#include <string>

#include "agent/base/fd.h"

namespace sonde {

class WriteTurn {
 public:
  // A holder that was silent for so long has lost its turn: stopped, or hanging in the kernel.
  static constexpr uint64_t kSilence = 30'000'000'000;
  static constexpr uint64_t kBeat = 5'000'000'000;

  // Empty: there is no other, it is always ours.
  explicit WriteTurn(std::string path);

  bool ours() const { return path_.empty() || held_; }
  // Call at each turn of the loop; `now_ns` is CLOCK_BOOTTIME. Takes the lock if it is free or its holder is silent, says
  // now and then that we are alive, and notices if somebody took over while we were silent ourselves. True: it has just
  // become ours.
  bool follow(uint64_t now_ns);
  void release();
  const std::string& path() const { return path_; }
  // Why the file cannot be used; then it is ours, since a broken directory must not keep a node from being seen.
  const std::string& error() const { return error_; }

 private:
  bool take(uint64_t now_ns);
  bool take_over(uint64_t now_ns);
  bool fail(const char* doing);
  bool is_current(const Fd& fd) const;
  void beat(uint64_t now_ns);

  const std::string path_;
  Fd file_;
  bool held_ = false;
  uint64_t beat_ns_ = 0;
  std::string error_;
};

}  // namespace sonde
