// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/policy_reports.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

ModuleReport module(const std::string& name, ModuleHealth health, std::vector<std::string> reasons = {}) {
  ModuleReport report;
  report.name = name;
  report.health = health;
  report.reasons = std::move(reasons);
  return report;
}

TEST(PolicyReports, TheSondeNodeListsProbesThatLackSomethingWithAllReasons) {
  kube::NodeReport report;
  add_probes({module("io", ModuleHealth::Ok),
              module("network", ModuleHealth::Degraded,
                     {"network_packet_out: another process detached it", "transmitted UDP is not measured"}),
              module("sched", ModuleHealth::Disabled, {"disabled by modules.disabled"}),
              module("locks", ModuleHealth::Failed, {"locks.bpf.o: cannot be loaded"})},
             report);
  EXPECT_EQ(report.probes_ok, 1U);
  EXPECT_EQ(report.probes_degraded, 2U) << "a disabled probe is neither";
  const std::vector<kube::ProbeProblem> expected = {
      {"locks", "Failed", "LoadFailed", "locks.bpf.o: cannot be loaded"},
      {"network", "Degraded", "HooksMissing",
       "network_packet_out: another process detached it; transmitted UDP is not measured"},
      {"sched", "Disabled", "Disabled", "disabled by modules.disabled"}};
  EXPECT_EQ(report.probes, expected);
}

}  // namespace
}  // namespace sonde
