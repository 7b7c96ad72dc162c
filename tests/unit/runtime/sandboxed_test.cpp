// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/sandboxed.h"

#include <gtest/gtest.h>

#include "agent/identity/identity.h"
#include "tests/unit/identity/file_tree.h"

namespace sonde {
namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;

TEST(Sandboxed, IsToldByTheProgram) {
  EXPECT_EQ(sandbox_of("runsc-sandbox"), "gVisor");
  EXPECT_EQ(sandbox_of("/usr/bin/qemu-system-x86_64"), "a virtual machine");
  EXPECT_EQ(sandbox_of("/opt/kata/bin/cloud-hypervisor"), "a virtual machine");
  for (const char* other : {"", "/", "nginx", "runscript", "/usr/bin/qemu-img"})
    EXPECT_EQ(sandbox_of(other), "") << other;
}

TEST(Sandboxed, EachContainerIsLookedAtOnceItHasSettled) {
  const std::string kA(64, 'a'), kB(64, 'b');
  const auto line = [](const std::string& program) { return program + std::string("\0--root\0", 8); };
  FileTree tree{{"cgroup/docker/" + kA + "/cgroup.procs", "77\n"},
                {"cgroup/docker/" + kB + "/cgroup.procs", "78\n"},
                {"proc/77/cmdline", line("runsc-sandbox")},
                {"proc/78/cmdline", line("nginx")}};
  MembersOptions options;
  options.cgroup_root = tree / "cgroup";
  options.machine_pids = true;
  const Members members(options);
  Sandboxed sandboxed(members, tree / "proc");
  IdentitySnapshot identity;
  identity.slots[3].subject = std::make_shared<const Subject>(subject_of("/docker/" + kA, 1, 5 * kSecondNs));
  identity.slots[4].subject = std::make_shared<const Subject>(subject_of("/docker/" + kB, 2, 5 * kSecondNs));
  sandboxed.look(identity, 10 * kSecondNs);
  EXPECT_TRUE(sandboxed.warnings().empty()) << "too early";
  sandboxed.look(identity, 20 * kSecondNs);
  ASSERT_EQ(sandboxed.warnings().size(), 1U);
  EXPECT_EQ(sandboxed.warnings()[0].find("1 container runs in gVisor (/docker/" + kA + "): "), 0U)
      << sandboxed.warnings()[0];
  identity.slots.erase(3);
  sandboxed.look(identity, 21 * kSecondNs);
  EXPECT_TRUE(sandboxed.warnings().empty()) << "it ended";
}

}  // namespace
}  // namespace sonde
