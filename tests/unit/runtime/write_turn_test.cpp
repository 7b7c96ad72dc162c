// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/write_turn.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/file.h>

#include <filesystem>

namespace sonde {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

class WriteTurnTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "sonde-turn-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string path() const { return directory_ + "/writer.lock"; }

  std::string directory_;
};

TEST_F(WriteTurnTest, WithoutADirectoryItIsAlwaysOurs) {
  WriteTurn turn("");
  EXPECT_TRUE(turn.ours());
  EXPECT_FALSE(turn.follow(kSecond)) << "it has not just become so";
}

TEST_F(WriteTurnTest, TheSecondWaitsUntilTheFirstLetsGo) {
  WriteTurn old(path()), fresh(path());
  EXPECT_FALSE(old.ours());
  EXPECT_TRUE(old.follow(100 * kSecond));
  EXPECT_TRUE(old.ours());
  for (uint64_t now = 100; now < 1000; now++) {
    EXPECT_FALSE(old.follow(now * kSecond));
    EXPECT_FALSE(fresh.follow(now * kSecond));
  }
  EXPECT_FALSE(fresh.ours());
  old.release();
  EXPECT_FALSE(old.ours());
  EXPECT_TRUE(fresh.follow(1000 * kSecond));
  EXPECT_TRUE(fresh.ours());
}

TEST_F(WriteTurnTest, TheEndOfAProcessLetsGo) {
  WriteTurn fresh(path());
  {
    WriteTurn old(path());
    ASSERT_TRUE(old.follow(kSecond));
    EXPECT_FALSE(fresh.follow(kSecond));
  }
  EXPECT_TRUE(fresh.follow(2 * kSecond)) << "at once, not after the silence";
}

TEST_F(WriteTurnTest, WhoIsSilentForHalfAMinuteLosesItsTurnAndNotices) {
  WriteTurn old(path()), fresh(path());
  ASSERT_TRUE(old.follow(100 * kSecond));
  EXPECT_FALSE(fresh.follow(130 * kSecond));
  EXPECT_TRUE(fresh.follow(131 * kSecond));
  EXPECT_TRUE(fresh.ours());
  EXPECT_FALSE(old.follow(132 * kSecond));
  EXPECT_FALSE(old.ours()) << "woken, it waits like any other";
  fresh.release();
  EXPECT_TRUE(old.follow(133 * kSecond));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 1) << "nothing is left lying about";
}

TEST_F(WriteTurnTest, ADirectoryThatCannotBeUsedIsNamedAndBlindsNobody) {
  WriteTurn turn(directory_ + "/missing/writer.lock");
  EXPECT_TRUE(turn.follow(kSecond));
  EXPECT_TRUE(turn.ours());
  EXPECT_NE(turn.error().find("/missing/writer.lock"), std::string::npos);
}

}  // namespace
}  // namespace sonde
