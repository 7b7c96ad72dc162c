// SPDX-License-Identifier: Apache-2.0
// One program's way into the kernel: its links, whether they still hold, and when to try again if they do not.
//
// What others can do to a link is looked for, not assumed: a cgroup link can be detached (BPF_LINK_DETACH) or given
// another program (BPF_LINK_UPDATE) by whoever has CAP_SYS_ADMIN, and it dies with its cgroup; bpf_link_info then says
// cgroup id 0 or another program id. Links of tracing programs and of perf events have no such call.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/base/result.h"
#include "agent/kernel/perf_events.h"

struct bpf_link;
struct bpf_program;

namespace sonde {

// After a refusal, and when a link is taken away soon after it was made: the wait doubles from one to the other.
inline constexpr uint64_t kFirstRetryNs = 1'000'000'000;
inline constexpr uint64_t kLongestRetryNs = 64'000'000'000;
// A link that held for so long was not taken away again and again; so long a loss of the past is told in status.
inline constexpr uint64_t kHeldNs = 60'000'000'000;

class Attachment {
 public:
  // `hook` as in ProgramSpec; `cgroup_root` as in EngineOptions. The program belongs to its object, which must outlive this.
  Attachment(bpf_program* program, std::string hook, std::string cgroup_root);
  ~Attachment();
  Attachment(Attachment&& other) noexcept;
  Attachment& operator=(Attachment&&) = delete;

  bool attached() const { return !links_.empty() || !events_.empty(); }
  // May it be tried now? CLOCK_BOOTTIME, as all times here.
  bool due(uint64_t now) const { return now >= next_try_ns_; }
  // Attaches; an error puts the next try off.
  Result<void> attach(uint64_t now);
  void detach();
  // As CpuEvents::follow().
  std::size_t follow_cpus() { return events_.empty() ? 0 : events_.follow(); }
  // True if somebody took a link away since the last look: it is detached then, and due() says when to attach it again,
  // the first time at once.
  bool lost(uint64_t now);
  // Was it taken away within the last minute (kHeldNs), or again and again since?
  bool lost_lately(uint64_t now) const { return lost_ns_ && now < lost_ns_ + kHeldNs; }
  // How often it was taken away.
  uint32_t times_lost() const { return times_lost_; }

 private:
  Result<void> make_links();
  bool holds() const;
  void put_off(uint64_t now);

  bpf_program* program_;
  uint32_t program_id_ = 0;  // the kernel's
  std::string hook_;
  std::string cgroup_root_;
  std::vector<bpf_link*> links_;
  CpuEvents events_;  // of a program of perf events, instead of links
  uint64_t attached_ns_ = 0;
  uint64_t next_try_ns_ = 0;
  uint64_t wait_ns_ = 0;
  uint64_t lost_ns_ = 0;
  uint32_t times_lost_ = 0;
};

}  // namespace sonde
