// SPDX-License-Identifier: Apache-2.0
// What `sonde doctor --btf` says of this kernel by its types, beside what this kernel says itself when the programs are loaded.
#include "agent/kernel/offline.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <map>

#include "tests/kernel/support/kernel_test.h"

namespace sonde::test {
namespace {

constexpr const char* kTypes = "/sys/kernel/btf/vmlinux";

class OfflineTest : public KernelTest {};

TEST_F(OfflineTest, ProgramsThatLoadHereRelocateByTheTypesOfThisKernel) {
  const auto checked = check_offline(kTypes);
  ASSERT_TRUE(checked) << checked.error().message();
  std::map<std::string, OfflineProgram> programs;
  for (const OfflineModule& module : *checked) {
    for (const OfflineProgram& program : module.programs) programs[module.name + "/" + program.name] = program;
  }
  int loaded = 0;
  for (const ModuleReport& module : engine().modules()) {
    for (const ProgramReport& program : module.programs) {
      const auto found = programs.find(module.name + "/" + program.name);
      ASSERT_NE(found, programs.end()) << module.name << "/" << program.name;
      if (program.state == ProgramState::Idle || program.state == ProgramState::Attached) {
        ++loaded;
        EXPECT_TRUE(found->second.fits) << found->first << ": " << found->second.reason;
      }
      // What this kernel refuses although its types have it all is refused for another cause, which it names.
      EXPECT_EQ(found->second.fits, found->second.reason.empty()) << found->first;
    }
  }
  EXPECT_GT(loaded, 20);
  for (const OfflineProgram& program : checked->front().programs) {
    EXPECT_TRUE(program.fits) << program.name << ": " << program.reason;
  }
}

// The types of one of our own objects in place of a kernel's: they have neither tracepoints nor what other objects read.
TEST(OfflineTypesTest, WhatAKernelLacksIsNamed) {
  const std::string file = "/tmp/sonde-types-" + std::to_string(getpid());
  const auto object = modules().front().object;
  std::ofstream(file, std::ios::binary)
      .write(reinterpret_cast<const char*>(object.data()), static_cast<std::streamsize>(object.size()));
  const auto checked = check_offline(file);
  unlink(file.c_str());
  ASSERT_TRUE(checked) << checked.error().message();
  std::string reasons;
  for (const OfflineModule& module : *checked) {
    for (const OfflineProgram& program : module.programs) reasons += program.fits ? "" : program.reason + "\n";
  }
  EXPECT_NE(reasons.find("there is no tracepoint sched_switch"), std::string::npos) << reasons;
}

TEST(OfflineTypesTest, AFileWithoutTypesIsAnError) {
  EXPECT_FALSE(check_offline("/proc/self/cmdline"));
  EXPECT_FALSE(check_offline("/nowhere"));
}

}  // namespace
}  // namespace sonde::test
