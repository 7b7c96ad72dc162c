// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/boot_guard.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "agent/base/clock.h"
#include "agent/base/file.h"

namespace sonde {
namespace {

class BootGuardTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = "/tmp/sonde-boot-XXXXXX";
    ASSERT_TRUE(mkdtemp(name.data()));
    directory_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  BootGuard guard(const std::string& boot, const std::string& agent = "1", const std::string& kernel = "6.1") {
    std::ofstream(directory_ + "/boot_id") << boot << "\n";
    return BootGuard({directory_ + "/state", directory_ + "/boot_id", agent, kernel});
  }
  // The agent attaches in this boot, and the node ends.
  void ends_with_the_node(const std::string& boot, const std::string& agent = "1") {
    BootGuard here = guard(boot, agent);
    EXPECT_FALSE(here.obstacle()) << boot;
    EXPECT_TRUE(here.attaching());
    here.tick(boottime_ns() + BootGuard::kSettlesNs - 10'000'000'000);
  }

  std::string directory_;
};

TEST_F(BootGuardTest, TwoRebootsSoonAfterAttachingAreEnough) {
  ends_with_the_node("a");
  ends_with_the_node("b");
  const auto obstacle = guard("c").obstacle();
  ASSERT_TRUE(obstacle);
  EXPECT_EQ(obstacle->reason, "NodeRebootedAfterAttach");
  EXPECT_NE(obstacle->message.find(directory_ + "/state/boot.json"), std::string::npos);
  EXPECT_TRUE(guard("d").obstacle()) << "nothing was attached in c";
  std::filesystem::remove(directory_ + "/state/boot.json");
  EXPECT_FALSE(guard("d").obstacle());
}

TEST_F(BootGuardTest, OneRebootIsNot) {
  ends_with_the_node("a");
  EXPECT_FALSE(guard("b").obstacle());
}

TEST_F(BootGuardTest, RestartsOfTheAgentAreNoReboots) {
  for (int i = 0; i < 5; ++i) ends_with_the_node("a");
  EXPECT_FALSE(guard("a").obstacle());
  ends_with_the_node("b");
  EXPECT_TRUE(guard("c").obstacle());
}

TEST_F(BootGuardTest, ARebootThatComesLaterOrAfterAnOrderlyEndStartsAnew) {
  for (const bool later : {true, false}) {
    ends_with_the_node("a");
    BootGuard second = guard("b");
    EXPECT_TRUE(second.attaching());
    if (later) {
      second.tick(boottime_ns() + BootGuard::kSettlesNs);
    } else {
      second.detached();
    }
    ends_with_the_node("c");
    EXPECT_FALSE(guard("d").obstacle());
    std::filesystem::remove_all(directory_ + "/state");
  }
}

TEST_F(BootGuardTest, AnotherAgentOrKernelGetsAnotherChance) {
  ends_with_the_node("a");
  ends_with_the_node("b");
  EXPECT_TRUE(guard("c").obstacle());
  EXPECT_FALSE(guard("c", "2").obstacle());
  EXPECT_FALSE(guard("c", "1", "6.12").obstacle());
  ends_with_the_node("c", "2");
  EXPECT_FALSE(guard("d", "2").obstacle());
}

// A roll-back: what a newer agent wrote besides is read over.
TEST_F(BootGuardTest, FieldsOfANewerAgentAreReadOver) {
  std::filesystem::create_directories(directory_ + "/state");
  std::ofstream(directory_ + "/state/boot.json")
      << R"({"version": 9, "bootId": "b", "agent": "1", "kernel": "6.1", "settled": false, "reboots": 1,)"
      << R"( "panics": [{"at": 3}], "why": null})";
  EXPECT_TRUE(guard("c").obstacle());
  EXPECT_FALSE(guard("b").obstacle());
}

TEST_F(BootGuardTest, AFileThatIsNoneIsAsGoodAsNotThere) {
  std::filesystem::create_directories(directory_ + "/state");
  for (const char* text :
       {"", "[]", "{", "{\"reboots\": \"many\", \"settled\": 3, \"agent\": \"1\", \"kernel\": \"6.1\"}"}) {
    std::ofstream(directory_ + "/state/boot.json") << text;
    EXPECT_FALSE(guard("c").obstacle()) << text;
    EXPECT_TRUE(guard("c").attaching()) << text;
  }
}

TEST_F(BootGuardTest, WithoutADirectoryThereIsNoGuard) {
  BootGuard none({});
  EXPECT_TRUE(none.attaching());
  EXPECT_FALSE(none.obstacle());
  BootGuard unwritable({"/proc/none", "/proc/sys/kernel/random/boot_id", "", ""});
  EXPECT_FALSE(unwritable.attaching());
}

}  // namespace
}  // namespace sonde
