// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/lease.h"

#include <gtest/gtest.h>

namespace sonde::kube {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

TEST(Lease, IsTakenOnlyWhenItsHolderIsSilent) {
  struct Row {
    const char* what;
    std::optional<LeaseRecord> record;
    uint64_t silent_for;
    LeaseStep step;
  };
  const LeaseRecord mine{"me", "", "", 15, 0, "1"}, other{"other", "", "", 15, 0, "1"}, free{"", "", "", 1, 0, "1"};
  const LeaseRecord broken{"other", "", "", 0, 0, "1"}, forever{"other", "", "", 1'000'000, 0, "1"};
  const Row rows[] = {
      {"there is none", std::nullopt, 0, LeaseStep::Create},       {"it is ours", mine, 0, LeaseStep::Renew},
      {"ours, and long ago", mine, 100, LeaseStep::Renew},         {"somebody renews it", other, 14, LeaseStep::Wait},
      {"somebody was silent", other, 15, LeaseStep::Take},         {"given back", free, 0, LeaseStep::Take},
      {"says no duration, fresh", broken, 0, LeaseStep::Wait},     {"says no duration", broken, 1, LeaseStep::Take},
      {"says an absurd duration", forever, 3600, LeaseStep::Take},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(next_step(row.record, "me", 1000 * kSecond, (1000 + row.silent_for) * kSecond), row.step) << row.what;
  }
}

TEST(Lease, IsReadFromItsObject) {
  const auto record =
      parse_lease(R"({"metadata":{"resourceVersion":"42"},"spec":{"holderIdentity":"a","leaseDurationSeconds":15,
    "acquireTime":"2026-01-01T00:00:00.000000Z","renewTime":"2026-01-01T00:00:01.000000Z","leaseTransitions":3}})");
  ASSERT_TRUE(record);
  EXPECT_EQ(*record, (LeaseRecord{"a", "2026-01-01T00:00:00.000000Z", "2026-01-01T00:00:01.000000Z", 15, 3, "42"}));
  EXPECT_TRUE(parse_lease(R"({"metadata":{},"spec":null})"));
  EXPECT_FALSE(parse_lease("[]"));
  EXPECT_FALSE(parse_lease("nothing"));
}

TEST(Lease, TimesAreAsKubernetesWritesThem) {
  EXPECT_EQ(time_text(1'769'853'600'123'456'789), "2026-01-31T10:00:00Z");
  EXPECT_EQ(micro_time_text(1'769'853'600'023'456'789), "2026-01-31T10:00:00.023456Z");
}

}  // namespace
}  // namespace sonde::kube
