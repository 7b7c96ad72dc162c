// SPDX-License-Identifier: Apache-2.0
#include "bpf/modules/throttle/throttle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "agent/module/module.h"

namespace sonde {
namespace {

const Module& module() { return *modules()[static_cast<std::size_t>(find_module("throttle"))].module; }

class Stat final : public SubjectFiles {
 public:
  explicit Stat(std::string text) : text_(std::move(text)) {}
  ssize_t read(std::string_view name, std::span<char> text) override {
    if (name != "cpu.stat" || text_.empty()) return -ENOENT;
    const std::size_t size = std::min(text.size(), text_.size());
    std::copy_n(text_.begin(), size, text.begin());
    return static_cast<ssize_t>(size);
  }

 private:
  std::string text_;
};

std::vector<uint64_t> read(const std::string& text, bool node = false) {
  Stat files(text);
  std::vector<uint64_t> values(THROTTLE_READS, kUnread);
  EXPECT_EQ(bool(module().read({node, THROTTLE_FLAG, &files}, values)), node || !text.empty());
  return values;
}

TEST(ThrottleTables, MinimalIsAllThereIs) {
  for (const SeriesSpec& series : module().info().series) {
    EXPECT_EQ(series.level, Level::Minimal);
    EXPECT_EQ(series.scale, module().info().metrics[series.metric].unit == "s" ? 1e-6 : 1.0);
  }
}

TEST(ThrottleTables, ValuesAreThoseOfCpuStat) {
  const auto values = read("usage_usec 5\nnr_periods 12\nnr_throttled 3\nthrottled_usec 4567\n");
  EXPECT_EQ(values[THROTTLE_TIME], 4567U);
  EXPECT_EQ(values[THROTTLE_THROTTLED], 3U);
  EXPECT_EQ(values[THROTTLE_PERIODS], 12U);
  const std::vector<uint64_t> nothing(THROTTLE_READS, kUnread);
  EXPECT_EQ(read("usage_usec 5\n"), nothing) << "no cpu controller";
  EXPECT_EQ(read(""), nothing);
  EXPECT_EQ(read("", true), nothing) << "the node has no quota";
}

}  // namespace
}  // namespace sonde
