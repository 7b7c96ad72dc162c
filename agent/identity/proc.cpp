// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/proc.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "agent/base/file.h"
#include "agent/base/text.h"

namespace sonde {
namespace {

constexpr uint64_t kFirstPidNamespace = 0xEFFFFFFC;  // PROC_PID_INIT_INO, include/linux/proc_ns.h
constexpr int64_t kKernelThread = 0x00200000;        // PF_KTHREAD, include/linux/sched.h

Result<std::vector<uint32_t>> numbered(const std::string& path) {
  struct Close {
    void operator()(DIR* directory) const { ::closedir(directory); }
  };
  const std::unique_ptr<DIR, Close> directory(::opendir(path.c_str()));
  if (!directory) return Error::system("cannot read " + path, errno);
  std::vector<uint32_t> numbers;
  while (const dirent* entry = ::readdir(directory.get())) {
    const Result<int64_t> number = parse_integer(entry->d_name, 1, INT32_MAX);
    if (number) numbers.push_back(static_cast<uint32_t>(*number));
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Error no_process(const std::string& root, uint32_t pid) {
  return Error("there is no process " + std::to_string(pid) + " in " + root);
}

}  // namespace

// "1234 (a name) S 1 ..."; the name may hold anything, brackets and line ends too: the last ')' ends it.
Result<Proc::Process> parse_proc_stat(std::string_view text) {
  const Error bad("not the content of /proc/<pid>/stat");
  const std::size_t open = text.find('(');
  const std::size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open) return bad;
  const std::vector<std::string_view> fields = split(trim(text.substr(close + 1)), ' ');
  if (fields.size() < 20) return bad;
  const Result<int64_t> pid = parse_integer(trim(text.substr(0, open)), 1, INT32_MAX);
  const Result<int64_t> parent = parse_integer(fields[1], 0, INT32_MAX);
  const Result<int64_t> flags = parse_integer(fields[6], 0, UINT32_MAX);
  const Result<int64_t> threads = parse_integer(fields[17], 0, INT32_MAX);
  const Result<int64_t> start = parse_integer(fields[19], 0, INT64_MAX);
  if (!pid || !parent || !flags || !threads || !start) return bad;
  Proc::Process process;
  process.pid = static_cast<uint32_t>(*pid);
  process.parent = static_cast<uint32_t>(*parent);
  process.comm = std::string(text.substr(open + 1, close - open - 1));
  process.start_ticks = static_cast<uint64_t>(*start);
  process.threads = static_cast<uint32_t>(*threads);
  process.kernel_thread = (*flags & kKernelThread) != 0;
  return process;
}

Result<std::string> parse_proc_cgroup(std::string_view text) {
  constexpr std::string_view kV2 = "0::";
  constexpr std::string_view kDeleted = " (deleted)";
  for (std::string_view line : split(text, '\n')) {
    if (!line.starts_with(kV2)) continue;
    line.remove_prefix(kV2.size());
    if (line.ends_with(kDeleted)) line.remove_suffix(kDeleted.size());
    if (line.starts_with('/')) return std::string(line);
  }
  return Error("the process is in no cgroup v2 hierarchy (no line 0::/... in its cgroup file)");
}

Result<Proc::Process> Proc::process(uint32_t pid) const {
  const Result<std::string> text = read_small_file(root_ + "/" + std::to_string(pid) + "/stat");
  if (!text) return no_process(root_, pid);
  return parse_proc_stat(*text);
}

Result<std::vector<Proc::Process>> Proc::processes() const {
  const Result<std::vector<uint32_t>> pids = numbered(root_);
  if (!pids) return pids.error();
  std::vector<Process> out;
  out.reserve(pids->size());
  for (const uint32_t pid : *pids) {
    Result<Process> found = process(pid);
    if (found) out.push_back(std::move(*found));
  }
  return out;
}

Result<std::vector<uint32_t>> Proc::threads(uint32_t pid) const {
  Result<std::vector<uint32_t>> found = numbered(root_ + "/" + std::to_string(pid) + "/task");
  if (!found) return no_process(root_, pid);
  return found;
}

Result<std::string> Proc::cgroup(uint32_t pid) const {
  const Result<std::string> text = read_small_file(root_ + "/" + std::to_string(pid) + "/cgroup");
  if (!text) return no_process(root_, pid);
  return parse_proc_cgroup(*text);
}

bool Proc::has_machine_pids() const {
  struct stat own {};
  if (root_ != "/proc") return true;  // the host's, mounted for us
  return ::stat("/proc/self/ns/pid", &own) == 0 && own.st_ino == kFirstPidNamespace;
}

}  // namespace sonde
