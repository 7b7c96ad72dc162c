// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/offline.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

TEST(Offline, AFileWithoutTypesIsRefusedWithASentence) {
  const std::string text = SONDE_SOURCE_DIR "/README.md";
  const auto checked = check_offline(text, {});
  ASSERT_FALSE(checked);
  EXPECT_NE(checked.error().message().find("there are no kernel types (BTF) in " + text), std::string::npos)
      << checked.error().message();
  const auto missing = check_offline(text + "/vmlinux", {});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message().find("Unknown error"), std::string::npos) << missing.error().message();
}

}  // namespace
}  // namespace sonde
