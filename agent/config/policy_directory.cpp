// SPDX-License-Identifier: Apache-2.0
#include "agent/config/policy_directory.h"

#include <dirent.h>
#include <spdlog/fmt/fmt.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/file.h"
#include "agent/base/file_stamp.h"
#include "agent/config/yaml_tree.h"
#include "agent/policy/resolve.h"

namespace sonde {

namespace {

// Two writes within one tick of the file system's clock leave equal stamps.
constexpr uint64_t kSettlesNs = 2 * kSecond;

bool is_policy_name(std::string_view name) {
  return !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml"));
}

}  // namespace

struct PolicyDirectory::File {
  void load(const std::string& path, const std::string& content, std::span<const ModuleEntry> modules);

  FileStamp stamp;
  std::string text;
  std::vector<std::string> problems;  // of the newest version
  std::vector<std::string> notes;
  PolicyFile good;                 // the newest version without problems
  std::vector<std::string> taken;  // names of `good` that an earlier file has
};

PolicyDirectory::~PolicyDirectory() = default;

PolicyDirectory::PolicyDirectory(std::string directory, std::span<const ModuleEntry> modules)
    : directory_(std::move(directory)), modules_(modules) {}

Result<std::unique_ptr<PolicyDirectory>> PolicyDirectory::open(std::string directory,
                                                               std::span<const ModuleEntry> modules) {
  std::unique_ptr<PolicyDirectory> opened(new PolicyDirectory(std::move(directory), modules));
  auto names = opened->list();
  if (!names) return names.error();
  opened->watch_ = Fd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  opened->refresh();
  return opened;
}

Result<std::vector<std::string>> PolicyDirectory::list() const {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory_.c_str()), ::closedir);
  if (!dir) return Error::system("cannot read the policies directory " + directory_, errno);
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(dir.get())) {
    if (!is_policy_name(entry->d_name)) continue;
    names.emplace_back(entry->d_name);
    if (names.size() > kMostPolicyFiles) {
      return Error(fmt::format("the policies directory {} has more than {} files", directory_, kMostPolicyFiles));
    }
  }
  std::ranges::sort(names);
  return names;
}

void PolicyDirectory::watch() {
  if (!watch_) return;
  char events[4096];
  while (::read(watch_.get(), events, sizeof(events)) > 0) {
  }
  constexpr uint32_t kChanges = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB;
  // Again each time: a directory that was removed and recreated is another one. Where it fails, asking once a second
  // finds changes too.
  static_cast<void>(::inotify_add_watch(watch_.get(), directory_.c_str(), kChanges));
}

bool PolicyDirectory::refresh() {
  watch();
  auto names = list();
  problem_ = names ? "" : names.error().message();
  if (!names) return false;  // what is in force stays
  bool changed =
      std::erase_if(files_, [&](const auto& item) { return !std::ranges::binary_search(*names, item.first); }) > 0;
  for (const std::string& name : *names) {
    auto& file = files_[name];
    if (!file) file = std::make_unique<File>();
    changed |= look_at(directory_ + "/" + name, *file);
  }
  first_ = false;
  return changed && rebuild();
}

bool PolicyDirectory::look_at(const std::string& path, File& file) {
  FileStamp stamp = stamp_of_file(path);
  uint64_t now = realtime_ns();
  bool settled = stamp.modified_ns + kSettlesNs < now;
  if (stamp == file.stamp && (settled || stamp.failed)) return false;
  bool being_written = stamp.modified_ns <= now && now < stamp.modified_ns + kWritingNs;
  if (being_written && !first_) return false;
  auto text = stamp.failed ? Result<std::string>(Error::system("cannot open " + path, stamp.failed))
                           : read_small_file(path, kYamlMaxBytes);
  bool same = text && stamp.inode == file.stamp.inode && *text == file.text;
  file.stamp = stamp;
  if (same) return false;
  if (text) {
    file.load(path, *text, modules_);
    file.text = std::move(*text);
  } else {
    file.text.clear();
    file.problems = {fmt::format("{}:1:1: {}", path, text.error().message())};
  }
  return true;
}

void PolicyDirectory::File::load(const std::string& path, const std::string& content,
                                 std::span<const ModuleEntry> modules) {
  PolicyFile fresh = parse_policies(content, path, stamp.modified_ns, modules);
  problems = fresh.problems;
  notes = fresh.notes;
  if (!problems.empty()) return;
  // A policy whose spec is as before goes on: activeForSeconds runs from its last change.
  for (std::size_t i = 0; i < fresh.policies.size(); ++i) {
    Policy& policy = fresh.policies[i];
    for (std::size_t j = 0; j < good.policies.size(); ++j) {
      const Policy& before = good.policies[j];
      if (display_name(before) != display_name(policy)) continue;
      bool equal = fresh.fingerprints[i] == good.fingerprints[j];
      policy.generation = before.generation + (equal ? 0 : 1);
      if (equal) policy.created_ns = before.created_ns;
    }
  }
  good = std::move(fresh);
}

bool PolicyDirectory::rebuild() {
  policies_.clear();
  std::vector<uint64_t> now_in_force;
  std::map<std::string, std::string> taken;
  for (auto& [name, file] : files_) {
    file->taken.clear();
    for (std::size_t i = 0; i < file->good.policies.size(); ++i) {
      const Policy& policy = file->good.policies[i];
      auto [first, fresh] = taken.emplace(display_name(policy), policy.source);
      if (!fresh) {
        file->taken.push_back(fmt::format("{}:1: the policy '{}' is already in {}: names must be unique", policy.source,
                                          first->first, first->second));
        continue;
      }
      policies_.push_back(policy);
      now_in_force.push_back(std::hash<std::string>()(first->first));
      now_in_force.push_back(file->good.fingerprints[i]);
      now_in_force.push_back(policy.created_ns);
    }
  }
  return std::exchange(in_force_, now_in_force) != now_in_force;
}

std::vector<PolicyFileStatus> PolicyDirectory::status() const {
  std::vector<PolicyFileStatus> result;
  for (const auto& [name, file] : files_) {
    PolicyFileStatus status;
    status.path = directory_ + "/" + name;
    status.policies = file->good.policies.size() - file->taken.size();
    status.problems = file->problems;
    status.problems.insert(status.problems.end(), file->taken.begin(), file->taken.end());
    status.notes = file->notes;
    result.push_back(std::move(status));
  }
  return result;
}

std::vector<std::string> PolicyDirectory::problems() const {
  std::vector<std::string> result;
  if (!problem_.empty()) result.push_back(problem_);
  for (const PolicyFileStatus& file : status()) {
    result.insert(result.end(), file.problems.begin(), file.problems.end());
  }
  return result;
}

}  // namespace sonde
