// SPDX-License-Identifier: Apache-2.0
// What a module keeps per task (bpf/include/sonde/task.h) is its own: the compiler that builds the modules says so.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace sonde::tree {
namespace {

// What the compiler says of BPF code of a module that reads sched's part.
std::string compile(const std::string& statement) {
  const std::filesystem::path source = std::filesystem::path(testing::TempDir()) / "sonde_task_part.bpf.c";
  std::ofstream(source) << "#define SONDE_READS_sched\n#include <sonde/task.h>\n"
                        << "uint64_t use(struct sonde_task *state) { " << statement << " }\n";
  const std::string top = SONDE_SOURCE_DIR;
  const std::string command = std::string(SONDE_CLANG) + " -target bpf -fsyntax-only -D__TARGET_ARCH_x86 -I" + top +
                              " -I" + top + "/bpf/include -I" + top + "/bpf/vmlinux/x86 -I" + SONDE_BINARY_DIR +
                              "/generated/bpf -Wno-missing-declarations " + source.string() + " 2>&1";
  std::string said;
  FILE* pipe = ::popen(command.c_str(), "r");
  if (!pipe) return "the compiler cannot be run";
  char line[512];
  while (std::fgets(line, sizeof(line), pipe)) said += line;
  ::pclose(pipe);
  std::filesystem::remove(source);
  return said;
}

TEST(TaskParts, OfAnotherModuleAreReadWhereThatIsDeclared) {
  EXPECT_EQ(compile("return state->sched.exec_runtime;"), "");
}

TEST(TaskParts, OfAnotherModuleCannotBeWritten) {
  const std::string said = compile("state->sched.exec_runtime = 1; return 0;");
  EXPECT_NE(said.find("cannot assign to"), std::string::npos) << said;
}

TEST(TaskParts, OfAnotherModuleAreClosedOtherwise) {
  const std::string said = compile("return state->locks.wait;");
  EXPECT_NE(said.find("no member named 'locks'"), std::string::npos) << said;
}

}  // namespace
}  // namespace sonde::tree
