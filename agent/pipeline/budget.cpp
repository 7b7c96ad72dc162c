// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/budget.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <numeric>

namespace sonde {
namespace {

double milli_cpu(uint64_t busy_ns, uint64_t elapsed_ns) {
  return static_cast<double>(busy_ns) / static_cast<double>(elapsed_ns) * 1000.0;
}

OverheadStep next_step(OverheadStep step, bool has_histograms) {
  if (step == OverheadStep::Full && !has_histograms) return OverheadStep::Lowered;
  return static_cast<OverheadStep>(static_cast<int>(step) + 1);
}

}  // namespace

std::string step_name(OverheadStep step) {
  switch (step) {
    case OverheadStep::Full: return "full";
    case OverheadStep::Sampled: return "histograms sampled";
    case OverheadStep::Lowered: return "one level lower";
    case OverheadStep::Off: return "off";
  }
  return "unknown";
}

BudgetController::BudgetController(std::size_t modules, BudgetOptions options)
    : options_(options),
      steps_(modules, OverheadStep::Full),
      cost_(modules, 0),
      trial_(modules, 2 * options.recovery_ticks),
      full_(modules, 0) {}

void BudgetController::set_budget(double budget) { options_.milli_cpu = budget; }

bool BudgetController::over_budget() const {
  return std::ranges::any_of(steps_, [](OverheadStep step) { return step != OverheadStep::Full; });
}

std::string BudgetController::reason(std::size_t module) const {
  if (module >= steps_.size() || steps_[module] == OverheadStep::Full) return {};
  return fmt::format(
      "{}: the overhead budget of {:g} milli-CPU was exceeded, {:.1f} are in use now; it recovers automatically",
      step_name(steps_[module]), options_.milli_cpu, used_);
}

bool BudgetController::tick(std::span<const ModuleCost> modules, uint64_t agent_cpu_ns, uint64_t elapsed_ns) {
  if (elapsed_ns == 0) return false;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    cost_[i] = i < modules.size() ? milli_cpu(modules[i].bpf_ns, elapsed_ns) : 0;
    full_[i] = steps_[i] == OverheadStep::Full ? full_[i] + 1 : 0;
    if (full_[i] > trial_[i]) trial_[i] = 2 * options_.recovery_ticks;  // the last trial went well
  }
  used_ = std::accumulate(cost_.begin(), cost_.end(), milli_cpu(agent_cpu_ns, elapsed_ns));
  if (options_.milli_cpu <= 0) {
    const bool changed = over_budget();
    std::ranges::fill(steps_, OverheadStep::Full);
    taken_.clear();
    return changed;
  }
  bool changed = forget_unwanted(modules);
  if (used_ > options_.milli_cpu) {
    under_ = safe_ = 0;
    if (++over_ < options_.patience) return changed;
    over_ = 0;  // the next step waits until this one has had its effect
    return take_from_costliest(modules) || changed;
  }
  over_ = 0;
  ++under_;
  return give_back() || changed;
}

// A module that is no longer requested starts over when it is requested again.
bool BudgetController::forget_unwanted(std::span<const ModuleCost> modules) {
  bool changed = false;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    if (steps_[i] == OverheadStep::Full || (i < modules.size() && modules[i].wanted)) continue;
    steps_[i] = OverheadStep::Full;
    std::erase_if(taken_, [&](const Taken& taken) { return taken.module == i; });
    changed = true;
  }
  return changed;
}

bool BudgetController::take_from_costliest(std::span<const ModuleCost> modules) {
  std::size_t costliest = SIZE_MAX;
  for (std::size_t i = 0; i < steps_.size() && i < modules.size(); ++i) {
    if (!modules[i].wanted || steps_[i] == OverheadStep::Off) continue;
    if (costliest == SIZE_MAX || cost_[i] > cost_[costliest]) costliest = i;
  }
  if (costliest == SIZE_MAX) return false;
  taken_.push_back({costliest, steps_[costliest], cost_[costliest]});
  steps_[costliest] = next_step(steps_[costliest], modules[costliest].has_histograms);
  return true;
}

bool BudgetController::give_back() {
  if (taken_.empty()) return false;
  const Taken latest = taken_.back();
  const double expected = used_ + std::max(0.0, latest.cost - cost_[latest.module]);
  safe_ = expected < options_.recovery * options_.milli_cpu ? safe_ + 1 : 0;
  const bool trial = under_ >= trial_[latest.module];
  if (safe_ < options_.recovery_ticks && !trial) return false;
  // The load may have gone since, which only a trial shows. Each costs a moment above the budget, so they become rarer.
  if (trial) trial_[latest.module] = std::min(2 * trial_[latest.module], options_.max_trial_ticks);
  steps_[latest.module] = latest.before;
  taken_.pop_back();
  under_ = safe_ = 0;
  return true;
}

void FailureBackoff::succeeded(uint64_t) {
  in_a_row_ = 0;
  rounds_ = 0;
  off_until_ = 0;
  why_.clear();
}

void FailureBackoff::failed(uint64_t now_ns, std::string why) {
  why_ = std::move(why);
  // After a pause one more failure is enough: it had its chance.
  if (++in_a_row_ < options_.failures && rounds_ == 0) return;
  const int doublings = std::min(rounds_++, 30);
  const uint64_t pause = std::min(options_.longest_ns, options_.first_ns << std::min(doublings, 20));
  off_until_ = now_ns + pause;
  in_a_row_ = 0;
}

std::string FailureBackoff::reason(uint64_t now_ns) const {
  if (why_.empty()) return {};
  if (allowed(now_ns)) return fmt::format("collection fails: {}", why_);
  return fmt::format("switched off for {} s because its collection keeps failing: {}",
                     (off_until_ - now_ns + 999'999'999) / 1'000'000'000, why_);
}

}  // namespace sonde
