// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/name_wait.h"

#include <gtest/gtest.h>

#include "agent/base/clock.h"

namespace sonde {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kTooLong = 11 * kSecond;

class Names : public Enricher {
 public:
  void enrich(Subject& subject) const override {
    if (known) subject.pod_name = "web";
  }
  bool complete(const Subject&) const override { return known; }
  bool may_return(const Subject&) const override { return known; }
  uint64_t version() const override { return number; }

  bool known = false;
  uint64_t number = 0;
};

TEST(NameWait, LastsUntilThePodIsKnown) {
  Names names;
  const NameWait wait(&names);
  EXPECT_TRUE(wait.waits(wait.subject_at("/kubepods/x", 7), boottime_ns()));
  names.known = true;
  const Subject subject = wait.subject_at("/kubepods/x", 7);
  EXPECT_EQ(subject.pod_name, "web");
  EXPECT_FALSE(wait.waits(subject, boottime_ns()));
}

TEST(NameWait, LastsTenSecondsAtMostAndForWhatWasThereBeforeFromTheStart) {
  const Names names;
  const uint64_t before = boottime_ns();
  const NameWait wait(&names);
  EXPECT_TRUE(wait.waits(Subject{}, 0));
  EXPECT_FALSE(wait.is_overdue(0, before + 9 * kSecond));
  EXPECT_TRUE(wait.is_overdue(0, boottime_ns() + kTooLong));
  const uint64_t later = boottime_ns() + 60 * kSecond;
  EXPECT_FALSE(wait.is_overdue(later, later + 9 * kSecond));
  EXPECT_TRUE(wait.is_overdue(later, later + 10 * kSecond));
}

TEST(NameWait, IsOverWhenTheAgentStopsAndWithoutNames) {
  const Names names;
  NameWait wait(&names);
  wait.stop();
  EXPECT_FALSE(wait.waits(Subject{}, boottime_ns()));
  NameWait paths(nullptr);
  EXPECT_FALSE(paths.waits(Subject{}, boottime_ns()));
  EXPECT_FALSE(paths.changed(boottime_ns(), true));
  EXPECT_FALSE(paths.may_return(Subject{}));
}

TEST(NameWait, TellsOfChangesOnceAndNotTooOften) {
  Names names;
  NameWait wait(&names);
  uint64_t now = boottime_ns();
  EXPECT_FALSE(wait.changed(now, false));
  names.number = 1;
  EXPECT_TRUE(wait.changed(now, false));
  EXPECT_FALSE(wait.changed(now += kSecond, false)) << "that was told";
  names.number = 2;
  EXPECT_TRUE(wait.changed(now, false));
  names.number = 3;
  EXPECT_FALSE(wait.changed(now + 1, false)) << "too soon";
  EXPECT_FALSE(wait.changed(now + 1, true)) << "too soon";
  EXPECT_TRUE(wait.changed(now += kSecond, false));
  EXPECT_TRUE(wait.changed(now += kSecond, true)) << "something is overdue";
}

}  // namespace
}  // namespace sonde
