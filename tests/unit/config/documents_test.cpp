// SPDX-License-Identifier: Apache-2.0
// What the documents show must be true: examples are read by the code that reads the users' files.
#include <gtest/gtest.h>

#include "agent/base/file.h"
#include "agent/config/config_layers.h"
#include "agent/config/policy_file.h"

namespace sonde {
namespace {

// The blocks between ```yaml and ```.
std::vector<std::string> yaml_blocks(const std::string& page) {
  auto text = read_small_file(std::string(SONDE_SOURCE_DIR) + "/docs/ops/" + page);
  EXPECT_TRUE(text);
  std::vector<std::string> blocks;
  const std::string begin = "```yaml\n", end = "\n```";
  for (std::size_t at = 0; text && (at = text->find(begin, at)) != std::string::npos;) {
    at += begin.size();
    blocks.push_back(text->substr(at, text->find(end, at) + 1 - at));
  }
  return blocks;
}

TEST(Documents, ExamplesOfPoliciesAreGood) {
  auto blocks = yaml_blocks("policies.md");
  ASSERT_FALSE(blocks.empty());
  for (const std::string& block : blocks) {
    EXPECT_EQ(parse_policies(block, "policies.md", 0).problems, std::vector<std::string>()) << block;
  }
}

TEST(Documents, ExamplesOfConfigurationAreGood) {
  auto blocks = yaml_blocks("configuration.md");
  ASSERT_FALSE(blocks.empty());
  for (const std::string& block : blocks) {
    Loading loading;
    apply_file(loading, "configuration.md", block, "development");
    EXPECT_EQ(loading.problems, std::vector<std::string>()) << block;
  }
}

}  // namespace
}  // namespace sonde
