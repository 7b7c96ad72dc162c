// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/confined.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "agent/symbols/locate.h"

namespace sonde {
namespace {

Fd some_file() { return Fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)); }

TEST(Confined, ReadsItsFileAndAnswers) {
  const Fd file = some_file();
  auto answer = run_confined(file.get(), {}, [](int fd) {
    std::string bytes(4, '\0');
    if (pread(fd, bytes.data(), 4, 0) != 4) bytes = "nothing";
    return bytes;
  });
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(*answer, "\177ELF");
}

TEST(Confined, OpensNothingElse) {
  const Fd file = some_file();
  auto answer = run_confined(
      file.get(), {}, [](int) { return std::string(open("/etc/passwd", O_RDONLY) >= 0 ? "opened" : "refused"); });
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, "") << "the attempt ends it";
}

TEST(Confined, MayTakeAndGiveBackMemoryWhicheverThreadAsks) {
  Result<std::string> answer = Error("not asked");
  std::thread other([&] {
    const Fd file = some_file();
    answer = run_confined(file.get(), {}, [](int) {
      std::vector<std::string> blocks;
      for (int i = 0; i < 200; ++i) blocks.emplace_back(100'000, 'x');
      while (!blocks.empty()) blocks.pop_back();
      return std::string("done");
    });
  });
  other.join();
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(*answer, "done");
}

TEST(Confined, HasNoOtherDescriptors) {
  const Fd file = some_file();
  const Fd secret(open("/proc/self/status", O_RDONLY));
  const int number = secret.get();
  auto answer = run_confined(file.get(), {}, [&](int) {
    char byte = 0;
    return std::string(pread(number, &byte, 1, 0) == 1 ? "read" : "closed");
  });
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, "closed");
}

TEST(Confined, IsGivenUpWhenItIsSlow) {
  const Fd file = some_file();
  Confinement limits;
  limits.deadline = std::chrono::milliseconds(100);
  auto answer = run_confined(file.get(), limits, [](int) {
    for (;;) __asm__ volatile("");
    return std::string();
  });
  EXPECT_FALSE(answer);
}

#ifndef SONDE_SANITIZED  // sanitizers end a program that is refused memory
TEST(Confined, CannotTakeAllMemory) {
  const Fd file = some_file();
  auto answer = run_confined(file.get(), {}, [](int) {
    void* memory = malloc(std::size_t{1} << 30);
    return std::string(memory ? "got it" : "refused");
  });
  ASSERT_TRUE(answer);
  EXPECT_EQ(*answer, "refused");
}
#endif

TEST(Confined, AnswersNotTooMuch) {
  const Fd file = some_file();
  Confinement limits;
  limits.answer = 1000;
  EXPECT_FALSE(run_confined(file.get(), limits, [](int) { return std::string(100'000, 'x'); }));
}

TEST(Locate, OwnProgramAndLibrariesButNothingSpecial) {
  const std::string own = std::filesystem::read_symlink("/proc/self/exe");
  const std::string fifo = "/tmp/sonde-locate-" + std::to_string(getpid());
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  const std::vector<std::string> paths = {own, fifo, "/tmp", "/nowhere", "/proc/self/exe", "/dev/zero"};
  const uint32_t pids[] = {static_cast<uint32_t>(getpid())};
  std::vector<LocatedFile> found;
  const auto ran = locate_files("/proc", pids, paths, std::chrono::seconds(20), nullptr, found);
  unlink(fifo.c_str());
  EXPECT_TRUE(ran) << ran.error().message();
  ASSERT_EQ(found.size(), 1U) << "a link of /proc leads to somebody else's file: not followed";
  EXPECT_EQ(found[0].path, 0U);
  struct stat status {};
  ASSERT_EQ(stat(own.c_str(), &status), 0);
  EXPECT_EQ(found[0].inode, status.st_ino);
  EXPECT_EQ(found[0].device, status.st_dev);
  EXPECT_EQ(found[0].pid, pids[0]);
}

TEST(Locate, AnEmptyPathIsAllCode) {
  const std::vector<std::string> paths = {""};
  const uint32_t pids[] = {static_cast<uint32_t>(getpid())};
  std::vector<LocatedFile> found;
  ASSERT_TRUE(locate_files("/proc", pids, paths, std::chrono::seconds(20), nullptr, found));
  struct stat own {};
  ASSERT_EQ(stat("/proc/self/exe", &own), 0);
  EXPECT_TRUE(std::ranges::any_of(found, [&](const LocatedFile& file) { return file.inode == own.st_ino; }));
  EXPECT_GT(found.size(), 1U) << "its libraries too";
}

TEST(Locate, TellsWhomItMayNotLookAt) {
  const pid_t child = fork();
  if (child == 0) {  // as nobody: what runs as root is none of its business
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) _exit(2);
    const uint32_t other[] = {1}, own[] = {static_cast<uint32_t>(getpid())}, gone[] = {4'000'000'000};
    _exit(may_not_look("/proc", other) && !may_not_look("/proc", own) && !may_not_look("/proc", gone) ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Locate, GivesUpWhatDoesNotAnswer) {
  std::vector<GivenFile> given;
  const auto ran = run_opener(std::chrono::milliseconds(100), 4, given, [](const Give& give) {
    give("three", 0);
    pause();
  });
  EXPECT_FALSE(ran);
  ASSERT_EQ(given.size(), 1U);
  EXPECT_EQ(given[0].told, "three");
}

}  // namespace
}  // namespace sonde
