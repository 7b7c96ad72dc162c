// SPDX-License-Identifier: Apache-2.0
#include "agent/symbols/locate.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <set>
#include <sstream>
#include <string_view>

#include "agent/base/file.h"
#include "agent/symbols/confined.h"

namespace sonde {
namespace {

constexpr std::size_t kMostFiles = 256;      // that one call hands over
constexpr std::size_t kMapsBytes = 4 << 20;  // of /proc/<pid>/maps

using FileId = std::pair<uint64_t, uint64_t>;

// What the child reports about a file along with its descriptor: this may block, just like opening.
struct Told {
  uint32_t path, pid;
  uint64_t device, inode, size, modified_ns, changed_ns;
  KernelInode kernel;
};
static_assert(sizeof(Told) <= kMostTold);

uint64_t nanoseconds(const timespec& time) {
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_nsec);
}

KernelInode inode_of_file(int file, const InodeOf& inode_of) {
  if (!inode_of) return {};
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* mapping = mmap(nullptr, page, PROT_READ, MAP_PRIVATE, file, 0);  // never read: what is there is a stranger's
  if (mapping == MAP_FAILED) return {};
  const KernelInode inode = inode_of(mapping);
  munmap(mapping, page);
  return inode;
}

class Opener {
 public:
  Opener(const std::string& proc_root, std::span<const std::string> paths, const InodeOf& inode_of, const Give& give)
      : proc_root_(proc_root), paths_(paths), inode_of_(inode_of), give_(give) {}

  void look_at(uint32_t pid) {
    pid_ = pid;
    const std::string process = proc_root_ + "/" + std::to_string(pid);
    std::vector<bool> done(paths_.size());
    look_at_program(process, done);
    look_at_maps(process, done);
    look_below_root(process, done);
  }

 private:
  void look_at_program(const std::string& process, std::vector<bool>& done) {
    std::array<char, PATH_MAX> target{};
    const std::string exe = process + "/exe";
    const ssize_t length = readlink(exe.c_str(), target.data(), target.size());
    if (length <= 0) return;
    mark(std::string_view(target.data(), static_cast<std::size_t>(length)), exe, true, done);
  }

  // Lines as "7f00-7f10 r-xp 00000000 08:01 1234    /usr/lib/libc.so.6".
  void look_at_maps(const std::string& process, std::vector<bool>& done) {
    const auto maps = read_small_file(process + "/maps", kMapsBytes);
    if (!maps) return;
    std::istringstream lines(*maps);
    for (std::string line; std::getline(lines, line);) {
      const auto slash = line.find('/');
      const auto space = line.find(' ');
      if (slash == std::string::npos || space == std::string::npos) continue;
      const bool code = line.size() > space + 3 && line[space + 3] == 'x';
      mark(std::string_view(line).substr(slash), process + "/map_files/" + line.substr(0, space), code, done);
    }
  }

  // Symbolic links, or not yet mapped. Never follows a link out of the process's root, nor one of /proc.
  void look_below_root(const std::string& process, std::vector<bool>& done) {
    const Fd root(open((process + "/root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!root) return;
    for (std::size_t i = 0; i < paths_.size(); ++i) {
      if (done[i] || paths_[i].empty()) continue;
      open_how how{};
      how.flags = O_PATH | O_CLOEXEC;
      how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
      const Fd found(static_cast<int>(syscall(SYS_openat2, root.get(), paths_[i].c_str(), &how, sizeof(how))));
      if (found) hand_over(i, "/proc/self/fd/" + std::to_string(found.get()));
    }
  }

  void mark(std::string_view seen, const std::string& link, bool code, std::vector<bool>& done) {
    for (std::size_t i = 0; i < paths_.size(); ++i) {
      if (paths_[i].empty()) {
        if (code) hand_over(i, link);
      } else if (!done[i] && seen == paths_[i]) {
        done[i] = hand_over(i, link);
      }
    }
  }

  // Opened first without effect (a FIFO would block, a device would act), looked at, and only then for reading.
  bool hand_over(std::size_t path, const std::string& link) {
    const Fd found(open(link.c_str(), O_PATH | O_CLOEXEC));
    struct stat status {};
    if (!found || fstat(found.get(), &status) != 0 || !S_ISREG(status.st_mode)) return false;
    if (seen_.contains({path, {status.st_dev, status.st_ino}})) return true;
    const Fd file(open(("/proc/self/fd/" + std::to_string(found.get())).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!file || seen_.size() >= kMostFiles) return false;
    seen_.insert({path, {status.st_dev, status.st_ino}});
    const Told told{static_cast<uint32_t>(path),
                    pid_,
                    status.st_dev,
                    status.st_ino,
                    static_cast<uint64_t>(status.st_size),
                    nanoseconds(status.st_mtim),
                    nanoseconds(status.st_ctim),
                    inode_of_file(file.get(), inode_of_)};
    give_({reinterpret_cast<const char*>(&told), sizeof(told)}, file.get());
    return true;
  }

  const std::string& proc_root_;
  std::span<const std::string> paths_;
  const InodeOf& inode_of_;
  const Give& give_;
  uint32_t pid_ = 0;
  std::set<std::pair<std::size_t, FileId>> seen_;
};

}  // namespace

Result<void> locate_files(const std::string& proc_root, std::span<const uint32_t> pids,
                          std::span<const std::string> paths, std::chrono::milliseconds deadline,
                          const InodeOf& inode_of, std::vector<LocatedFile>& found) {
  std::vector<GivenFile> given;
  auto ran = run_opener(deadline, kMostFiles, given, [&](const Give& give) {
    Opener opener(proc_root, paths, inode_of, give);
    for (const uint32_t pid : pids) opener.look_at(pid);
  });
  for (GivenFile& one : given) {
    Told told;
    if (one.told.size() != sizeof(told)) continue;
    std::memcpy(&told, one.told.data(), sizeof(told));
    if (told.path >= paths.size()) continue;
    found.push_back({told.path, std::move(one.file), told.pid, told.device, told.inode, told.size, told.modified_ns,
                     told.changed_ns, told.kernel});
  }
  return ran;
}

bool may_not_look(const std::string& proc_root, std::span<const uint32_t> pids) {
  std::size_t refused = 0;
  for (const uint32_t pid : pids) {
    char target[8];
    const std::string program = proc_root + "/" + std::to_string(pid) + "/exe";
    if (readlink(program.c_str(), target, sizeof(target)) >= 0) return false;
    refused += errno == EACCES || errno == EPERM;
  }
  return refused > 0;
}

}  // namespace sonde
