// SPDX-License-Identifier: Apache-2.0
#include "agent/config/policy_check.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>

#include "agent/base/json.h"
#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

const std::string kFixtures = std::string(SONDE_SOURCE_DIR) + "/tests/fixtures/policies/";

PolicyCheckOptions options(bool json = false) {
  PolicyCheckOptions options;
  options.context = made_up::context();
  options.estimate = true;
  options.json = json;
  return options;
}

class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    std::string pattern = std::filesystem::temp_directory_path() / "sonde_check_XXXXXX";
    ::close(::mkstemp(pattern.data()));
    path = pattern;
    std::ofstream(path) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path); }
  std::string path;
};

std::string policy_text(const std::string& spec) {
  return "apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: p}\nspec: {" + spec + "}\n";
}

TEST(PolicyCheck, SaysWhatAPolicyWouldDo) {
  PolicyCheck check = check_policies({kFixtures + "machine.yaml"}, options());
  EXPECT_EQ(check.exit_code, 0);
  // How much depends on what a subject takes in the kernel, which is none of this test's business.
  const std::string output = std::regex_replace(check.output, std::regex("memory [0-9]+[.][0-9] MiB"), "memory N MiB");
  const std::string path = kFixtures + "machine.yaml";
  EXPECT_EQ(output, "note: " + path +
                        ":2: batch: selects by cgroups and commands: for files only, the API server rejects it\n"
                        "note: " +
                        path + ":12: quiet: selects by cgroups: for files only, the API server rejects it\n" + path +
                        ": good, 2 policies\n"
                        "  batch: disk Standard; per container, every 30s, KeepRecent\n"
                        "    probe       level         series per subject  histograms  ns per operation\n"
                        "    disk        Standard                      3+           1               218\n"
                        "    at most 3 series and 1 histograms per subject; +: plus one per type of error or "
                        "operation that occurs\n"
                        "    kernel memory N MiB for 4096 subjects and 16384 histograms (the agent's limits)\n"
                        "  quiet: what it selects is never watched\n");
}

TEST(PolicyCheck, WrongFilesExitWithTwo) {
  TemporaryFile wrong(policy_text("presett: Standard"));
  PolicyCheck check = check_policies({wrong.path}, options());
  EXPECT_EQ(check.exit_code, 2);
  EXPECT_TRUE(check.problems.starts_with(wrong.path + ":4:8: spec has no field 'presett', did you mean 'preset'"));
  check = check_policies({"/nonexistent.yaml"}, options());
  EXPECT_EQ(check.exit_code, 2);
  EXPECT_EQ(check.problems, "cannot open /nonexistent.yaml: No such file or directory");
  EXPECT_EQ(check.output, "");
  TemporaryFile empty("# nothing\n");
  EXPECT_EQ(check_policies({empty.path}, options()).exit_code, 2);
  check = check_policies({"/proc/self/fdinfo"}, options());
  EXPECT_EQ(check.exit_code, 2);
  EXPECT_EQ(check.problems, "/proc/self/fdinfo: this directory contains no .yaml or .yml files");
}

TEST(PolicyCheck, NamesAreUniqueOverFiles) {
  TemporaryFile a(policy_text("preset: Minimal")), b(policy_text("preset: Detailed"));
  PolicyCheck check = check_policies({a.path, b.path}, options());
  EXPECT_EQ(check.exit_code, 2);
  EXPECT_NE(check.problems.find(b.path + ":1:1: the policy 'p' is already in " + a.path + ":1: names must be unique"),
            std::string::npos);
}

TEST(PolicyCheck, NotesWhatHasNoEffect) {
  TemporaryFile nothing(policy_text("preset: None")),
      narrow(policy_text("preset: Standard, limits: {seriesPerContainer: 2}"));
  PolicyCheck check = check_policies({nothing.path}, options());
  EXPECT_EQ(check.exit_code, 0);
  EXPECT_NE(check.output.find("note: " + nothing.path + ":1: p: enables nothing: write a preset"), std::string::npos);
  check = check_policies({narrow.path}, options());
  EXPECT_NE(check.output.find("p: may reach 4 series per container, more than seriesPerContainer 2"),
            std::string::npos);
  auto strict = options();
  strict.context.ceilings.level = Level::Minimal;
  check = check_policies({narrow.path}, strict);
  EXPECT_NE(check.output.find("p: disk at Standard exceeds the agent's ceiling Minimal"), std::string::npos);
}

TEST(PolicyCheck, NotesWhatTracesDoNotRecordYet) {
  TemporaryFile traced(policy_text("preset: Minimal, traces: {mode: Enabled}")),
      futile(policy_text("preset: Minimal, traces: {mode: Enabled, operations: [RunQueueWait, Process]}")),
      untraced(policy_text("preset: Minimal, traces: {mode: Disabled}"));
  const PolicyCheck check = check_policies({futile.path}, options());
  EXPECT_EQ(check.exit_code, 0);
  EXPECT_NE(check.output.find("p: traces: this version does not record Process, RunQueueWait\n"), std::string::npos);
  EXPECT_NE(check.output.find("p: traces has no effect: nothing that it names is recorded by this version\n"),
            std::string::npos);
  for (const TemporaryFile* file : {&traced, &untraced}) {
    EXPECT_EQ(check_policies({file->path}, options()).output.find("note"), std::string::npos) << file->path;
  }
}

TEST(PolicyCheck, PricesWhatSpansNeed) {
  TemporaryFile alone(policy_text("preset: None, traces: {mode: Enabled, operations: [Fsync]}"));
  const PolicyCheck check = check_policies({alone.path}, options());
  EXPECT_EQ(check.exit_code, 0);
  EXPECT_NE(check.output.find("    disk        None                           0           0               218\n"),
            std::string::npos)
      << check.output;
  EXPECT_NE(check.output.find("p: spans of Fsync; per container"), std::string::npos) << check.output;
}

TEST(PolicyCheck, JsonHasTheSame) {
  auto json = parse_json<nlohmann::json>(check_policies({kFixtures}, options(true)).output);
  EXPECT_EQ(json["good"], true);
  ASSERT_EQ(json["files"].size(), 2u);
  const auto& databases = json["files"][0]["policies"][0];
  EXPECT_EQ(databases["name"], "databases");
  EXPECT_EQ(databases["periodSeconds"], 30);
  EXPECT_EQ(databases["estimate"]["probes"][0]["probe"], "disk");
  EXPECT_EQ(databases["estimate"]["probes"][0]["level"], "Detailed");
  EXPECT_GT(databases["estimate"]["kernelBytes"], 1'000'000);
  EXPECT_EQ(json["files"][0]["notes"].size(), 1u);
}

}  // namespace
}  // namespace sonde
