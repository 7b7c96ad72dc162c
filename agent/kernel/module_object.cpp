// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/module_object.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "agent/kernel/libbpf_log.h"
#include "agent/kernel/module_types.h"
#include "agent/module/read_only.h"
#include "agent/module/threads.h"

namespace sonde {
namespace {

// The core's maps stand in for the declarations of the same name.
Result<void> share_maps(bpf_object* object, const Core& core) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    const std::string name = bpf_map__name(map);
    if (!name.starts_with("sonde_")) continue;
    const int fd = core.map_fd(name);
    if (fd < 0) return Error("map " + name + " does not exist in the core object");
    if (const int error = bpf_map__reuse_fd(map, fd)) return Error::system("cannot share map " + name, -error);
  }
  return {};
}

// A program that ends before it has a return value: every verifier refuses it. Written over its first instruction, so that
// relocations further on still find theirs.
void break_program(bpf_object* object, const std::string& name) {
  const bpf_program* program = bpf_object__find_program_by_name(object, name.c_str());
  if (!program || bpf_program__insn_cnt(program) == 0) return;
  auto* first = const_cast<bpf_insn*>(bpf_program__insns(program));
  *first = {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0};
}

void make_idle(ProgramReport& report) {
  report.state = ProgramState::Idle;
  report.reason.clear();
  report.gap.clear();
}

// Iterators and syscall programs: by Module::begin, flush or refresh.
bool is_run_by_agent(const bpf_program* program) {
  return bpf_program__expected_attach_type(program) == BPF_TRACE_ITER ||
         bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL;
}

}  // namespace

std::string_view word_of(ModuleHealth health) {
  switch (health) {
    case ModuleHealth::Ok: return "ok";
    case ModuleHealth::Degraded: return "degraded";
    case ModuleHealth::Failed: return "failed";
    case ModuleHealth::Disabled: return "disabled";
  }
  return "unknown";
}

std::string_view word_of(ProgramState state) {
  switch (state) {
    case ProgramState::Idle: return "idle";
    case ProgramState::Attached: return "attached";
    case ProgramState::Unused: return "unused";
    case ProgramState::Failed: return "failed";
  }
  return "unknown";
}

void size_rows(bpf_object* object, const ModuleInfo& info, uint32_t slots) {
  for (const char* rows : {"_counters", "_histograms", "_cells", "_keyed", "_gauges"}) {
    bpf_map* map = bpf_object__find_map_by_name(object, (std::string(info.name) + rows).c_str());
    if (map) bpf_map__set_max_entries(map, slots);
  }
}

ModuleObject::ModuleObject(const ModuleEntry& entry, uint16_t id, Core& core, const Features& features,
                           const LoadOptions& options)
    : entry_(entry), id_(id), core_(core), cgroup_root_(options.cgroup_root) {
  const ModuleInfo& info = module().info();
  report_.name = info.name;
  for (const auto& spec : info.programs) {
    report_.programs.push_back({std::string(spec.program), std::string(spec.hook), ProgramState::Idle, "", ""});
  }
  bool done = false;
  if (info.alternatives.empty()) done = load_alternative(kEveryAlternative, features, options);
  const bool named =
      std::ranges::any_of(info.alternatives, [&](const auto& a) { return a.name == options.alternative; });
  for (std::size_t i = 0; !done && i < info.alternatives.size(); ++i) {
    const Alternative& alternative = info.alternatives[i];
    if (named && alternative.name != options.alternative) continue;
    if (const std::string reason = alternative.unusable(features); !reason.empty()) {
      add_reason(std::string(alternative.name) + ": " + reason);
      continue;
    }
    done = load_alternative(static_cast<int>(i), features, options);
    if (done) report_.alternative = alternative.name;
  }
  if (!done) {
    report_.health = ModuleHealth::Failed;
    if (report_.reasons.empty()) add_reason("no alternative works on this kernel");
  }
  loaded_health_ = report_.health;
  loaded_reasons_ = report_.reasons;
}

ModuleObject::~ModuleObject() { close(); }

void ModuleObject::close() {
  programs_.clear();
  rows_ = Rows();
  if (object_) bpf_object__close(object_);
  object_ = nullptr;
}

// Alternatives that fail for the same reason report it once.
void ModuleObject::add_reason(std::string reason) {
  if (std::ranges::find(report_.reasons, reason) == report_.reasons.end()) report_.reasons.push_back(std::move(reason));
}

void ModuleObject::worsen(ModuleHealth health, std::string reason) {
  report_.health = std::max(report_.health, health);
  add_reason(std::move(reason));
}

ProgramReport& ModuleObject::report_of(const ProgramSpec& spec) {
  const auto specs = module().info().programs;
  return report_.programs[static_cast<std::size_t>(&spec - specs.data())];
}

// libbpf loads an object as a whole. A program that the kernel refuses is left out if the module can do without (it
// names the gap), and the object is opened and loaded again.
bool ModuleObject::load_alternative(int alternative, const Features& features, const LoadOptions& options) {
  const ModuleInfo& info = module().info();
  for (std::size_t attempt = 0; attempt <= info.programs.size(); ++attempt) {
    close();
    LogCapture log;
    if (auto opened = open(alternative, features, options); !opened) {
      add_reason(opened.error().message());
      break;
    }
    pass_over_module_types(object_);
    const int error = bpf_object__load(object_);
    if (error == 0) {
      auto finished = finish_load();
      if (finished) return true;
      add_reason(finished.error().message());
      break;
    }
    const std::string failed = log.failed_program();
    const std::string reason = Error::system(log.reason(), -error).message();
    const auto spec = std::ranges::find(info.programs, failed, &ProgramSpec::program);
    if (spec == info.programs.end()) {
      add_reason((failed.empty() ? std::string("object") : failed) + " does not load: " + reason);
      break;
    }
    set_failed(failed, reason);
    if (spec->gap.empty()) {
      add_reason(failed + " does not load: " + reason);
      break;
    }
  }
  close();
  return false;
}

void ModuleObject::set_failed(std::string_view program, const std::string& reason) {
  const auto specs = module().info().programs;
  const auto spec = std::ranges::find(specs, program, &ProgramSpec::program);
  if (spec == specs.end()) return;
  ProgramReport& report = report_of(*spec);
  report.state = ProgramState::Failed;
  report.reason = reason;
  report.gap = spec->gap;
}

Result<void> ModuleObject::open(int alternative, const Features& features, const LoadOptions& options) {
  const ModuleInfo& info = module().info();
  LIBBPF_OPTS(bpf_object_open_opts, open_options);
  const std::string name(info.name);
  open_options.object_name = name.c_str();
  object_ = bpf_object__open_mem(entry_.object.data(), entry_.object.size(), &open_options);
  if (!object_) return Error::system("cannot open the BPF object", errno);
  if (auto shared = share_maps(object_, core_); !shared) return shared;
  size_rows(object_, info, core_.sizes().slots);
  const std::pair<const char*, bool> found[] = {
      {"sonde_have_cast", features.read_only_cast},             // shims.h
      {"sonde_have_task_iterator", walks_by_kernel(features)},  // threads.h, as the next
      {"sonde_have_task_from_pid", features.has_function("bpf_task_from_pid")}};
  for (const auto& [variable, value] : found) {
    if (!has_read_only(object_, variable)) continue;
    if (auto set = set_read_only(object_, variable, value); !set) return set;
  }
  for (const ProgramSpec& spec : info.programs) {
    bpf_program* program = bpf_object__find_program_by_name(object_, std::string(spec.program).c_str());
    if (!program) return Error("program " + std::string(spec.program) + " is not in the object");
    ProgramReport& report = report_of(spec);
    const bool ours = (spec.alternative == kEveryAlternative || spec.alternative == alternative) &&
                      (!spec.needed || spec.needed(features));
    if (report.state != ProgramState::Failed || (ours && spec.gap.empty())) {
      report.state = ours ? ProgramState::Idle : ProgramState::Unused;
    }
    std::string blind = ours && spec.blind ? spec.blind(features) : std::string();
    bpf_program__set_autoload(program, ours && blind.empty() && report.state != ProgramState::Failed);
    if (!blind.empty()) blind_.emplace(&spec, std::move(blind));
  }
  if (!options.break_program.empty()) break_program(object_, options.break_program);
  return module().prepare(object_, features, alternative);
}

Result<void> ModuleObject::finish_load() {
  auto rows = Rows::map(object_, module().info(), id_, core_);
  if (!rows) return rows.error();
  rows_ = std::move(*rows);
  for (const ProgramSpec& spec : module().info().programs) {
    const ProgramReport& report = report_of(spec);
    if (report.state == ProgramState::Failed) {
      report_.health = ModuleHealth::Degraded;
      add_reason(report.name + " does not load (" + report.reason + "): " + report.gap);
      continue;
    }
    if (report.state == ProgramState::Unused) continue;
    bpf_program* handle = bpf_object__find_program_by_name(object_, report.name.c_str());
    const auto blind = blind_.find(&spec);
    programs_.push_back({&spec, handle, Attachment(handle, report.hook, cgroup_root_),
                         blind == blind_.end() ? std::string() : blind->second});
  }
  return {};
}

bool ModuleObject::attached() const {
  return std::ranges::any_of(programs_, [](const Program& program) { return program.attachment.attached(); });
}

void ModuleObject::follow_cpus() {
  for (Program& program : programs_) {
    const std::size_t attached = program.attachment.follow_cpus();
    if (attached)
      __atomic_fetch_add(core_.losses.at<uint64_t>(id_) + SONDE_LOSS_UNMEASURED, attached, __ATOMIC_RELAXED);
  }
}

void ModuleObject::attach_program(Program& program, uint64_t now) {
  ProgramReport& report = report_of(*program.spec);
  LogCapture log;
  if (auto done = program.attachment.attach(now); !done) {
    const std::string before = report.reason;
    set_failed(report.name, done.error().with("cannot attach to " + report.hook).message());
    if (report.reason != before) spdlog::warn("{}: {}: {}", report_.name, report.name, report.reason);
    return;
  }
  if (report.state == ProgramState::Failed) spdlog::info("{}: {} has been reattached", report_.name, report.name);
  report.state = ProgramState::Attached;
  report.reason.clear();
  report.gap.clear();
}

void ModuleObject::attach(uint8_t flags, bool gained, uint64_t now) {
  asked_ = flags;
  const bool was_attached = attached();
  const bool begins =
      !was_attached && std::ranges::any_of(programs_, [&](const Program& p) { return p.spec->flags & flags; });
  if (begins) {
    auto begun = module().begin(object_);
    begin_failure_ = begun ? "" : begun.error().message();
  }
  for (Program& program : programs_) {
    ProgramReport& report = report_of(*program.spec);
    const bool wanted = (program.spec->flags & flags) != 0;
    if (is_run_by_agent(program.handle)) {
      if (program.blind.empty()) continue;
      if (wanted && report.state != ProgramState::Failed)
        spdlog::warn("{}: {}: {}", report_.name, report.name, program.blind);
      if (wanted) {
        set_failed(report.name, program.blind);
      } else {
        make_idle(report);
      }
      continue;
    }
    if (program.spec->by_agent) {
      report.state = wanted ? ProgramState::Attached : ProgramState::Idle;
      continue;
    }
    if (!wanted) {
      program.attachment.detach();
      make_idle(report);
    } else if (!program.attachment.attached() && program.attachment.due(now)) {
      attach_program(program, now);
    }
  }
  judge(now);
  if (!was_attached || !gained) return;
  if (auto done = module().selected(object_); !done) spdlog::warn("{}: {}", report_.name, done.error().message());
}

void ModuleObject::watch(uint64_t now, const std::string& context) {
  if (!loaded()) return;
  bool again = false;
  for (Program& program : programs_) {
    ProgramReport& report = report_of(*program.spec);
    if (program.attachment.lost(now)) {
      set_failed(report.name, "another process detached it from " + report.hook);
      report.times_lost = program.attachment.times_lost();
      spdlog::warn("{}: {}: {}", report_.name, report.name, report.reason);
    }
    again = again || (report.state == ProgramState::Failed && program.blind.empty() && program.attachment.due(now));
  }
  context_failure_ = needs_context(asked_) ? context : "";
  gaps_ = attached() ? module().gaps(object_) : std::vector<std::string>();
  if (again) attach(asked_, false, now);
  judge(now);
}

// What is down is down, with its reason; what was down until just now was not counted.
void ModuleObject::judge(uint64_t now) {
  report_.health = loaded_health_;
  report_.reasons = loaded_reasons_;
  if (!begin_failure_.empty()) worsen(ModuleHealth::Degraded, begin_failure_);
  if (!context_failure_.empty()) worsen(ModuleHealth::Degraded, context_failure_);
  for (const Program& program : programs_) {
    const ProgramReport& report = report_of(*program.spec);
    if (report.state == ProgramState::Failed) {
      worsen(program.spec->gap.empty() ? ModuleHealth::Failed : ModuleHealth::Degraded,
             report.name + ": " + report.reason + (report.gap.empty() ? "" : ": " + report.gap));
    } else if (report.state == ProgramState::Attached && program.attachment.lost_lately(now)) {
      worsen(ModuleHealth::Degraded, report.name + ": another process detached it from " + report.hook +
                                         "; it has been reattached, but what happened in between was not counted");
    }
  }
  for (const std::string& gap : gaps_) worsen(ModuleHealth::Degraded, gap);
}

bool ModuleObject::needs_context(uint8_t flags) const {
  return std::ranges::any_of(
      programs_, [&](const Program& program) { return program.spec->needs_context && (program.spec->flags & flags); });
}

void ModuleObject::add_program_stats(std::vector<ProgramRuns>& out) const {
  for (const Program& program : programs_) {
    bpf_prog_info info{};
    __u32 size = sizeof(info);
    if (bpf_obj_get_info_by_fd(bpf_program__fd(program.handle), &info, &size)) continue;
    out.push_back({report_.name, std::string(program.spec->program), info.run_cnt, info.run_time_ns,
                   info.recursion_misses, info.verified_insns});
  }
}

}  // namespace sonde
