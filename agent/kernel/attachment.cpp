// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/attachment.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "agent/kernel/cgroup_programs.h"

namespace sonde {

Attachment::Attachment(bpf_program* program, std::string hook, std::string cgroup_root)
    : program_(program), hook_(std::move(hook)), cgroup_root_(std::move(cgroup_root)) {
  bpf_prog_info info{};
  __u32 size = sizeof(info);
  if (bpf_obj_get_info_by_fd(bpf_program__fd(program_), &info, &size) == 0) program_id_ = info.id;
}

Attachment::~Attachment() { detach(); }

Attachment::Attachment(Attachment&& other) noexcept
    : program_(other.program_),
      program_id_(other.program_id_),
      hook_(std::move(other.hook_)),
      cgroup_root_(std::move(other.cgroup_root_)),
      links_(std::exchange(other.links_, {})),
      events_(std::exchange(other.events_, {})),
      attached_ns_(other.attached_ns_),
      next_try_ns_(other.next_try_ns_),
      wait_ns_(other.wait_ns_),
      lost_ns_(other.lost_ns_),
      times_lost_(other.times_lost_) {}

Result<void> Attachment::make_links() {
  if (bpf_program__type(program_) == BPF_PROG_TYPE_PERF_EVENT) {
    auto event = parse_perf_event(hook_);
    if (!event) return event.error();
    auto events = CpuEvents::attach(program_, *event);
    if (!events) return events.error();
    events_ = std::move(*events);
    return {};
  }
  if (bpf_program__type(program_) == BPF_PROG_TYPE_CGROUP_SKB) {
    auto links = attach_to_root_cgroup(program_, cgroup_root_);
    if (!links) return links.error();
    links_ = std::move(*links);
    return {};
  }
  bpf_link* link = bpf_program__attach(program_);
  if (!link) return Error::system("the kernel refuses it", errno);
  links_ = {link};
  return {};
}

Result<void> Attachment::attach(uint64_t now) {
  if (auto done = make_links(); !done) {
    put_off(now);
    return done;
  }
  attached_ns_ = now;
  return {};
}

void Attachment::detach() {
  for (bpf_link* link : links_) bpf_link__destroy(link);
  links_.clear();
  events_ = {};
}

void Attachment::put_off(uint64_t now) {
  wait_ns_ = std::clamp(2 * wait_ns_, kFirstRetryNs, kLongestRetryNs);
  next_try_ns_ = now + wait_ns_;
}

bool Attachment::holds() const {
  if (bpf_program__type(program_) != BPF_PROG_TYPE_CGROUP_SKB) return true;
  return std::ranges::all_of(links_, [&](const bpf_link* link) {
    bpf_link_info info{};
    __u32 size = sizeof(info);
    if (bpf_obj_get_info_by_fd(bpf_link__fd(link), &info, &size)) return true;  // nothing can be said
    return info.cgroup.cgroup_id != 0 && info.prog_id == program_id_;
  });
}

bool Attachment::lost(uint64_t now) {
  if (links_.empty() || holds()) return false;
  detach();
  if (now < attached_ns_ + kHeldNs && lost_ns_) {
    put_off(now);
  } else {
    wait_ns_ = 0;
    next_try_ns_ = now;
  }
  lost_ns_ = now;
  ++times_lost_;
  return true;
}

}  // namespace sonde
