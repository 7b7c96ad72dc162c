// SPDX-License-Identifier: Apache-2.0
#include "agent/functions/functions.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/text.h"
#include "agent/functions/rules.h"

namespace sonde {
namespace {

constexpr std::size_t kMostPids = 4096;  // of one container that are listed,
constexpr std::size_t kLookedAt = 32;    // and that are looked at: the oldest and the newest
constexpr std::chrono::milliseconds kLookDeadline{2000};
constexpr uint64_t kHotEvery = kSecond;
constexpr uint64_t kLongestRest = 60 * kSecond;

// A container that was just made runs its program soon; one that runs it rarely changes.
uint64_t rest_after(int looks, bool complete) {
  constexpr uint64_t kMs = 1'000'000;
  constexpr uint64_t kRests[] = {20 * kMs,  50 * kMs,   100 * kMs,  250 * kMs,
                                 500 * kMs, 1000 * kMs, 2000 * kMs, 5000 * kMs};
  const auto index = static_cast<std::size_t>(looks);
  if (complete && index >= 6) return kLongestRest;
  return index < std::size(kRests) ? kRests[index] : 10 * kSecond;
}

using FoundInstances = std::map<std::string, std::vector<InstancePtr>>;

std::string where_of(const FunctionRequest& request) {
  if (request.type == "Kernel") return "kernel";
  return request.path.empty() ? "any file" : request.path;
}

// When the first that was too hot is tried again.
uint64_t after_rest(const FoundInstances& found) {
  uint64_t first = UINT64_MAX;
  for (const auto& [name, list] : found) {
    for (const InstancePtr& one : list) {
      if (one->refusal == Refusal::TooHot) first = std::min(first, one->hot_until_ns);
    }
  }
  return first;
}

// What may be otherwise at the next look.
bool passes(Refusal refusal) { return refusal == Refusal::AttachFailed || refusal == Refusal::FileNotFound; }

bool may_attach_later(const FoundInstances& found) {
  return std::ranges::any_of(found, [](const auto& one) {
    return std::ranges::any_of(one.second, [](const auto& each) { return passes(each->refusal); });
  });
}

bool asks(const Decision& decision) {
  const int module = function_module(modules());
  if (module < 0 || decision.functions.empty() || static_cast<std::size_t>(module) >= decision.probes.size())
    return false;
  return decision.probes[static_cast<std::size_t>(module)].flags != 0;  // the overhead budget may have taken them away
}

}  // namespace

Functions::Functions(const Engine& engine, FunctionsOptions options)
    : options_(std::move(options)), members_({.cgroup_root = options_.cgroup_root, .proc_root = options_.proc_root}) {
  auto probes = FunctionProbes::open(engine);
  if (!probes) {
    off_ = probes.error().message();
    return;
  }
  probes_ = std::move(*probes);
  instances_ = std::make_unique<FunctionInstances>(*probes_, options_.proc_root, options_.hot_rest_ns);
  thread_ = std::thread([this] { run(); });
}

Functions::~Functions() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Functions::update(const IdentitySnapshotPtr& identity, const std::shared_ptr<const PolicySnapshot>& decisions) {
  if (identity.get() == identity_ && decisions.get() == decisions_) return;
  identity_ = identity.get();
  decisions_ = decisions.get();
  held_[0] = identity;
  held_[1] = decisions;
  Wanted wanted;
  for (const auto& [slot, decision] : decisions->slots) {
    if (!asks(*decision)) continue;
    const auto owner = identity->slots.find(slot);
    if (owner == identity->slots.end() || owner->second.ended) continue;
    const Subject& subject = *owner->second.subject;
    if (subject.kind == SubjectKind::Unattributed) continue;
    wanted[slot] = {subject.cgroup_path, owner->second.tgid, subject.kind == SubjectKind::Container,
                    std::to_string(subject.cgroup_id) + "/" + std::to_string(owner->second.tgid), decision};
  }
  const MutexLock lock(mutex_);
  bool differs = wanted.size() != wanted_.size();
  for (const auto& [slot, asker] : wanted_) {
    const auto now = wanted.find(slot);
    if (now != wanted.end() && now->second.holder == asker.holder) {
      differs = differs || now->second.decision != asker.decision;
      continue;
    }
    differs = true;
    if (probes_) probes_->forget(slot);  // at once: the slot may soon be another's
  }
  if (!differs) return;
  wanted_ = std::move(wanted);
  ++version_;
  changed_.notify_all();
}

void Functions::run() {
  uint64_t seen = 0;
  uint64_t next = UINT64_MAX;
  for (;;) {
    Wanted wanted;
    {
      const MutexLock lock(mutex_);
      const uint64_t now = boottime_ns();
      const auto ready = [this, seen]() SONDE_REQUIRES(mutex_) { return stopping_ || version_ != seen; };
      if (next == UINT64_MAX) {
        changed_.wait(mutex_, ready);
      } else {
        changed_.wait_for(mutex_, std::chrono::nanoseconds(next > now ? next - now : 0), ready);
      }
      if (stopping_) break;
      seen = version_;
      wanted = wanted_;
    }
    next = turn(wanted);
  }
  for (auto& [slot, work] : work_) drop(slot, work);
  work_.clear();
}

// Returns when the next turn is due.
uint64_t Functions::turn(const Wanted& wanted) {
  follow(wanted);
  follow_mounts();
  for (auto& [slot, work] : work_) {
    if (boottime_ns() >= work.next_ns) look(slot, work);
  }
  if (work_.empty()) {
    last_hot_ns_ = 0;
  } else if (boottime_ns() >= next_hot_ns_) {
    watch();
  }
  publish();
  uint64_t next = work_.empty() ? UINT64_MAX : next_hot_ns_;
  for (const auto& [slot, work] : work_) next = std::min(next, work.next_ns);
  return next;
}

// Probes that would keep the mount of an ended container are attached by another container that has the file, or not at all.
void Functions::follow_mounts() {
  for (const InstancePtr& orphan : instances_->orphans()) {
    const std::set<uint32_t> slots = orphan->slots;  // a look may take some away
    for (const uint32_t slot : slots) {
      if (const auto work = work_.find(slot); work != work_.end()) look(slot, work->second);
      if (!orphan->orphaned()) break;
    }
    if (!orphan->orphaned()) continue;
    instances_->let_go(*orphan);
    for (const uint32_t slot : orphan->slots) {  // the program may be started again
      if (const auto work = work_.find(slot); work != work_.end()) work->second.looks = 0, work->second.next_ns = 0;
    }
  }
}

// Once a second: is something called too often, and has the kernel got or lost modules?
void Functions::watch() {
  const uint64_t now = boottime_ns();
  const double seconds = static_cast<double>(now - last_hot_ns_) / 1e9;
  if (last_hot_ns_ && seconds > 0 && instances_->detach_hot(seconds, options_.most_per_second)) {
    for (auto& [slot, work] : work_) work.next_ns = std::min(work.next_ns, after_rest(work.instances));
  }
  last_hot_ns_ = now;
  next_hot_ns_ = now + kHotEvery;
  const auto in_kernel = [](const FunctionAsk& ask) { return ask.request.type == "Kernel"; };
  std::vector<SlotWork*> works;
  for (auto& [slot, work] : work_) {
    if (std::ranges::any_of(work.asker.decision->functions, in_kernel)) works.push_back(&work);
  }
  if (works.empty()) return instances_->kernel_unasked();
  if (!instances_->kernel_changed()) return;
  for (SlotWork* work : works) work->next_ns = 0;
}

void Functions::follow(const Wanted& wanted) {
  for (auto one = work_.begin(); one != work_.end();) {
    const auto now = wanted.find(one->first);
    const bool stays = now != wanted.end() && now->second.holder == one->second.asker.holder;
    if (!stays) drop(one->first, one->second);
    one = stays ? std::next(one) : work_.erase(one);
  }
  for (const auto& [slot, asker] : wanted) {
    SlotWork& work = work_[slot];
    if (work.asker.holder == asker.holder && work.asker.decision == asker.decision) continue;
    work.asker = asker;
    work.next_ns = 0;
    work.looks = 0;
  }
}

void Functions::drop(uint32_t slot, SlotWork& work) {
  for (auto& [name, instances] : work.instances) {
    for (const InstancePtr& instance : instances) instances_->leave(instance, slot);
  }
  work.instances.clear();
}

std::vector<uint32_t> Functions::pids_of(const Asker& asker) const {
  if (asker.tgid) return {asker.tgid};
  auto listed = members_.pids(asker.path, kMostPids, asker.container);
  if (!listed) return {};
  std::vector<uint32_t>& pids = listed->pids;
  if (pids.size() > kLookedAt) pids.erase(pids.begin() + kLookedAt / 2, pids.end() - kLookedAt / 2);
  return std::move(pids);
}

void Functions::look(uint32_t slot, SlotWork& work) {
  std::map<std::string, std::vector<InstancePtr>> found;
  work.missing.clear();
  look_at_kernel(work, found);
  look_at_files(work, found);
  exchange(slot, work, std::move(found));
  const bool complete = work.missing.empty() && !may_attach_later(work.instances);
  work.next_ns = std::min(boottime_ns() + rest_after(work.looks, complete), after_rest(work.instances));
  ++work.looks;
}

void Functions::look_at_kernel(SlotWork& work, std::map<std::string, std::vector<InstancePtr>>& found) {
  for (const FunctionAsk& ask : work.asker.decision->functions) {
    if (ask.request.type == "Kernel") found[ask.request.name].push_back(instances_->in_kernel(ask.request));
  }
}

void Functions::look_at_files(SlotWork& work, std::map<std::string, std::vector<InstancePtr>>& found) {
  std::vector<std::string> paths;
  std::map<std::string, std::vector<const FunctionRequest*>> by_path;
  for (const FunctionAsk& ask : work.asker.decision->functions) {
    if (ask.request.type == "Kernel") continue;
    by_path[ask.request.path].push_back(&ask.request);
    work.missing[ask.request.name] = Refusal::FileNotFound;
  }
  if (by_path.empty()) return;
  for (const auto& [path, requests] : by_path) paths.push_back(path);
  std::vector<LocatedFile> files;
  const auto pids = pids_of(work.asker);
  const auto inode_of = [this](const void* mapping) { return probes_->inode_at(mapping); };
  const auto located =
      pids.empty() ? Result<void>() : locate_files(options_.proc_root, pids, paths, kLookDeadline, inode_of, files);
  for (const LocatedFile& file : files) {
    const auto& requests = by_path[paths[file.path]];
    auto instances = instances_->in_file(file, requests, paths[file.path].empty());
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (!instances[i]) continue;
      auto& list = found[requests[i]->name];
      if (std::ranges::find(list, instances[i]) == list.end()) list.push_back(instances[i]);
      work.missing.erase(requests[i]->name);
    }
  }
  const Refusal why = !located                                 ? Refusal::TimedOut
                      : may_not_look(options_.proc_root, pids) ? Refusal::MissingCapability
                                                               : Refusal::FileNotFound;
  for (auto& [name, refusal] : work.missing) refusal = why;
}

// What was found takes the place of what was known; nothing found means that no process shows it now, and what is attached
// stays. Under the lock, so that no bit is set for a slot that was just taken away.
void Functions::exchange(uint32_t slot, SlotWork& work, std::map<std::string, std::vector<InstancePtr>> found) {
  const MutexLock lock(mutex_);
  if (!still_wanted(slot, work.asker)) {
    for (auto& [name, list] : found) work.instances[name].insert(work.instances[name].end(), list.begin(), list.end());
    drop(slot, work);  // with what was made for it just now
    for (auto& [name, list] : found) {
      for (const InstancePtr& instance : list) {
        instance->slots.insert(slot);
        instances_->leave(instance, slot);
      }
    }
    return;
  }
  for (auto& [name, list] : found) {
    for (const InstancePtr& instance : list) instances_->use(instance, slot);
  }
  std::set<std::string> declared;
  for (const FunctionAsk& ask : work.asker.decision->functions) declared.insert(ask.request.name);
  for (auto& [name, before] : work.instances) {
    if (declared.contains(name) && !found.contains(name)) {
      found[name] = before;
      work.missing.erase(name);
      continue;
    }
    const auto& now = found[name];
    for (const InstancePtr& instance : before) {
      if (std::ranges::find(now, instance) == now.end()) instances_->leave(instance, slot);
    }
  }
  std::erase_if(found, [](const auto& one) { return one.second.empty(); });
  work.instances = std::move(found);
}

bool Functions::still_wanted(uint32_t slot, const Asker& asker) const {
  const auto now = wanted_.find(slot);
  return now != wanted_.end() && now->second.holder == asker.holder;
}

void Functions::publish() {
  std::map<std::pair<std::string, std::string>, FunctionReport> all;
  for (const auto& [slot, work] : work_) {
    for (const FunctionAsk& ask : work.asker.decision->functions) {
      const FunctionRequest& request = ask.request;
      FunctionReport& report = all[{ask.policy, request.name}];
      report.policy = ask.policy;
      report.name = request.name;
      ++report.asked;
      Refusal refusal = Refusal::None;
      std::string detail;
      bool attached = false;
      const auto instances = work.instances.find(request.name);
      if (instances != work.instances.end()) {
        for (const InstancePtr& instance : instances->second) {
          attached = attached || instance->attached();
          if (instance->attached()) report.hook = instance->hook;
          if (instance->refusal != Refusal::None) refusal = instance->refusal, detail = instance->detail;
        }
      } else if (const auto missing = work.missing.find(request.name); missing != work.missing.end()) {
        refusal = missing->second;
      }
      report.attached += attached;
      // What is wrong with a file says more than that another container has not got it.
      if (refusal == Refusal::None || (report.refusal != Refusal::None && refusal == Refusal::FileNotFound)) continue;
      report.refusal = refusal;
      report.message = where_of(request) + ", " + request.symbol + ": " + std::string(sentence_of(refusal)) +
                       (detail.empty() ? "" : " (" + detail + ")") + "; seen in " + work.asker.path;
    }
  }
  std::vector<FunctionReport> reports;
  for (auto& [key, report] : all) reports.push_back(std::move(report));
  const uint64_t missed = instances_->missed();
  const MutexLock lock(mutex_);
  reports_ = std::move(reports);
  attached_ = instances_->attached();
  missed_ = missed;
}

std::vector<FunctionReport> Functions::reports() const {
  const MutexLock lock(mutex_);
  return reports_;
}

std::size_t Functions::attached() const {
  const MutexLock lock(mutex_);
  return attached_;
}

uint64_t Functions::missed() const {
  const MutexLock lock(mutex_);
  return missed_;
}

}  // namespace sonde
