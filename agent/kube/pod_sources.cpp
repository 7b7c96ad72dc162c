// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/pod_sources.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "agent/base/clock.h"

namespace sonde::kube {

std::string_view word_of(SourceState state) {
  switch (state) {
    case SourceState::Unused: return "unused";
    case SourceState::Resting: return "resting";
    case SourceState::Trying: return "trying";
    case SourceState::Working: return "working";
    case SourceState::Failed: break;
  }
  return "failed";
}

class PodSources::Feed final : public PodSink {
 public:
  Feed(PodSources& sources, std::size_t index) : sources_(sources), index_(index) {}
  void all(std::vector<Pod> pods) override { sources_.all(index_, std::move(pods)); }
  void one(Pod pod) override {
    sources_.change(index_, [&] { sources_.table_.put(std::move(pod), boottime_ns()); });
  }
  void gone(const std::string& uid) override {
    sources_.change(index_, [&] { sources_.table_.remove(uid, boottime_ns()); });
  }
  void fresh() override { sources_.change(index_, {}); }
  void failed(std::string reason) override { sources_.failed(index_, std::move(reason)); }

 private:
  PodSources& sources_;
  const std::size_t index_;
};

PodSources::PodSources(PodTable& table, std::vector<PodSourceEntry> entries, std::function<void()> changed)
    : table_(table), changed_(std::move(changed)) {
  for (PodSourceEntry& entry : entries) {
    One one;
    one.status.name = entry.name;
    one.status.reason = entry.unused;
    if (!entry.make) one.status.state = SourceState::Unused;
    one.feed = std::make_unique<Feed>(*this, ones_.size());
    one.entry = std::move(entry);
    ones_.push_back(std::move(one));
  }
}

PodSources::~PodSources() {
  table_.set_unknown({});
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (One& one : ones_) one.source.reset();
}

void PodSources::start() {
  table_.set_unknown([this] {
    const MutexLock lock(mutex_);
    if (in_use_ >= 0 && ones_[in_use_].source) ones_[in_use_].source->hurry();
  });
  thread_ = std::thread([this] { run(); });
}

void PodSources::all(std::size_t index, std::vector<Pod> pods) {
  {
    const MutexLock lock(mutex_);
    heard(index);
    if (in_use_ < 0 || static_cast<int>(index) < in_use_) use(static_cast<int>(index));
    if (!takes(index)) return;
    table_.replace(std::move(pods), boottime_ns());
  }
  changed_();
}

void PodSources::change(std::size_t index, const std::function<void()>& apply) {
  {
    const MutexLock lock(mutex_);
    // A source that was given up and resumes before another one took over has nothing new to log.
    if (in_use_ < 0 && last_used_ == static_cast<int>(index)) use(static_cast<int>(index));
    if (!takes(index)) return;
    heard(index);
    if (!apply) return;
    apply();
  }
  changed_();
}

bool PodSources::takes(std::size_t index) { return in_use_ == static_cast<int>(index); }

void PodSources::heard(std::size_t index) {
  One& one = ones_[index];
  one.status.state = SourceState::Working;
  one.status.reason.clear();
  one.in_a_row = 0;
  if (in_use_ == static_cast<int>(index)) fresh_ns_ = boottime_ns();
}

void PodSources::failed(std::size_t index, std::string reason) {
  {
    const MutexLock lock(mutex_);
    One& one = ones_[index];
    ++one.status.failures;
    one.status.reason = std::move(reason);
    if (one.status.state == SourceState::Working && ++one.in_a_row < kGiveUpAfter) return;
    const bool news = one.status.state != SourceState::Failed;
    one.status.state = SourceState::Failed;
    if (in_use_ == static_cast<int>(index)) use(-1);
    if (!news) return;
    unsettled_ = true;
  }
  wake_.notify_all();
}

void PodSources::use(int index) {
  if (std::exchange(in_use_, index) == index) return;
  unsettled_ = true;
  wake_.notify_all();
  if (index < 0)
    return spdlog::warn("{} no longer provides pods: {}", ones_[last_used_].status.name,
                        ones_[last_used_].status.reason);
  ++switches_;
  last_used_ = index;
  fresh_ns_ = boottime_ns();
  const std::string others = others_text();
  spdlog::info("pods come from {}{}", ones_[index].status.name, others.empty() ? "" : " (" + others + ")");
}

// Why better ones are not in use.
std::string PodSources::others_text() const {
  std::string text;
  for (int i = 0; i < in_use_; ++i) {
    const SourceStatus& status = ones_[i].status;
    text += (text.empty() ? "" : "; ") + status.name + ": " + (status.reason.empty() ? "no answer yet" : status.reason);
  }
  return text;
}

bool PodSources::wanted(std::size_t index) const {
  if (!ones_[index].entry.make) return false;
  return std::ranges::none_of(ones_.begin(), ones_.begin() + static_cast<std::ptrdiff_t>(index), [](const One& better) {
    return better.status.state == SourceState::Working || better.status.state == SourceState::Trying;
  });
}

// Begins and ends sources. Their ends are waited for without the mutex: they may be telling something.
void PodSources::settle() {
  for (std::size_t i = 0; i < ones_.size() && !stopping_; ++i) {
    One& one = ones_[i];
    if (wanted(i) == (one.source != nullptr)) continue;
    if (one.source) {
      std::unique_ptr<PodSource> ending = std::move(one.source);
      mutex_.unlock();
      ending.reset();
      mutex_.lock();
      one.status.state = SourceState::Resting;
      one.status.reason.clear();
      one.in_a_row = 0;
    } else {
      one.status.state = SourceState::Trying;
      one.source = one.entry.make(*one.feed);
    }
  }
}

void PodSources::run() {
  const MutexLock lock(mutex_);
  while (!stopping_) {
    if (std::exchange(unsettled_, false)) settle();
    wake_.wait(mutex_, [this]() SONDE_REQUIRES(mutex_) { return stopping_ || unsettled_; });
  }
}

std::string PodSources::in_use() const {
  const MutexLock lock(mutex_);
  return in_use_ < 0 ? std::string() : ones_[in_use_].status.name;
}

std::string PodSources::last_used() const {
  const MutexLock lock(mutex_);
  return last_used_ < 0 ? std::string() : ones_[last_used_].status.name;
}

uint64_t PodSources::fresh_ns() const {
  const MutexLock lock(mutex_);
  return fresh_ns_;
}

uint64_t PodSources::switches() const {
  const MutexLock lock(mutex_);
  return switches_;
}

std::vector<SourceStatus> PodSources::status() const {
  const MutexLock lock(mutex_);
  std::vector<SourceStatus> all;
  for (const One& one : ones_) {
    all.push_back(one.status);
    all.back().in_use = in_use_ >= 0 && &one == &ones_[in_use_];
  }
  return all;
}

}  // namespace sonde::kube
