// SPDX-License-Identifier: Apache-2.0
// The module of trial.bpf.c: an engine with it alone shows what the contract does, apart from what any probe measures.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>

#include "agent/module/module.h"

namespace sonde::test {

class TrialModule final : public Module {
 public:
  const ModuleInfo& info() const override;
  CellSeries decode_keyed(uint32_t key) const override;
  Result<void> prepare(bpf_object* object, const Features&, int) const override;
  Result<void> read(const ReadTarget& target, std::span<uint64_t> values) const override;

  mutable uint64_t total = 0;  // what read() says of every cgroup
  mutable bool fail_reads = false;
  mutable int reads = 0;

  void run(const char* program, std::initializer_list<uint64_t> arguments) const;

 private:
  mutable bpf_object* object_ = nullptr;
};

const TrialModule& trial();
std::span<const ModuleEntry> trial_modules();  // to be given to EngineOptions::modules

}  // namespace sonde::test
