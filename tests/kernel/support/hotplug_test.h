// SPDX-License-Identifier: Apache-2.0
// Fixture for tests in which a CPU goes offline and comes back. Only in virtual machines: elsewhere somebody may need that CPU.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/kernel/support/pod.h"

namespace sonde::test {

// `Base` is the fixture of the module that is tested.
template <typename Base>
class HotplugTest : public Base {
 protected:
  static constexpr int kCpu = 1;

  void SetUp() override {
    if (!std::getenv("SONDE_TEST_VM")) GTEST_SKIP() << "takes a CPU offline: in virtual machines only";
    Base::SetUp();
  }
  bool closed_to_the_pod(const std::string& module) {
    if (!Pod::has_no_perf_events()) return false;
    const ModuleReport report = this->engine().modules()[this->module_id(module)];
    EXPECT_NE(report.health, ModuleHealth::Ok);
    EXPECT_TRUE(std::ranges::any_of(report.reasons, [](const std::string& reason) {
      return reason.find("kernel.perf_event_paranoid") != std::string::npos;
    }));
    return true;
  }
  static bool set_online(bool online) {
    std::ofstream file("/sys/devices/system/cpu/cpu" + std::to_string(kCpu) + "/online");
    file << online << std::flush;
    return file.good();
  }
  static void take_away_and_bring_back() {
    ASSERT_TRUE(set_online(false)) << "this CPU cannot be taken offline";
    ASSERT_TRUE(set_online(true));
  }
};

}  // namespace sonde::test
