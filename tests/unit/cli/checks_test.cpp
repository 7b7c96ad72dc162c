// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/checks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "agent/base/json.h"

namespace sonde::cli {
namespace {

const std::vector<Check> kMixed = {
    {"kernel", Verdict::Ok, "Linux 6.1", ""},
    {"probe io", Verdict::Warning, "5 programs load; no fentry", "what is missing is named"},
    {"BTF", Verdict::Failure, "is missing", "use a kernel built with it"},
};

TEST(Checks, TextIsALineEachAndTheRemedyBelow) {
  EXPECT_EQ(checks_text(kMixed),
            "[+] kernel    Linux 6.1\n"
            "[!] probe io  5 programs load; no fentry\n"
            "              → what is missing is named\n"
            "[-] BTF       is missing\n"
            "              → use a kernel built with it\n");
  EXPECT_EQ(checks_text({}), "");
}

TEST(Checks, JsonHasTheSame) {
  const auto json = parse_json<nlohmann::json>(checks_json(kMixed));
  ASSERT_EQ(json.size(), 3U);
  EXPECT_EQ(json[0], (nlohmann::json{{"name", "kernel"}, {"verdict", "ok"}, {"finding", "Linux 6.1"}}));
  EXPECT_EQ(json[1]["verdict"], "warning");
  EXPECT_EQ(json[2]["verdict"], "failure");
  EXPECT_EQ(json[2]["remedy"], "use a kernel built with it");
  EXPECT_EQ(parse_json<nlohmann::json>(checks_json({{"x", Verdict::Ok, "not UTF-8: \xff", ""}})).size(), 1U);
}

TEST(Checks, TheWorstVerdictIsTheExitCode) {
  EXPECT_EQ(checks_code({}), 0);
  EXPECT_EQ(checks_code({kMixed[0]}), 0);
  EXPECT_EQ(checks_code({kMixed[1], kMixed[0]}), 1);
  EXPECT_EQ(checks_code(kMixed), 2);
}

ModuleReport loaded(ModuleHealth health, std::vector<std::string> hooks) {
  ModuleReport report;
  report.name = "io";
  report.health = health;
  for (std::string& hook : hooks) report.programs.push_back({"io_x", std::move(hook), ProgramState::Idle, "", ""});
  return report;
}

TEST(ProbeCheck, AProbeThatIsOffIsAGapAndNotTheEnd) {
  for (const ModuleHealth health : {ModuleHealth::Failed, ModuleHealth::Degraded}) {
    const Check check = probe_check(loaded(health, {}), modules().front().module->info(), ~0ULL);
    EXPECT_EQ(check.verdict, Verdict::Warning);
    EXPECT_NE(check.remedy, "");
  }
  const ModuleInfo& files = modules()[static_cast<std::size_t>(find_module("throttle"))].module->info();
  EXPECT_EQ(probe_check(loaded(ModuleHealth::Ok, {}), files, ~0ULL).finding, "reads files, has no BPF program");
  EXPECT_EQ(probe_check(loaded(ModuleHealth::Ok, {}), modules().front().module->info(), ~0ULL).verdict, Verdict::Ok);
}

TEST(ProbeCheck, WhatEverySystemCallPaysIsSaid) {
  const auto finding = [](std::vector<std::string> hooks) {
    return probe_check(loaded(ModuleHealth::Ok, std::move(hooks)), modules().front().module->info(), ~0ULL).finding;
  };
  EXPECT_NE(finding({"tp_btf/sys_enter", "tp_btf/sys_exit"}).find("about 150 ns"), std::string::npos);
  EXPECT_EQ(finding({"fentry/__x64_sys_read", "fexit/__x64_sys_read"}).find("150 ns"), std::string::npos);
  ModuleReport unused = loaded(ModuleHealth::Ok, {"tp_btf/sys_enter", "tp_btf/sys_exit"});
  for (ProgramReport& program : unused.programs) program.state = ProgramState::Unused;
  EXPECT_EQ(probe_check(unused, modules().front().module->info(), ~0ULL).finding.find("150 ns"), std::string::npos);
}

// Whatever this machine is: nobody is left without a finding, or with a trouble and without advice.
TEST(Doctor, EveryFindingIsSaidAndEveryTroubleHasARemedy) {
  const auto checks = machine_checks("", "/proc");
  for (const char* name : {"kernel", "BTF", "capabilities", "cgroups", "lockdown", "BPF compiler"}) {
    const auto found = std::ranges::find(checks, name, &Check::name);
    ASSERT_NE(found, checks.end()) << name;
    EXPECT_NE(found->finding, "") << name;
    EXPECT_EQ(found->verdict == Verdict::Ok, found->remedy.empty()) << name << ": " << found->remedy;
  }
}

TEST(Doctor, ATreeThatIsNoCgroupTreeIsAFailureThatNamesIt) {
  const auto checks = machine_checks("/usr", "/proc");
  const auto cgroups = std::ranges::find(checks, "cgroups", &Check::name);
  ASSERT_NE(cgroups, checks.end());
  EXPECT_EQ(cgroups->verdict, Verdict::Failure);
  EXPECT_NE(cgroups->finding.find("/usr"), std::string::npos) << cgroups->finding;
  EXPECT_NE(cgroups->remedy, "");
  EXPECT_EQ(checks_code(checks), 2);
}

}  // namespace
}  // namespace sonde::cli
