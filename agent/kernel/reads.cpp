// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/reads.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace sonde {

Reads::Reads(const Module& module, uint16_t module_id)
    : module_(module), id_(module_id), series_(module.info().reads, kNoSeries), read_(module.info().reads, kUnread) {
  const ModuleInfo& info = module.info();
  for (std::size_t i = 0; i < info.series.size(); ++i) {
    const SeriesSpec& series = info.series[i];
    if (series.source == Source::ReadKeyed) {
      keyed_series_ = static_cast<uint16_t>(i);
      keyed_flags_ = series.flag;
      flags_ |= series.flag;
    }
    if (series.source != Source::Read || series.index >= series_.size()) continue;
    series_[series.index] = static_cast<uint16_t>(i);
    flags_ |= series.flag;
  }
}

std::vector<Reads::Value>& Reads::of(uint32_t slot) {
  auto [found, fresh] = values_.try_emplace(slot);
  if (!fresh) return found->second;
  found->second.resize(series_.size());
  const ModuleInfo& info = module_.info();
  for (std::size_t i = 0; i < series_.size(); ++i) {
    if (series_[i] == kNoSeries) continue;
    const SeriesSpec& series = info.series[series_[i]];
    if (is_state(info.metrics[series.metric], series.source)) found->second[i].pending = kUnread;
  }
  return found->second;
}

Result<void> Reads::ask(const ReadTarget& target) {
  std::ranges::fill(read_, kUnread);
  return module_.read(target, read_);
}

void Reads::begin(uint32_t slot, const ReadTarget& target) {
  if (auto done = ask(target); !done) error_ = done.error().message();
  std::vector<Value>& values = of(slot);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (series_[i] != kNoSeries && (module_.info().series[series_[i]].flag & target.flags)) values[i].last = read_[i];
  }
}

void Reads::end(uint32_t slot, uint8_t flags) {
  if (flags & keyed_flags_) states_.erase(slot);
  const auto found = values_.find(slot);
  if (found == values_.end()) return;
  for (std::size_t i = 0; i < series_.size(); ++i) {
    if (series_[i] != kNoSeries && (module_.info().series[series_[i]].flag & flags)) found->second[i].last = kUnread;
  }
}

bool Reads::read_keyed(uint32_t slot, const ReadTarget& target) {
  if (!(target.flags & keyed_flags_)) return true;
  std::vector<KeyedState>& states = states_[slot];
  const std::vector<KeyedState> before = std::exchange(states, {});
  auto done = module_.read_keyed(target, states);
  if (!done) error_ = done.error().message();
  for (const KeyedState& old : before) {
    if (std::ranges::find(states, old.key, &KeyedState::key) == states.end()) states.push_back({old.key, 0});
  }
  return static_cast<bool>(done);
}

bool Reads::read(uint32_t slot, const ReadTarget& target) {
  if (!read_keyed(slot, target)) return false;
  if (auto done = ask(target); !done) {
    error_ = done.error().message();
    return false;
  }
  const ModuleInfo& info = module_.info();
  std::vector<Value>& values = of(slot);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (read_[i] == kUnread || series_[i] == kNoSeries) continue;
    const SeriesSpec& series = info.series[series_[i]];
    if (!(series.flag & target.flags)) continue;
    Value& value = values[i];
    if (is_state(info.metrics[series.metric], series.source)) {
      value.pending = read_[i];
      continue;
    }
    // One that fell belongs to something new under the old name, whose past is not this subject's: no spike.
    if (value.last != kUnread && read_[i] > value.last) value.pending += read_[i] - value.last;
    value.last = read_[i];
  }
  return true;
}

uint64_t Reads::drain(uint32_t slot, SampleSink& sink) {
  const auto found = values_.find(slot);
  if (found == values_.end()) return 0;
  const ModuleInfo& info = module_.info();
  uint64_t moved = 0;
  for (std::size_t i = 0; i < series_.size(); ++i) {
    Value& value = found->second[i];
    if (series_[i] == kNoSeries || !value.pending) continue;
    const SeriesSpec& series = info.series[series_[i]];
    if (is_state(info.metrics[series.metric], series.source)) continue;
    sink.counter(slot, {id_, series_[i], 0}, value.pending);
    value.pending = 0;
    ++moved;
  }
  return moved;
}

void Reads::drain_states(uint32_t slot, SampleSink& sink) const {
  if (const auto states = states_.find(slot); states != states_.end()) {
    for (const KeyedState& state : states->second) sink.gauge(slot, {id_, keyed_series_, state.key + 1}, state.value);
  }
  const auto found = values_.find(slot);
  if (found == values_.end()) return;
  const ModuleInfo& info = module_.info();
  for (std::size_t i = 0; i < series_.size(); ++i) {
    const Value& value = found->second[i];
    if (series_[i] == kNoSeries || value.pending == kUnread) continue;
    const SeriesSpec& series = info.series[series_[i]];
    if (!is_state(info.metrics[series.metric], series.source)) continue;
    sink.gauge(slot, {id_, series_[i], 0}, std::bit_cast<int64_t>(value.pending));
  }
}

}  // namespace sonde
