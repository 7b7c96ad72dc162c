// SPDX-License-Identifier: Apache-2.0
// The io probe beside calls: open files by the iterator, and what a kernel lacks.
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <filesystem>

#include "tests/kernel/support/io_test.h"
#include "tests/kernel/support/pod.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("IoObjectsTest.OpenFilesAreThoseOfAllProcesses", Trait::PodView, Trait::PodEachKernel);

class IoObjectsTest : public IoTest {};

// Regular files and block devices among the descriptors of the calling process: what the iterator should find.
int64_t files_open() {
  int64_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    struct stat status {};
    const int fd = std::stoi(entry.path().filename());
    if (fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode))) count++;
  }
  return count;
}

TEST_F(IoObjectsTest, OpenFilesAreThoseOfAllProcesses) {
  Cgroup& box = selected("box", IO_OPEN_COUNT);
  Cgroup& idle = selected("idle", IO_OPEN_COUNT);
  Cgroup& other = cgroup("other");
  select(other, {});
  const auto reasons = engine().modules()[module_id("io")].reasons;
  if (Pod::wanted() && std::ranges::any_of(reasons, [](const std::string& reason) {
        return reason.find("hides the files of other namespaces") != std::string::npos;
      })) {
    collect(true);
    EXPECT_EQ(everything(box), 0U) << "a missing series";
    GTEST_SKIP() << "this kernel hides the files of other PID namespaces: named as a gap";
  }
  int ready[2], end[2];
  ASSERT_EQ(pipe(ready), 0);
  ASSERT_EQ(pipe(end), 0);
  const pid_t child = box.start([&] {
    ::close(end[1]);
    for (int i = 0; i < 100; i++) MUST(scratch_file(0) >= 0);
    int pipes[2];
    MUST(pipe(pipes) == 0);
    int64_t open_here = files_open();
    const pid_t grandchild = fork();  // has the same descriptors in a table of its own
    if (grandchild != 0) MUST(write(ready[1], &open_here, sizeof(open_here)) == sizeof(open_here));
    char byte;
    MUST(read(end[0], &byte, 1) == 0);
    if (grandchild != 0) MUST(waitpid(grandchild, nullptr, 0) == grandchild);
  });
  const pid_t elsewhere = other.start([&] {
    ::close(end[1]);
    char byte;
    MUST(scratch_file(0) >= 0 && read(end[0], &byte, 1) == 0);
  });
  int64_t each = 0;
  ASSERT_EQ(read(ready[0], &each, sizeof(each)), static_cast<ssize_t>(sizeof(each)));
  EXPECT_GE(each, 100);
  for (int i = 0; i < 2; i++) {  // not added up
    collect(true);
    EXPECT_EQ(total(box, "sonde.file.open_descriptors"), 2 * each);
    EXPECT_EQ(everything(idle) + everything(other), 0U);
  }
  ::close(end[1]);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_EQ(waitpid(elsewhere, &status, 0), elsewhere);
  EXPECT_EQ(status, 0);
  collect(true);
  EXPECT_EQ(total(box, "sonde.file.open_descriptors"), 0);
  for (const int fd : {ready[0], ready[1], end[0]}) ::close(fd);
}

TEST_F(IoObjectsTest, MissingIoUringHooksAreNamedAsGaps) {
  for (const auto& program : report_.programs) {
    EXPECT_TRUE(program.state != ProgramState::Failed || !program.gap.empty()) << program.name;
  }
}

}  // namespace
}  // namespace sonde::test
