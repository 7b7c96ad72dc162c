// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/fullness.h"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <sstream>

namespace sonde {
namespace {

KernelStats with(uint64_t entries, uint64_t capacity, const std::string& name = "sonde_subjects") {
  KernelStats stats;
  stats.modules.emplace_back();
  stats.modules.back().name = "core";
  stats.modules.back().maps.push_back({name, entries, capacity, 4096, 0});
  return stats;
}

std::vector<std::string> warnings_of(const KernelStats& stats) {
  Fullness fullness(0);
  fullness.note(stats, 1);
  return fullness.warnings();
}

TEST(Fullness, BeginsAtEightyPercentAndNamesTheLimit) {
  EXPECT_EQ(warnings_of(with(79, 100)), std::vector<std::string>());
  const auto warnings = warnings_of(with(80, 100));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].find("map sonde_subjects of core is 80 % full (80 of 100): raise limits.subjects"), 0U)
      << warnings[0];
  EXPECT_EQ(warnings_of(with(13'107, 16'384, "sonde_histograms")).size(), 0U) << "79.998 %";
  EXPECT_NE(warnings_of(with(16'384, 16'384, "sonde_histograms"))[0].find("100 % full"), std::string::npos);
  EXPECT_NE(warnings_of(with(9, 10, "io_requests"))[0].find("counted as lost"), std::string::npos);
}

TEST(Fullness, MapsWhoseFillIsNotKnownSayNothing) {
  EXPECT_TRUE(warnings_of(with(0, 0)).empty());
  EXPECT_TRUE(warnings_of(with(0, 100)).empty());
  EXPECT_TRUE(warnings_of({}).empty());
}

TEST(Fullness, IsLoggedOnceUntilThereIsRoomAgain) {
  std::ostringstream said;
  const auto before = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(said)));
  const auto lines = [&] { return std::ranges::count(said.str(), '\n'); };
  Fullness fullness(0);
  fullness.note(with(90, 100), 1);
  fullness.note(with(95, 100), 2);
  EXPECT_EQ(lines(), 1);
  EXPECT_NE(fullness.warnings().front().find("95 %"), std::string::npos);
  fullness.note(with(10, 100), 3);
  EXPECT_TRUE(fullness.warnings().empty());
  fullness.note(with(90, 100), 4);
  EXPECT_EQ(lines(), 2);
  spdlog::set_default_logger(before);
}

TEST(Fullness, IsAConditionThatChangesOnlyWithWhatIsFull) {
  constexpr uint64_t kSecond = 1'000'000'000, kStart = 1'767'225'600 * kSecond;
  Fullness fullness(kStart);
  EXPECT_EQ(fullness.condition(),
            (kube::NodeCondition{"MapsNearlyFull", false, "RoomLeft", "", "2026-01-01T00:00:00Z"}));
  fullness.note(with(79, 100), kStart + kSecond);
  EXPECT_EQ(fullness.condition().since, "2026-01-01T00:00:00Z") << "nothing has changed";
  fullness.note(with(80, 100), kStart + 2 * kSecond);
  const kube::NodeCondition full = fullness.condition();
  EXPECT_TRUE(full.value);
  EXPECT_EQ(full.reason, "EightyPercentReached");
  EXPECT_EQ(full.since, "2026-01-01T00:00:02Z");
  EXPECT_EQ(full.message.find("sonde_subjects of core: raise limits.subjects"), 0U) << full.message;
  fullness.note(with(99, 100), kStart + 3 * kSecond);
  EXPECT_EQ(fullness.condition(), full) << "only a number is another";
  fullness.note(with(10, 100), kStart + 4 * kSecond);
  EXPECT_FALSE(fullness.condition().value);
  EXPECT_EQ(fullness.condition().since, "2026-01-01T00:00:04Z");
}

}  // namespace
}  // namespace sonde
