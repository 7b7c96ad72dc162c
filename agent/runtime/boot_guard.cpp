// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/boot_guard.h"

#include <spdlog/fmt/fmt.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include <nlohmann/json.hpp>

#include "agent/base/clock.h"
#include "agent/base/file.h"
#include "agent/base/json.h"
#include "agent/base/text.h"

namespace sonde {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

BootGuard::BootGuard(BootGuardOptions options) : options_(std::move(options)) {
  if (options_.agent.empty()) options_.agent = SONDE_VERSION;
  utsname name{};
  uname(&name);
  if (options_.kernel.empty()) options_.kernel = std::string(name.release) + " " + name.version;
  if (auto id = read_small_file(options_.boot_id_file)) boot_id_ = trim(*id);
}

std::string BootGuard::path() const { return options_.directory + "/boot.json"; }

// An unreadable file counts as missing: another version's file has other fields.
BootGuard::Note BootGuard::read() const {
  Note note;
  const auto text = read_small_file(path());
  const Json json = text ? parse_json<Json>(*text) : Json();
  if (!json.is_object()) return note;
  note.boot_id = text_in(json, "bootId");
  note.agent = text_in(json, "agent");
  note.kernel = text_in(json, "kernel");
  const auto settled = json.find("settled");
  if (settled != json.end() && settled->is_boolean()) note.settled = settled->get<bool>();
  note.reboots = static_cast<uint32_t>(number_in(json, "reboots"));
  return note;
}

// What follows from the last note for this boot.
BootGuard::Note BootGuard::now() const {
  const Note before = read();
  Note note{boot_id_, options_.agent, options_.kernel, false, 0};
  if (before.agent != note.agent || before.kernel != note.kernel) return note;  // another one gets another chance
  if (before.boot_id == boot_id_) {
    note.reboots = before.reboots;
  } else if (!before.settled) {
    note.reboots = before.reboots + 1;
  }
  return note;
}

std::optional<Obstacle> BootGuard::obstacle() const {
  if (options_.directory.empty() || boot_id_.empty()) return {};
  const Note note = now();
  if (note.reboots < kReboots) return {};
  return Obstacle{
      "NodeRebootedAfterAttach",
      fmt::format("the node went down {} times in a row within five minutes after the agent attached. If the agent "
                  "was not the cause, delete {}; a new version of agent or kernel is tried automatically",
                  note.reboots, path())};
}

Result<void> BootGuard::attaching() {
  if (options_.directory.empty() || boot_id_.empty()) return {};
  mkdir(options_.directory.c_str(), 0700);
  if (auto written = write(now()); !written) return written;
  attached_ns_ = boottime_ns();
  return {};
}

void BootGuard::tick(uint64_t now_ns) {
  if (attached_ns_ && now_ns >= attached_ns_ + kSettlesNs) settle();
}

void BootGuard::detached() {
  if (attached_ns_) settle();
}

void BootGuard::settle() {
  attached_ns_ = 0;
  if (auto written = write({boot_id_, options_.agent, options_.kernel, true, 0}); !written)
    spdlog::warn("{}", written.error().message());
}

Result<void> BootGuard::write(const Note& note) const {
  const Json json = {{"bootId", note.boot_id},
                     {"agent", note.agent},
                     {"kernel", note.kernel},
                     {"settled", note.settled},
                     {"reboots", note.reboots}};
  if (auto written = write_file_atomically(path(), json_text(json) + "\n", 0600); !written) return written;
  return sync_directory(options_.directory);
}

}  // namespace sonde
