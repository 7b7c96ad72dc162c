// SPDX-License-Identifier: Apache-2.0
#include "agent/module/intern.h"

#include <gtest/gtest.h>

#include <string>

namespace sonde {
namespace {

TEST(Intern, TheSameTextIsTheSameViewForEver) {
  std::string_view kept;
  {
    const std::string name = "nvme0n1";
    kept = intern(name);
    EXPECT_NE(kept.data(), name.data());
  }
  EXPECT_EQ(kept, "nvme0n1");
  EXPECT_EQ(kept.data(), intern("nvme0n1").data());
  EXPECT_EQ(intern(std::string(1000, 'x')).size(), kMostInternedBytes);
}

TEST(Intern, IsBounded) {
  for (std::size_t i = 0; i < kMostInterned; ++i) intern("name " + std::to_string(i));
  EXPECT_EQ(intern("one too many"), "other");
  EXPECT_EQ(intern("name 1"), "name 1");
}

}  // namespace
}  // namespace sonde
