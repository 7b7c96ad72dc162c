// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/function_probes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <fstream>

#include "agent/kernel/features.h"
#include "agent/module/module.h"
#include "agent/module/perf_paranoid.h"

namespace sonde {
namespace {

constexpr const char* kProgramNames[kFunctionPrograms] = {"function_enter",        "function_return",
                                                          "function_go_enter",     "function_go_return",
                                                          "function_kernel_enter", "function_kernel_return"};

// linux/bpf.h of 6.6; Debian 12 has that of 6.1.
constexpr uint32_t kTraceUprobeMulti = 48;
constexpr uint32_t kMultiReturn = 1;
struct LinkCreateMulti {
  uint32_t prog_fd, target_fd, attach_type, flags;
  uint64_t path, offsets, ref_ctr_offsets, cookies;
  uint32_t count, multi_flags, pid, reserved;
};

bool is_return(FunctionProgram program) {
  return program == FunctionProgram::Return || program == FunctionProgram::KernelReturn;
}

// Number of a dynamic perf event source; -1 if the kernel has it not.
int source_type(const char* name) {
  std::ifstream file(std::string("/sys/bus/event_source/devices/") + name + "/type");
  int type = -1;
  return file >> type ? type : -1;
}

std::string path_of(int file) { return "/proc/self/fd/" + std::to_string(file); }

Result<Fd> open_event(const perf_event_attr& attributes) {
  Fd event(static_cast<int>(syscall(SYS_perf_event_open, &attributes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC)));
  if (event) return event;
  const int error = errno;
  const std::string why = perf_refusal(error);
  return why.empty() ? Error::system("the kernel refuses the probe", error)
                     : Error("the kernel refuses the probe: " + why);
}

// The link keeps the event.
Result<Fd> link_event(int program, const perf_event_attr& attributes, uint64_t cookie) {
  auto event = open_event(attributes);
  if (!event) return event.error();
  LIBBPF_OPTS(bpf_link_create_opts, options);
  options.perf_event.bpf_cookie = cookie;
  Fd link(bpf_link_create(program, event->get(), BPF_PERF_EVENT, &options));
  if (!link) return Error::system("the kernel refuses to run the program at the probe", errno);
  if (ioctl(event->get(), PERF_EVENT_IOC_ENABLE, 0) != 0) return Error::system("cannot enable the probe", errno);
  return link;
}

// As wide as the argument is declared; the rest of its register is undefined.
ArgumentPlace narrowed(ArgumentPlace place, const KernelSignature& signature, int argument) {
  const auto index = static_cast<std::size_t>(argument - 1);
  if (index >= signature.arguments.size()) return place;
  place.bytes = signature.arguments[index].bytes;
  place.is_signed = signature.arguments[index].is_signed;
  return place;
}

Result<Mapped> map_named(bpf_object* object, const char* name) {
  const bpf_map* map = bpf_object__find_map_by_name(object, name);
  if (!map) return Error(std::string("the function object has no map ") + name);
  return Mapped::map(bpf_map__fd(map), bpf_map__value_size(map), bpf_map__max_entries(map));
}

}  // namespace

uint64_t function_cookie(uint32_t instance, const ArgumentPlace& argument, uint8_t edition) {
  return uint64_t{instance} | static_cast<uint64_t>(edition & 7) << 29 | static_cast<uint64_t>(argument.kind) << 16 |
         static_cast<uint64_t>(argument.register_offset / 8 & 63) << 18 |
         static_cast<uint64_t>(argument.bytes - 1) << 24 | static_cast<uint64_t>(argument.is_signed) << 28 |
         static_cast<uint64_t>(static_cast<uint32_t>(argument.displacement)) << 32;
}

Result<std::unique_ptr<FunctionProbes>> FunctionProbes::open(const Engine& engine) {
  const int module = function_module(modules());
  if (module < 0) return Error("this build has no probe that measures functions");
  const std::string_view probe = modules()[static_cast<std::size_t>(module)].module->info().name;
  bpf_object* object = engine.module_object(probe);
  if (!object) return Error("the probe '" + std::string(probe) + "' is off or does not work on this kernel");
  std::unique_ptr<FunctionProbes> probes(new FunctionProbes());
  for (std::size_t i = 0; i < kFunctionPrograms; ++i) {
    const bpf_program* program = bpf_object__find_program_by_name(object, kProgramNames[i]);
    probes->programs_[i] = program ? bpf_program__fd(program) : -1;
    if (i == 0 && program)
      probes->many_ = static_cast<uint32_t>(bpf_program__expected_attach_type(program)) == kTraceUprobeMulti;
  }
  const std::pair<Mapped&, const char*> maps[] = {
      {probes->asked_, "function_asked"}, {probes->instances_, "function_instances"}, {probes->hits_, "function_hits"}};
  for (const auto& [target, name] : maps) {
    auto mapped = map_named(object, name);
    if (!mapped) return mapped.error().with(name);
    target = std::move(*mapped);
  }
  probes->slots_ = bpf_map__max_entries(bpf_object__find_map_by_name(object, "function_asked"));
  const bpf_program* inode = bpf_object__find_program_by_name(object, "function_inode");
  probes->inode_program_ = inode ? bpf_program__fd(inode) : -1;
  probes->uprobe_type_ = source_type("uprobe");
  const bool kernel = probes->programs_[static_cast<std::size_t>(FunctionProgram::KernelEnter)] >= 0;
  const bpf_program* models[] = {bpf_object__find_program_by_name(object, "function_traced_enter"),
                                 bpf_object__find_program_by_name(object, "function_traced_return")};
  if (models[0] && models[1] && bpf_program__fd(models[0]) >= 0 && bpf_program__fd(models[1]) >= 0) {
    probes->traced_enter_ = models[0];
    probes->traced_return_ = models[1];
  }
  probes->kprobe_type_ = kernel ? source_type("kprobe") : -1;
  return probes;
}

Result<ProbeLinks> FunctionProbes::attach(FunctionProgram program, int file, std::span<const ProbePlace> places) const {
  ProbeLinks links;
  if (places.empty()) return links;
  if (many_) {
    auto link = attach_many(program, file, places);
    if (!link) return link.error();
    links.push_back(std::move(*link));
    return links;
  }
  for (const ProbePlace& place : places) {
    auto link = attach_one(program, file, place);
    if (!link) return link.error();
    links.push_back(std::move(*link));
  }
  return links;
}

Result<Fd> FunctionProbes::attach_many(FunctionProgram program, int file, std::span<const ProbePlace> places) const {
  std::vector<uint64_t> offsets, semaphores, cookies;
  for (const ProbePlace& place : places) {
    offsets.push_back(place.offset);
    semaphores.push_back(place.semaphore);
    cookies.push_back(place.cookie);
  }
  const std::string path = path_of(file);
  LinkCreateMulti create{};
  create.prog_fd = static_cast<uint32_t>(programs_[static_cast<std::size_t>(program)]);
  create.attach_type = kTraceUprobeMulti;
  create.path = std::bit_cast<uint64_t>(path.c_str());
  create.offsets = std::bit_cast<uint64_t>(offsets.data());
  create.ref_ctr_offsets = std::bit_cast<uint64_t>(semaphores.data());
  create.cookies = std::bit_cast<uint64_t>(cookies.data());
  create.count = static_cast<uint32_t>(places.size());
  create.multi_flags = is_return(program) ? kMultiReturn : 0;
  Fd link(static_cast<int>(syscall(SYS_bpf, BPF_LINK_CREATE, &create, sizeof(create))));
  if (!link) return Error::system("the kernel refuses the probe", errno);
  return link;
}

Result<Fd> FunctionProbes::attach_one(FunctionProgram program, int file, const ProbePlace& place) const {
  if (uprobe_type_ < 0) return Error("this kernel has no uprobes (CONFIG_UPROBE_EVENTS)");
  const std::string path = path_of(file);
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = static_cast<uint32_t>(uprobe_type_);
  attributes.config = (is_return(program) ? 1 : 0) | place.semaphore << 32;
  attributes.uprobe_path = std::bit_cast<uint64_t>(path.c_str());
  attributes.probe_offset = place.offset;
  return link_event(programs_[static_cast<std::size_t>(program)], attributes, place.cookie);
}

KernelInode FunctionProbes::inode_at(const void* mapping) const {
  for (int tries = 0; inode_program_ >= 0 && tries < 100; ++tries) {
    function_mapping asked{};
    asked.address = std::bit_cast<uint64_t>(mapping);
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.ctx_in = &asked;
    options.ctx_size_in = sizeof(asked);
    if (bpf_prog_test_run_opts(inode_program_, &options) != 0) break;
    if (static_cast<int>(options.retval) == -EBUSY) {  // the list of mappings was locked just then
      usleep(100);
      continue;
    }
    return {asked.inode, asked.number, asked.device};
  }
  return {};
}

std::optional<KernelSignature> FunctionProbes::signature(const std::string& symbol) const {
  if (!types_) types_ = kernel_types();
  return kernel_signature(types_.get(), symbol);
}

Result<KernelProbe> FunctionProbes::attach_kernel(const std::string& symbol, bool with_return, uint32_t instance,
                                                  int bytes_argument) const {
  const auto declared = signature(symbol);
  std::string refused;
  if (declared && traced_enter_) {
    auto traced = attach_traced(*declared, with_return, instance, bytes_argument);
    if (traced || kprobe_type_ < 0) return traced;
    refused = "; by fentry: " + traced.error().message();
  }
  if (kprobe_type_ < 0) return Error("the kernel's BTF does not contain it, and there are no kprobes");
  ArgumentPlace place = argument_register(this_machine(), false, bytes_argument);
  if (declared && bytes_argument) place = narrowed(place, *declared, bytes_argument);
  const uint64_t cookie = function_cookie(instance, place);
  KernelProbe probe;
  probe.hook = with_return ? "kprobe and kretprobe" : "kprobe";
  // The end first: a call of which only the end is seen is known as such. Detached the other way round.
  Result<Fd> end = with_return ? attach_kprobe(FunctionProgram::KernelReturn, symbol, cookie) : Fd();
  auto begin = end ? attach_kprobe(FunctionProgram::KernelEnter, symbol, cookie) : Result<Fd>(end.error());
  if (!begin) return Error(begin.error().message() + refused);
  probe.links.push_back(std::move(*begin));
  if (with_return) probe.links.push_back(std::move(*end));
  return probe;
}

Result<KernelProbe> FunctionProbes::attach_traced(const KernelSignature& signature, bool with_return, uint32_t instance,
                                                  int argument) const {
  ArgumentPlace place;
  if (argument) {
    place.kind = ArgumentPlace::Kind::Register;
    place.register_offset = static_cast<uint16_t>((argument - 1) * 8);  // FUNCTION_COOKIE_ARGUMENT
    place = narrowed(place, signature, argument);
  }
  const uint64_t cookie = function_cookie(instance, place);
  KernelProbe probe;
  probe.hook = with_return ? "fentry and fexit" : "fentry";
  Result<TracedFunction> end = with_return ? trace_function(traced_return_, signature.type, cookie) : TracedFunction();
  auto begin = end ? trace_function(traced_enter_, signature.type, cookie) : Result<TracedFunction>(end.error());
  if (!begin) return begin.error();
  for (auto* one : {&*begin, &*end}) {
    if (!one->link) continue;
    probe.links.push_back(std::move(one->link));
    probe.programs.push_back(std::move(one->program));
  }
  return probe;
}

Result<Fd> FunctionProbes::attach_kprobe(FunctionProgram program, const std::string& symbol, uint64_t cookie) const {
  perf_event_attr attributes{};
  attributes.size = sizeof(attributes);
  attributes.type = static_cast<uint32_t>(kprobe_type_);
  attributes.config = is_return(program) ? 1 : 0;
  attributes.kprobe_func = std::bit_cast<uint64_t>(symbol.c_str());
  return link_event(programs_[static_cast<std::size_t>(program)], attributes, cookie);
}

uint64_t KernelProbe::missed() const {
  uint64_t sum = 0;
  for (const Fd& program : programs) sum += missed_by_program(program.get());
  if (!programs.empty()) return sum;
  for (const Fd& link : links) sum += missed_by_kprobe(link.get());
  return sum;
}

void FunctionProbes::define(uint32_t instance, const function_instance& what) {
  *instances_.at<function_instance>(instance) = what;
}

void FunctionProbes::set_edition(uint32_t instance, uint8_t edition) {
  __atomic_store_n(&instances_.at<function_instance>(instance)->edition, edition, __ATOMIC_RELEASE);
}

void FunctionProbes::ask(uint32_t slot, uint32_t instance, bool wanted) {
  if (slot >= slots_) return;
  uint64_t* word = &asked_.at<function_asked>(slot)->word[instance / 64];
  const uint64_t bit = uint64_t{1} << (instance % 64);
  if (wanted) {
    __atomic_fetch_or(word, bit, __ATOMIC_RELEASE);
  } else {
    __atomic_fetch_and(word, ~bit, __ATOMIC_RELEASE);
  }
}

bool FunctionProbes::asked(uint32_t slot, uint32_t instance) const {
  if (slot >= slots_) return false;
  return __atomic_load_n(&asked_.at<function_asked>(slot)->word[instance / 64], __ATOMIC_ACQUIRE) >> (instance % 64) &
         1;
}

void FunctionProbes::forget(uint32_t slot) {
  if (slot >= slots_) return;
  for (uint64_t& word : asked_.at<function_asked>(slot)->word) __atomic_store_n(&word, 0, __ATOMIC_RELEASE);
}

uint64_t FunctionProbes::hits(uint32_t instance) const {
  return __atomic_load_n(hits_.at<uint64_t>(instance), __ATOMIC_RELAXED);
}

}  // namespace sonde
