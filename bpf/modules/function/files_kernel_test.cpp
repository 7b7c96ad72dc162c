// SPDX-License-Identifier: Apache-2.0
// Which files are one to a probe, and that a probe keeps no mount which nobody uses any more. The files are small ELF programs on
// mounts of their own, mapped and called by processes in mount namespaces of their own.
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/kernel/support/function_test.h"
#include "tests/kernel/support/loop_disk.h"
#include "tests/kernel/support/traits.h"
#include "tests/unit/symbols/elf_builder.h"

namespace sonde::test {
namespace {

// User functions need SYS_PTRACE, which the chart does not grant by default; tests/e2e/pod_test.py has them.
SONDE_TRAITS("FunctionDisksTest.*", Trait::HostOnly);
SONDE_TRAITS("FunctionFilesTest.*", Trait::HostOnly);
SONDE_TRAITS("FunctionOverlayTest.*", Trait::HostOnly);

// A program with one function, `work`, which returns 1.
std::string program() {
#if defined(__aarch64__)
  constexpr std::string_view kWork("\x20\x00\x80\x52\xc0\x03\x5f\xd6", 8);
#else
  constexpr std::string_view kWork("\xb8\x01\x00\x00\x00\xc3", 6);
#endif
  ElfBuilder elf(this_machine());
  elf.symbol("work", elf.code(kWork), kWork.size());
  return elf.build();
}

// Maps the program as the loader would and keeps it; calls its function.
class Caller {
 public:
  void map(const std::string& path) {
    const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    void* code = mmap(nullptr, 0x1000, PROT_READ | PROT_EXEC, MAP_PRIVATE, file.get(), kCode);
    if (code == MAP_FAILED) _exit(3);
    std::memcpy(&work_, &code, sizeof(work_));
  }
  void call(int times) const {
    for (int i = 0; i < times; ++i) {
      if (work_() != 1) _exit(4);
    }
  }

 private:
  int (*work_)() = nullptr;
};

void own_mounts() {
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) _exit(5);
}

class FunctionFilesTest : public FunctionTest {
 protected:
  void TearDown() override {
    for (const std::string& point : mounts_) umount2(point.c_str(), MNT_DETACH);
    FunctionTest::TearDown();
  }

  std::string directory(const std::string& name) {
    const std::string path = files_.directory() + "/" + name;
    std::filesystem::create_directories(path);
    return path;
  }
  void mount_tmpfs(const std::string& point) {
    ASSERT_EQ(mount("sonde-test", point.c_str(), "tmpfs", 0, nullptr), 0) << std::strerror(errno);
    mounts_.push_back(point);
  }
  FunctionRequest work_in(const std::string& path) {
    FunctionRequest request = function("work", "work", {"Calls", "Duration"});
    request.path = path;
    return request;
  }
  int64_t calls(const Cgroup& box) { return total(box, "sonde.function.calls", {"work"}); }

  TemporaryFiles files_;

 private:
  std::vector<std::string> mounts_;
};

// Writes the same to both, so that they differ in nothing that stat() tells but the device. Times are of the kernel's tick, so
// some pairs fall into one.
bool make_alike(const std::string& first, const std::string& second, const std::string& content) {
  for (int tries = 0; tries < 1000; ++tries) {
    unlink(first.c_str());
    unlink(second.c_str());
    const Fd files[] = {Fd(open(first.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0755)),
                        Fd(open(second.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0755))};
    for (const Fd& file : files) {
      if (write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size())) return false;
    }
    const timespec times[] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
    for (const Fd& file : files) futimens(file.get(), times);
    struct stat a {
    }, b{};
    fstat(files[0].get(), &a);
    fstat(files[1].get(), &b);
    if (a.st_ino == b.st_ino && a.st_size == b.st_size && a.st_ctim.tv_sec == b.st_ctim.tv_sec &&
        a.st_ctim.tv_nsec == b.st_ctim.tv_nsec) {
      return a.st_dev != b.st_dev;
    }
  }
  return false;
}

TEST_F(FunctionFilesTest, FilesThatLookAlikeOnTwoFileSystemsAreTwo) {
  const std::string target = files_.add("target", "");
  const std::string roots[] = {directory("a"), directory("b")};
  for (const std::string& root : roots) mount_tmpfs(root);
  ASSERT_TRUE(make_alike(roots[0] + "/app", roots[1] + "/app", program()));
  Caller caller;
  const auto enter = [&](const std::string& root) {
    own_mounts();
    if (mount((root + "/app").c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) _exit(6);
    caller.map(target);
  };
  auto& first = cgroup("first");
  auto& second = cgroup("second");
  HeldProcess one(first, {[&] { enter(roots[0]); }, [&] { caller.call(1000); }});
  HeldProcess two(second, {[&] { enter(roots[1]); }, [&] { caller.call(700); }});
  one.step(0);
  two.step(0);
  ask(first, {work_in(target)});
  ASSERT_TRUE(attached(first, 1)) << problems();
  ask(second, {work_in(target)});
  ASSERT_TRUE(attached(second, 1)) << problems();
  EXPECT_EQ(functions().attached(), 2U);
  one.step(1);
  two.step(1);
  collect();
  EXPECT_EQ(calls(first), 1000);
  EXPECT_EQ(calls(second), 700);
  EXPECT_EQ(losses("function"), 0U);
}

// Two disks with the same bytes: the files differ in nothing but the device, and each disk is mounted by its container alone.
class FunctionDisksTest : public FunctionFilesTest {
 protected:
  void SetUp() override {
    FunctionFilesTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::string content = directory("content"), first = files_.directory() + "/first.img";
    std::ofstream(content + "/app", std::ios::binary) << program();
    if (!run_command("mkfs.ext4 -q -F -O ^has_journal -d " + content + " " + first + " 8M"))
      GTEST_SKIP() << "there is no mkfs.ext4";
    const std::string second = files_.directory() + "/second.img";
    ASSERT_TRUE(std::filesystem::copy_file(first, second));
    root_ = directory("root");
    for (const std::string& image : {first, second}) disks_.push_back(std::make_unique<LoopDisk>(image));
    if (!disk(0).ok() || !disk(1).ok()) GTEST_SKIP() << "there are no loop devices";
  }
  LoopDisk& disk(std::size_t number) const { return *disks_[number]; }
  std::string target() const { return root_ + "/app"; }
  void enter(std::size_t number) {
    own_mounts();
    if (mount(disk(number).path().c_str(), root_.c_str(), "ext4", MS_RDONLY, nullptr) != 0) _exit(6);
    caller_.map(target());
  }

  Caller caller_;

 private:
  std::vector<std::unique_ptr<LoopDisk>> disks_;
  std::string root_;
};

TEST_F(FunctionDisksTest, FilesOfCopiedDisksAreTwoAndTheDiskOfAnEndedContainerIsFree) {
  auto& first = cgroup("first");
  auto& second = cgroup("second");
  const std::vector<std::function<void()>> steps = {[&] { enter(0); }, [&] { caller_.call(1000); }};
  auto one = std::make_unique<HeldProcess>(first, steps);
  HeldProcess two(second, {[&] { enter(1); }, [&] { caller_.call(700); }, [&] { caller_.call(300); }});
  one->step(0);
  two.step(0);
  ask(first, {work_in(target())});
  ASSERT_TRUE(attached(first, 1)) << problems();
  ask(second, {work_in(target())});
  ASSERT_TRUE(attached(second, 1)) << problems();
  EXPECT_EQ(functions().attached(), 2U);
  one->step(1);
  two.step(1);
  collect();
  EXPECT_EQ(calls(first), 1000);
  EXPECT_EQ(calls(second), 700);
  EXPECT_FALSE(disk(0).is_free()) << "the test's own: it is mounted";
  one.reset();  // the cgroup stays
  EXPECT_TRUE(eventually([&] { return disk(0).is_free(); })) << "the probe keeps the ended container's disk";
  EXPECT_TRUE(disk(0).clear());
  EXPECT_TRUE(eventually([&] { return disk(0).is_cleared(); }));
  EXPECT_FALSE(disk(1).is_free());
  two.step(2);
  collect();
  EXPECT_EQ(calls(second), 700 + 300);
  EXPECT_EQ(calls(first), 1000);
  EXPECT_EQ(losses("function"), 0U);
}

// Containers of one image: each has an overlay of its own on the same layer.
class FunctionOverlayTest : public FunctionFilesTest {
 protected:
  void SetUp() override {
    FunctionFilesTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    base_ = directory("base");
    mount_tmpfs(base_);
    for (const char* name : {"/layer", "/root0", "/root1"}) std::filesystem::create_directories(base_ + name);
    for (const char* name : {"/upper0", "/upper1", "/work0", "/work1"})
      std::filesystem::create_directories(base_ + name);
    std::ofstream(base_ + "/layer/app", std::ios::binary) << program();
    if (!can_mount(0)) GTEST_SKIP() << "no overlay with an index here: " << std::strerror(errno);
  }
  // `index=on` makes the kernel refuse an upper directory that is in use.
  bool mount_overlay(int number, const std::string& point) const {
    const std::string n = std::to_string(number);
    const std::string options =
        "index=on,lowerdir=" + base_ + "/layer,upperdir=" + base_ + "/upper" + n + ",workdir=" + base_ + "/work" + n;
    return mount("sonde-test", point.c_str(), "overlay", 0, options.c_str()) == 0;
  }
  bool can_mount(int number) const {
    const std::string point = root(number);
    return mount_overlay(number, point) && umount(point.c_str()) == 0;
  }
  std::string root(int number) const { return base_ + "/root" + std::to_string(number); }
  std::string target() const { return base_ + "/root0/app"; }
  // Both see their own at the same path.
  void enter(int number) {
    own_mounts();
    if (!mount_overlay(number, root(0))) _exit(6);
    caller_.map(target());
  }

  Caller caller_;

 private:
  std::string base_;
};

TEST_F(FunctionOverlayTest, TheFileOfALayerIsOneInAllContainersOfTheImage) {
  auto& first = cgroup("first");
  auto& second = cgroup("second");
  HeldProcess one(first, {[&] { enter(0); }, [&] { caller_.call(50); }});
  HeldProcess two(second, {[&] { enter(1); }, [&] { caller_.call(70); }});
  one.step(0);
  two.step(0);
  ask(first, {work_in(target())});
  ask(second, {work_in(target())});
  ASSERT_TRUE(attached(first, 1) && attached(second, 1)) << problems();
  EXPECT_EQ(functions().attached(), 1U) << "to the kernel it is one file: probed once";
  one.step(1);
  two.step(1);
  collect();
  EXPECT_EQ(calls(first), 50);
  EXPECT_EQ(calls(second), 70);
}

TEST_F(FunctionOverlayTest, TheMountOfAnEndedContainerIsLetGoWhileTheOthersAreMeasured) {
  auto& first = cgroup("first");
  auto& second = cgroup("second");
  SharedNumber end, made;
  auto one = std::make_unique<HeldProcess>(first, std::vector<std::function<void()>>{[&] { enter(0); }});
  HeldProcess two(second, {[&] { enter(1); },
                           [&] {
                             int n = 0;
                             while (!end.get()) caller_.call(100), n += 100;
                             made.set(n);
                           }});
  one->step(0);
  two.step(0);
  ask(first, {work_in(target())});
  ASSERT_TRUE(attached(first, 1)) << problems();
  ask(second, {work_in(target())});
  ASSERT_TRUE(attached(second, 1)) << problems();
  ASSERT_EQ(functions().attached(), 1U);
  EXPECT_FALSE(can_mount(0)) << "in use";
  two.begin(1);
  one.reset();  // the cgroup stays
  EXPECT_TRUE(eventually([&] { return can_mount(0); })) << "the probe keeps the ended container's overlay";
  EXPECT_EQ(functions().attached(), 1U) << problems();
  end.set(1);
  two.finish();
  collect();
  const int64_t cpus = sysconf(_SC_NPROCESSORS_ONLN);
  EXPECT_NEAR(static_cast<double>(calls(second)), made.get(), static_cast<double>(cpus));
  const auto durations = histogram(second, "sonde.function.duration", {"work"}).count + losses("function");
  EXPECT_NEAR(static_cast<double>(durations), made.get(), static_cast<double>(2 * cpus));
  EXPECT_EQ(calls(first), 0);
}

TEST_F(FunctionOverlayTest, WhoWasTheLastToShowTheFileTakesTheProbeAlongAndItsSuccessorIsMeasured) {
  auto& box = cgroup("box");
  auto process = [&] {
    return std::make_unique<HeldProcess>(
        box, std::vector<std::function<void()>>{[&] { enter(0); }, [&] { caller_.call(30); }});
  };
  auto one = process();
  one->step(0);
  ask(box, {work_in(target())});
  ASSERT_TRUE(attached(box, 1)) << problems();
  one->step(1);
  one.reset();
  EXPECT_TRUE(eventually([&] { return functions().attached() == 0; })) << problems();
  EXPECT_EQ(report("work").refusal, Refusal::FileNotFound);
  EXPECT_TRUE(can_mount(0));
  auto next = process();
  next->step(0);
  ASSERT_TRUE(attached(box, 1)) << problems();
  next->step(1);
  next.reset();
  collect();
  EXPECT_EQ(calls(box), 60);
}

}  // namespace
}  // namespace sonde::test
