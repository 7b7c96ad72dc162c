// SPDX-License-Identifier: Apache-2.0
// stress-ng in a cgroup that is too small for it, against what the kernel counted of the same cgroup. Needs the memory
// controller in the v2 tree (the virtual machines have it, and stress-ng).
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/kernel/support/memory_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("MemoryStressTest.*", Trait::Equipment);

constexpr uint8_t kShort = MEMORY_FLAG_STALL | MEMORY_FLAG_RECLAIM | MEMORY_FLAG_OOM | MEMORY_FLAG_MAJOR;

std::string stress_ng() {
  for (const char* path : {"/bin/stress-ng", "/usr/bin/stress-ng"}) {
    if (access(path, X_OK) == 0) return path;
  }
  return {};
}

bool by_generations() {
  std::string enabled;
  return std::ifstream("/sys/kernel/mm/lru_gen/enabled") >> enabled && std::stoi(enabled, nullptr, 16) != 0;
}

class MemoryStressTest : public MemoryTest {
 protected:
  void SetUp() override {
    MemoryTest::SetUp();
    if (!IsSkipped() && stress_ng().empty()) GTEST_SKIP() << "stress-ng is not installed";
  }
  // In the box, to its end; what it and its children did.
  static rusage stress(const Cgroup& box, const std::vector<std::string>& options) {
    const std::string program = stress_ng();
    const pid_t child = box.start([&] {
      std::vector<char*> words = {const_cast<char*>(program.c_str())};
      for (const std::string& option : options) words.push_back(const_cast<char*>(option.c_str()));
      words.push_back(nullptr);
      const int quiet = open("/dev/null", O_RDWR | O_CLOEXEC);
      MUST(dup2(quiet, 1) == 1 && dup2(quiet, 2) == 2);
      execv(program.c_str(), words.data());
      _exit(9);
    });
    rusage usage{};
    int status = -1;
    EXPECT_EQ(wait4(child, &status, 0, &usage), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "stress-ng ended with " << status;
    return usage;
  }
  int64_t pressure(const Cgroup& box, const std::string& kind) {
    return total(box, "sonde.pressure.stall.time", {"memory", kind});
  }
};

// Files of four times the memory are written and read: its own threads have to free pages all the time.
TEST_F(MemoryStressTest, FilesInASmallCgroupAreWhatItsFilesSay) {
  auto& box = cgroup("small");
  auto& idle = cgroup("idle");
  auto& unwatched = cgroup("unwatched");
  const MemoryLimit limit(box, 32 * kMiB), other_limit(unwatched, 32 * kMiB);
  if (!limit.usable() || !limit.v2()) GTEST_SKIP() << "no memory controller in the v2 tree";
  select(box, {{"memory", kShort}});
  select(idle, {{"memory", kShort}});
  select(unwatched, {});
  const std::vector<std::string> files = {"--temp-path", "/tmp",      "--hdd", "1",          "--hdd-bytes",
                                          "128M",        "--hdd-ops", "3000",  "--hdd-opts", "wr-seq,rd-seq"};
  const int64_t scanned_before = limit.stat("pgscan"), got_before = limit.stat("pgsteal");
  const auto pressure_before = pressure_of(box, "memory");
  const rusage did = stress(box, files);
  stress(unwatched, files);
  collect();
  RecordProperty("freed_MiB", static_cast<int>(reclaimed(box, "memcg") / kMiB));
  EXPECT_GT(reclaimed(box, "memcg"), 32 * kMiB) << "it was not short of memory";
  if (scanned_before >= 0) {
    // The kernel brings memory.stat up to date every two seconds.
    eventually([&] { return reclaimed(box, "memcg") == (limit.stat("pgsteal") - got_before) * kPage; }, 20);
    // Where it sorts pages by generations, its figure lacks those that it looked at and passed over.
    const int64_t looked_at = (limit.stat("pgscan") - scanned_before) * kPage;
    EXPECT_GE(scanned(box, "memcg"), looked_at);
    if (!by_generations()) {
      EXPECT_EQ(scanned(box, "memcg"), looked_at);
    }
    EXPECT_EQ(reclaimed(box, "memcg"), (limit.stat("pgsteal") - got_before) * kPage);
  }
  EXPECT_EQ(scanned(box, "direct") + scanned(box, "kswapd"), 0);
  EXPECT_GT(stalls(box), 0U);
  EXPECT_EQ(faults(box, "major"), did.ru_majflt);
  EXPECT_EQ(kills(box, "memcg"), limit.kills());
  EXPECT_EQ(kills(box, "global"), 0);
  if (pressure_before[0] >= 0) {
    const auto truth = pressure_of(box, "memory");
    EXPECT_GT(truth[0], pressure_before[0]);
    EXPECT_EQ(pressure(box, "some"), truth[0] - pressure_before[0]);
    EXPECT_EQ(pressure(box, "full"), truth[1] - pressure_before[1]);
  }
  EXPECT_EQ(everything(idle), 0U);
  EXPECT_EQ(everything(unwatched), 0U);
}

// Twice the memory, of its own: the kernel kills workers, which stress-ng starts again.
TEST_F(MemoryStressTest, KillsInASmallCgroupAreThoseOfItsEvents) {
  auto& box = cgroup("small");
  auto& idle = cgroup("idle");
  const MemoryLimit limit(box, 32 * kMiB);
  if (!limit.usable() || !limit.v2()) GTEST_SKIP() << "no memory controller in the v2 tree";
  select(box, {{"memory", kShort}});
  select(idle, {{"memory", kShort}});
  stress(box, {"--vm", "1", "--vm-bytes", "64M", "--vm-keep", "--vm-ops", "1", "--oomable"});
  collect();
  EXPECT_GT(limit.kills(), 0) << "it had enough memory";
  EXPECT_EQ(kills(box, "memcg"), limit.kills());
  EXPECT_EQ(kills(box, "global"), 0);
  EXPECT_GT(stalls(box), 0U);
  EXPECT_EQ(everything(idle), 0U);
}

}  // namespace
}  // namespace sonde::test
