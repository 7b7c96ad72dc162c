// SPDX-License-Identifier: Apache-2.0
// Fixture of the io probe's kernel tests: each test runs by both attachments, where the kernel has them.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "bpf/modules/io/io.h"
#include "tests/kernel/support/kernel_test.h"

namespace sonde::test {

inline constexpr uint8_t kIoStandard = IO_BYTES | IO_OPERATIONS | IO_ERRORS;
inline constexpr uint8_t kIoDetailed = kIoStandard | IO_DETAIL | IO_STREAM | IO_OPEN_COUNT | IO_URING;

// What failed inside a child ends it with a code of its own: the exit status says which line.
#define MUST(condition) \
  do {                  \
    if (!(condition)) _exit(static_cast<int>(100 + __LINE__ % 100)); \
  } while (0)

// No memory is mapped there; the compiler is not to know.
inline char* bad_address() {
  static volatile uintptr_t address = 16;
  return reinterpret_cast<char*>(address);
}

// An unlinked regular file with `size` bytes.
inline int scratch_file(std::size_t size, const char* directory = "/dev/shm") {
  std::string name = std::string(directory) + "/sonde-io-XXXXXX";
  const int fd = mkstemp(name.data());
  if (fd >= 0) unlink(name.c_str());
  if (fd >= 0 && size && ftruncate(fd, static_cast<off_t>(size))) return -1;
  return fd;
}

class IoTest : public KernelTest, public ::testing::WithParamInterface<const char*> {
 protected:
  EngineOptions options() const override {
    EngineOptions wanted;
    wanted.alternative = GetParam();
    return wanted;
  }

  void SetUp() override {
    KernelTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    report_ = engine().modules()[module_id("io")];
    if (report_.alternative == GetParam()) return;
    std::string reasons;
    for (const auto& reason : report_.reasons) reasons += reason + "; ";
    ASSERT_STRNE(GetParam(), "tracepoints") << reasons;
    GTEST_SKIP() << reasons;
  }

  // A cgroup of its own with these flags.
  Cgroup& selected(const std::string& name, uint8_t flags, uint16_t sample = 1) {
    Cgroup& box = cgroup(name);
    select(box, {{"io", flags}}, sample);
    return box;
  }

  int64_t bytes(const Cgroup& box, const char* direction) { return total(box, "sonde.file.io", {direction}); }
  uint64_t calls(const Cgroup& box, const char* operation) {
    return histogram(box, "sonde.file.operation.duration", {operation}).count;
  }
  int64_t errors(const Cgroup& box, const char* operation, const char* error) {
    return total(box, "sonde.file.operation.errors", {operation, error});
  }
  int64_t stream_bytes(const Cgroup& box, const char* target, const char* direction) {
    return total(box, "sonde.stream.io", {target, direction});
  }
  Totals::Histogram waits(const Cgroup& box, const char* target, const char* direction) {
    return histogram(box, "sonde.stream.wait.duration", {target, direction});
  }
  // All that was counted on files: bytes, calls, errors.
  uint64_t on_files(const Cgroup& box) {
    uint64_t sum = 0;
    for (const auto& [name, value] : totals_.values[slot_of(box)])
      if (name.starts_with("sonde.file.io") || name.starts_with("sonde.file.operation")) sum += static_cast<uint64_t>(value);
    for (const auto& [name, value] : totals_.histograms[slot_of(box)])
      if (name.starts_with("sonde.file.operation")) sum += value.count;
    return sum;
  }
  bool is_attached(const std::string& program) {
    for (const auto& one : engine().modules()[module_id("io")].programs)
      if (one.name == program) return one.state == ProgramState::Attached;
    return false;
  }

  ModuleReport report_;
};

inline std::string io_test_name(const ::testing::TestParamInfo<const char*>& info) { return info.param; }
#define IO_TEST_SUITE(suite) \
  INSTANTIATE_TEST_SUITE_P(Io, suite, ::testing::Values("tracepoints", "fentry"), io_test_name)

}  // namespace sonde::test
