// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/overhead.h"

#include <algorithm>

#include "agent/base/clock.h"
#include "agent/base/duration.h"

namespace sonde {
namespace {

constexpr uint64_t kSampleNs = kSecond;
constexpr uint64_t kFirstSampleNs = 2 * kSecond;
constexpr uint64_t kCycleNs = 60 * kSecond;
constexpr uint64_t kBusyCycleNs = 10 * kSecond;  // above budget, or near it
constexpr double kNear = 0.7;

}  // namespace

Overhead::Overhead(const Engine& engine, double budget_milli_cpu)
    : engine_(engine),
      budget_(sonde::modules().size(), BudgetOptions{.milli_cpu = budget_milli_cpu}),
      milli_cpu_(budget_milli_cpu) {}

ModuleUse sampled_use(const ModuleUse& last, const ProgramTotals& before, const ProgramTotals& after,
                      uint64_t sample_ns, uint64_t since_ns) {
  ModuleUse use = last;
  const uint64_t runs = after.runs - std::min(after.runs, before.runs);
  const uint64_t ns = after.ns - std::min(after.ns, before.ns);
  const double seconds = static_cast<double>(std::max<uint64_t>(sample_ns, 1)) / kSecond;
  const double since = static_cast<double>(since_ns) / kSecond;
  use.runs_per_second = static_cast<double>(runs) / seconds;
  use.ns_per_second = static_cast<double>(ns) / seconds;
  use.mean_ns = runs ? static_cast<double>(ns) / static_cast<double>(runs) : 0;
  use.runs += static_cast<uint64_t>(use.runs_per_second * since);
  use.run_ns += static_cast<uint64_t>(use.ns_per_second * since);
  return use;
}

std::map<std::string, ProgramTotals> Overhead::read() const {
  std::map<std::string, ProgramTotals> sum;
  for (const ProgramRuns& program : engine_.program_stats()) {
    ProgramTotals& runs = sum[program.module];
    runs.runs += program.runs;
    runs.ns += program.run_time_ns;
  }
  return sum;
}

uint64_t Overhead::next_ns() const { return measuring_ ? sample_begin_ + kSampleNs : next_sample_; }

bool Overhead::tick(uint64_t now_ns) {
  if (!next_sample_) {
    next_sample_ = now_ns + kFirstSampleNs;
    last_tick_ = now_ns;
    last_cpu_ns_ = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  }
  if (measuring_) return now_ns >= sample_begin_ + kSampleNs && finish_sample(now_ns);
  if (now_ns < next_sample_) return false;
  before_ = read();
  auto measuring = engine_.measure_run_time();
  sample_begin_ = now_ns;
  if (measuring) measuring_ = std::move(*measuring);
  if (!measuring_) next_sample_ = now_ns + kCycleNs;
  return false;
}

bool Overhead::finish_sample(uint64_t now_ns) {
  measuring_ = Fd();
  const auto after = read();
  const double since_tick = static_cast<double>(now_ns - last_tick_) / kSecond;
  for (const auto& [module, totals] : after) {
    use_[module] = sampled_use(use_[module], before_[module], totals, now_ns - sample_begin_, now_ns - last_tick_);
  }
  std::vector<ModuleCost> costs;
  for (const ModuleEntry& entry : sonde::modules()) {
    const ModuleInfo& info = entry.module->info();
    const ModuleUse& use = use_[std::string(info.name)];
    costs.push_back(
        {static_cast<uint64_t>(use.ns_per_second * since_tick), use.runs_per_second > 0, info.histograms > 0});
  }
  const uint64_t cpu_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  const bool changed = budget_.tick(costs, cpu_ns - last_cpu_ns_, now_ns - last_tick_);
  last_cpu_ns_ = cpu_ns;
  last_tick_ = now_ns;
  const bool busy = milli_cpu_ > 0 && (budget_.over_budget() || budget_.used_milli_cpu() > kNear * milli_cpu_);
  next_sample_ = now_ns + (busy ? kBusyCycleNs : kCycleNs);
  return changed;
}

}  // namespace sonde
