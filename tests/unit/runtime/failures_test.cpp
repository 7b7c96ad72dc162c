// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/failures.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

using Steps = std::vector<OverheadStep>;

TEST(Failures, OnlyTheOneThatKeepsFailingIsOff) {
  Failures failures(2, {.failures = 3, .first_ns = 100, .longest_ns = 1000});
  const Steps full(2, OverheadStep::Full);
  const std::vector<CollectFailure> bad{{1, "no"}};
  failures.note(bad, full, 1);
  failures.note(bad, full, 2);
  EXPECT_EQ(failures.over(full, 2), full);
  EXPECT_EQ(failures.reason(1, 2), "collection fails: no");
  failures.note(bad, full, 3);
  EXPECT_EQ(failures.over(full, 50), (Steps{OverheadStep::Full, OverheadStep::Off}));
  EXPECT_EQ(failures.over({OverheadStep::Sampled, OverheadStep::Full}, 50),
            (Steps{OverheadStep::Sampled, OverheadStep::Off}));
  EXPECT_EQ(failures.count(0), 0u);
  EXPECT_EQ(failures.count(1), 3u);
  EXPECT_EQ(failures.over(full, 103), full);
}

TEST(Failures, WhatIsOffNeitherFailsNorSucceeds) {
  Failures failures(1, {.failures = 1, .first_ns = 100, .longest_ns = 1000});
  failures.note(std::vector<CollectFailure>{{0, "no"}}, Steps(1), 1);
  failures.note({}, failures.over(Steps(1), 50), 50);
  EXPECT_NE(failures.reason(0, 60), "");
  failures.note(std::vector<CollectFailure>{{0, "no"}}, Steps(1), 150);  // tried again: twice as long
  EXPECT_EQ(failures.over(Steps(1), 340), Steps{OverheadStep::Off});
  EXPECT_EQ(failures.over(Steps(1), 351), Steps{OverheadStep::Full});
  failures.note({}, Steps(1), 360);
  EXPECT_EQ(failures.reason(0, 360), "");
}

}  // namespace
}  // namespace sonde
