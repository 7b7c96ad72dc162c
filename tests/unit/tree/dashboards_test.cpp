// SPDX-License-Identifier: Apache-2.0
// Dashboards are what their generator writes; alerts and runbooks belong together.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "tests/unit/tree/files.h"

namespace sonde::tree {
namespace {

struct Ended {
  int code = -1;
  std::string output;
};

Ended run(const std::string& command) {
  Ended result;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return result;
  std::array<char, 4096> buffer{};
  for (std::size_t n; (n = fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) result.output.append(buffer.data(), n);
  const int status = pclose(pipe);
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

TEST(Dashboards, AreGenerated) {
  if (run("python3 --version").code != 0) GTEST_SKIP() << "needs python3";
  const Ended check = run("python3 -B '" + (top() / "charts/dashboards/generate.py").string() + "' --check");
  EXPECT_EQ(check.code, 0) << check.output;
  const auto is_dashboard = [](const SourceFile& file) {
    return file.under("charts/sonde/dashboards/") && file.kind() == "json";
  };
  EXPECT_GE(std::ranges::count_if(files(), is_dashboard), 5);
}

}  // namespace
}  // namespace sonde::tree
