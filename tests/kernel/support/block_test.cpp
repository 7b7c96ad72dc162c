// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/support/block_test.h"

#include <linux/aio_abi.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/kernel/support/held_process.h"

namespace sonde::test {
namespace {

constexpr const char* kConfigFs = "/sys/kernel/config";

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool write_line(const std::string& path, const std::string& value) {
  const Fd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file && write(file.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

std::string directory_of_files() {
  const char* directory = std::getenv("TMPDIR");
  return directory ? directory : "/tmp";
}

}  // namespace

char* aligned_buffer(std::size_t size) {
  void* memory = nullptr;
  MUST(posix_memalign(&memory, kDiskBlock, size) == 0);
  std::fill_n(static_cast<char*>(memory), size, 'b');
  return static_cast<char*>(memory);
}

void read_direct(const std::string& path, int count, std::size_t size, std::size_t step) {
  char* buffer = aligned_buffer(size);
  const int file = open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  MUST(file >= 0);
  for (int i = 0; i < count; ++i) {
    MUST(pread(file, buffer, size, static_cast<off_t>(step) * i) == static_cast<ssize_t>(size));
  }
  close(file);
}

void write_direct(const std::string& path, int count, std::size_t size, std::size_t step) {
  char* buffer = aligned_buffer(size);
  const int file = open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
  MUST(file >= 0);
  for (int i = 0; i < count; ++i) {
    MUST(pwrite(file, buffer, size, static_cast<off_t>(step) * i) == static_cast<ssize_t>(size));
  }
  close(file);
}

void submit_direct(const std::string& path, bool write, int count, std::size_t size, std::size_t step) {
  char* buffer = aligned_buffer(size);
  const int file = open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
  aio_context_t context = 0;
  MUST(file >= 0 && syscall(SYS_io_setup, count, &context) == 0);
  std::vector<iocb> blocks(static_cast<std::size_t>(count));
  std::vector<iocb*> pointers;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    blocks[i].aio_fildes = static_cast<uint32_t>(file);
    blocks[i].aio_lio_opcode = write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
    blocks[i].aio_buf = reinterpret_cast<uint64_t>(buffer);
    blocks[i].aio_nbytes = size;
    blocks[i].aio_offset = static_cast<int64_t>(i * step);
    pointers.push_back(&blocks[i]);
  }
  std::vector<io_event> events(blocks.size());
  MUST(syscall(SYS_io_submit, context, count, pointers.data()) == count);
  MUST(syscall(SYS_io_getevents, context, count, count, events.data(), nullptr) == count);
  for (const io_event& event : events) MUST(event.res == static_cast<int64_t>(size));
  syscall(SYS_io_destroy, context);
  close(file);
}

DiskFile::DiskFile(std::size_t size) : path_(directory_of_files() + "/sonde-block-XXXXXX") {
  const Fd file(mkstemp(path_.data()));
  const std::vector<char> block(std::size_t{1} << 16, 'f');
  for (std::size_t done = 0; file && done < size; done += block.size()) {
    if (write(file.get(), block.data(), block.size()) < 0) ADD_FAILURE() << "cannot write to " << path_;
  }
  EXPECT_EQ(fsync(file.get()), 0) << path_;
}

DiskFile::~DiskFile() { unlink(path_.c_str()); }

NewFile::NewFile() {
  static int number = 0;
  path_ = directory_of_files() + "/sonde-block-" + std::to_string(getpid()) + "-" + std::to_string(number++);
}

std::string disk_of_files() {
  struct stat status {};
  if (stat(directory_of_files().c_str(), &status)) return {};
  const auto number = std::to_string(major(status.st_dev)) + ":" + std::to_string(minor(status.st_dev));
  std::error_code error;
  const auto directory = std::filesystem::canonical("/sys/dev/block/" + number, error);
  if (error) return {};
  const bool partition = std::filesystem::exists(directory / "partition");
  return (partition ? directory.parent_path() : directory).filename().string();
}

DiskStat DiskStat::operator-(const DiskStat& before) const {
  return {reads - before.reads,
          read_sectors - before.read_sectors,
          writes - before.writes,
          write_sectors - before.write_sectors,
          merges - before.merges,
          discards - before.discards,
          discard_sectors - before.discard_sectors,
          flushes - before.flushes};
}

NullDisk::NullDisk(std::map<std::string, std::string> attributes) {
  const std::string base = std::string(kConfigFs) + "/nullb";
  if (!std::filesystem::exists(base)) mount("none", kConfigFs, "configfs", 0, nullptr);
  static int number = 0;
  directory_ = base + "/sonde" + std::to_string(getpid()) + "x" + std::to_string(number++);
  if (!std::filesystem::exists(base) || mkdir(directory_.c_str(), 0755)) {
    directory_.clear();
    return;
  }
  attributes.insert(
      {{"size", "256"}, {"submit_queues", "1"}, {"memory_backed", "1"}, {"index", std::to_string(40 + number)}});
  for (const auto& [name, value] : attributes) EXPECT_TRUE(configure(name, value)) << name << " " << errno;
  EXPECT_TRUE(configure("power", "1")) << errno;
  // Named after its directory since 6.2, by its index before.
  for (const auto& name : {std::filesystem::path(directory_).filename().string(), "nullb" + attributes["index"]}) {
    if (std::filesystem::exists("/sys/block/" + name)) name_ = name;
  }
  EXPECT_FALSE(name_.empty());
}

NullDisk::~NullDisk() {
  if (directory_.empty()) return;
  configure("power", "0");
  EXPECT_EQ(rmdir(directory_.c_str()), 0) << errno;
}

std::string NullDisk::attribute(const std::string& name) const {
  return first_line("/sys/block/" + name_ + "/" + name);
}

bool NullDisk::set(const std::string& name, const std::string& value) const {
  return write_line("/sys/block/" + name_ + "/" + name, value);
}

bool NullDisk::configure(const std::string& name, const std::string& value) const {
  return write_line(directory_ + "/" + name, value);
}

DiskStat NullDisk::stat() const {
  std::ifstream file("/sys/block/" + name_ + "/stat");
  std::array<uint64_t, 17> values{};
  for (uint64_t& value : values) file >> value;
  return {values[0],  values[2],  values[4], values[6], values[1] + values[5] + values[12],
          values[11], values[13], values[15]};
}

uint64_t largest_request(const std::string& disk) {
  return std::stoull("0" + first_line("/sys/block/" + disk + "/queue/max_sectors_kb")) << 10;
}

void BlockTest::TearDown() {
  if (HasFailure()) {
    std::string facts;
    for (const ProgramRuns& program : engine().program_stats()) {
      if (program.module == "block") facts += " " + program.program + " " + std::to_string(program.missed);
    }
    for (int reason = 0; reason < SONDE_LOSSES; ++reason) facts += " " + std::to_string(losses("block", reason));
    ADD_FAILURE() << "missed runs and losses:" << facts;
  }
  KernelTest::TearDown();
}

EngineOptions BlockTest::options() const {
  EngineOptions options;
  for (const ModuleEntry& entry : modules()) {
    if (entry.module->info().name != "block") options.disabled_modules.emplace(entry.module->info().name);
  }
  return options;
}

}  // namespace sonde::test
