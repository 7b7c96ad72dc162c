// SPDX-License-Identifier: Apache-2.0
#include "agent/functions/instances.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <optional>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/text.h"
#include "agent/functions/rules.h"
#include "agent/kernel/return_probe_check.h"
#include "agent/module/function_names.h"
#include "agent/symbols/confined.h"
#include "agent/symbols/resolve_image.h"

namespace sonde {
namespace {

// All that makes it another instance.
std::string text_of(const FunctionRequest& request) {
  return request.name + "\n" + request.type + "\n" + request.path + "\n" + request.symbol + "\n" +
         join(request.measure) + "\n" + std::to_string(request.bytes_argument.value_or(0)) + request.bytes_abi +
         request.errors_when;
}

bool is_go_function(const ImageAnswer& answer, const FunctionRequest& request) {
  return answer.go && request.symbol.find('.') != std::string::npos;
}

constexpr std::size_t kMostAbsent = 16'384;
constexpr uint64_t kLongestHotRest = 3600 * kSecond;

uint64_t loading_of(std::string_view module) {
  struct stat status {};
  if (module.empty()) return 0;
  const std::string path = "/sys/module/" + std::string(module);
  return stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

// Where the bytes of one place are: USDT says it itself, functions have it in a register.
ArgumentPlace bytes_place(const FunctionRequest& request, const CodePlace& place, bool go) {
  if (!(measures_of(request) & FUNCTION_BYTES)) return {};
  if (request.type == "USDT") return place.argument;
  const bool go_abi = request.bytes_abi == "Go" || (request.bytes_abi != "C" && go);
  return argument_register(this_machine(), go_abi, request.bytes_argument.value_or(0));
}

}  // namespace

FileKey key_of(const LocatedFile& file) {
  const KernelInode& inode = file.kernel;
  if (!inode.address) return {0, file.device, file.inode, file.size, file.modified_ns, file.changed_ns};
  return {inode.address, inode.device, inode.number, file.size, file.modified_ns, file.changed_ns};
}

InstancePtr FunctionInstances::find_or_make(const FileKey& file, const FunctionRequest& request, bool& made) {
  InstancePtr& known = instances_[{file, text_of(request)}];
  made = !known;
  if (known) return known;
  known = std::make_shared<Instance>();
  known->file = file;
  known->request = request;
  known->refusal = Refusal::TooMany;
  if (!function_number(request.name)) return known;
  for (uint32_t tried = 0; tried + 1 < FUNCTION_INSTANCES; ++tried) {  // the last one is for the test of return probes
    const uint32_t id = next_;
    next_ = (next_ + 1) % (FUNCTION_INSTANCES - 1);  // a number rests as long as possible before it is used again
    if (taken_[id]) continue;
    taken_[id] = true;
    known->id = id;
    known->refusal = Refusal::None;
    known->hits = probes_.hits(id);
    break;
  }
  return known;
}

std::vector<InstancePtr> FunctionInstances::in_file(const LocatedFile& file,
                                                    const std::vector<const FunctionRequest*>& requests,
                                                    bool carriers) {
  std::vector<InstancePtr> all, fresh;
  const FileKey key = key_of(file);
  for (const FunctionRequest* request : requests) {
    if (carriers && absent_.contains({key, text_of(*request)})) {
      all.emplace_back();
      continue;
    }
    bool made = false;
    all.push_back(find_or_make(key, *request, made));
    const Refusal refusal = all.back()->refusal;
    const bool rested = refusal == Refusal::TooHot && boottime_ns() >= all.back()->hot_until_ns;
    const bool again = refusal == Refusal::TimedOut || refusal == Refusal::AttachFailed ||
                       refusal == Refusal::FileNotFound || rested || all.back()->orphaned();
    if ((made && refusal == Refusal::None) || again) fresh.push_back(all.back());
  }
  if (!fresh.empty()) resolve(file, fresh);
  for (InstancePtr& one : all) {
    if (carriers && one && forget_if_absent(key, one)) one.reset();
  }
  return all;
}

// A program maps many libraries, and hardly one of them has it.
bool FunctionInstances::forget_if_absent(const FileKey& file, const InstancePtr& instance) {
  const Refusal refusal = instance->refusal;
  const bool absent = refusal == Refusal::SymbolNotFound || refusal == Refusal::BadElf ||
                      refusal == Refusal::WrongArchitecture || refusal == Refusal::TooLarge;
  if (!absent || !instance->slots.empty()) return false;
  if (absent_.size() >= kMostAbsent) absent_.clear();
  absent_.insert({file, text_of(instance->request)});
  taken_[instance->id] = false;
  instances_.erase({file, text_of(instance->request)});
  return true;
}

void FunctionInstances::resolve(const LocatedFile& file, const std::vector<InstancePtr>& fresh) {
  std::vector<SymbolQuery> queries;
  for (const InstancePtr& one : fresh) {
    const FunctionRequest& request = one->request;
    const bool bytes = measures_of(request) & FUNCTION_BYTES;
    queries.push_back({request.symbol, request.type == "USDT",
                       static_cast<uint8_t>(bytes ? request.bytes_argument.value_or(0) : 0), needs_return(request)});
  }
  ImageAnswer answer;
  const auto bytes = run_confined(file.file.get(), {}, [&](int fd) {
    return encode_answer(resolve_image(FileSource(fd), this_machine(), queries));
  });
  if (!bytes || !decode_answer(*bytes, queries.size(), answer)) {
    answer = {};
    answer.refusals.assign(queries.size(), bytes ? Refusal::BadElf : Refusal::TimedOut);
  }
  for (uint32_t i = 0; i < fresh.size(); ++i) {
    Instance& instance = *fresh[i];
    instance.detail.clear();
    instance.refusal = answer.refusal != Refusal::None ? answer.refusal : answer.refusals[i];
    if (instance.refusal == Refusal::SymbolNotFound && answer.stripped) instance.detail = "it is stripped";
    if (instance.refusal == Refusal::None) attach(file, answer, i, instance);
  }
}

void FunctionInstances::define(const Instance& instance, bool go) {
  function_instance what{};
  what.name = function_number(instance.request.name).value_or(0);
  what.measure = measures_of(instance.request);
  what.error = error_rule_of(instance.request);
  what.go = go;
  what.edition = instance.edition;
  probes_.define(instance.id, what);
}

void FunctionInstances::attach(const LocatedFile& file, const ImageAnswer& answer, uint32_t query, Instance& instance) {
  const FunctionRequest& request = instance.request;
  const bool go = is_go_function(answer, request);
  const bool moves = instance.attached();
  const auto edition = static_cast<uint8_t>(moves ? (instance.edition + 1) & 7 : instance.edition);
  if (go && (measures_of(request) & FUNCTION_ERRORS)) {
    instance.refusal = Refusal::Unsupported;
    instance.detail = "errors of Go functions are not numbers";
    return;
  }
  std::vector<ProbePlace> entries, returns;
  for (const CodePlace& place : answer.places) {
    if (place.query != query) continue;
    const ArgumentPlace argument = place.is_return ? ArgumentPlace{} : bytes_place(request, place, go);
    (place.is_return ? returns : entries)
        .push_back({place.offset, place.semaphore, function_cookie(instance.id, argument, edition)});
  }
  if (!go && needs_return(request)) {
    if (!return_probes_work()) {
      instance.refusal = Refusal::NoReturnProbes;
      instance.detail = return_probes_detail_;
      return;
    }
    returns = entries;
  }
  if (!moves) define(instance, go);
  // The end first: a call of which only the end is seen is known as such.
  auto ends = probes_.attach(go ? FunctionProgram::GoReturn : FunctionProgram::Return, file.file.get(), returns);
  auto begins = ends ? probes_.attach(go ? FunctionProgram::GoEnter : FunctionProgram::Enter, file.file.get(), entries)
                     : Result<ProbeLinks>(ends.error());
  if (!begins) {
    instance.refusal = Refusal::AttachFailed;
    instance.detail = begins.error().message();
    return;
  }
  if (moves) probes_.set_edition(instance.id, instance.edition = edition);
  instance.anchor = anchors_.of(file.pid);
  instance.links = std::move(*begins);  // detached in this order
  for (Fd& link : *ends) instance.links.push_back(std::move(link));
  instance.attached_ns = boottime_ns();
  instance.hook = returns.empty() ? "uprobe" : go ? "uprobes, also on returns" : "uprobe and uretprobe";
}

InstancePtr FunctionInstances::in_kernel(const FunctionRequest& request) {
  bool made = false;
  InstancePtr instance = find_or_make({}, request, made);
  if (instance->refusal == Refusal::TooMany) return instance;
  if (instance->refusal == Refusal::TooHot && boottime_ns() < instance->hot_until_ns) return instance;
  if (instance->attached() && instance->loading == loading_of(instance->module)) return instance;
  const Refusal refusal = instance->refusal;
  const bool for_good = refusal == Refusal::Denied || refusal == Refusal::NoKernelProbes ||
                        refusal == Refusal::Unsupported || refusal == Refusal::SymbolNotFound;
  if (for_good && instance->names == names_.version()) return instance;
  detach(*instance);  // what is attached to a module that was unloaded stays so to nothing
  attach_kernel(*instance);
  return instance;
}

// What can be told before the kernel is asked.
Refusal FunctionInstances::check_kernel(Instance& instance) {
  const FunctionRequest& request = instance.request;
  if (is_denied(request.symbol, needs_return(request))) return Refusal::Denied;
  if (!probes_.has_kernel_probes()) return Refusal::NoKernelProbes;
  const std::size_t count = names_.count(request.symbol);
  if (count == 0) {
    instance.detail = names_.missing(request.symbol);
    return Refusal::SymbolNotFound;
  }
  if (count > 1) {
    instance.detail = "the kernel has " + std::to_string(count) + " functions of this name";
    return Refusal::Unsupported;
  }
  const auto declared = probes_.signature(request.symbol);
  if (!declared) return Refusal::None;
  const auto argument = static_cast<std::size_t>(request.bytes_argument.value_or(0));
  if (!declared->returns && (measures_of(request) & FUNCTION_ERRORS)) {
    instance.detail = "it returns nothing";
  } else if (argument > declared->arguments.size()) {
    instance.detail = "it has only " + std::to_string(declared->arguments.size()) + " arguments";
  } else if (argument && !declared->arguments[argument - 1].is_number) {
    instance.detail = "its argument " + std::to_string(argument) + " is not a number";
  }
  return instance.detail.empty() ? Refusal::None : Refusal::Unsupported;
}

void FunctionInstances::attach_kernel(Instance& instance) {
  const FunctionRequest& request = instance.request;
  instance.detail.clear();
  instance.module = module_of(request.symbol);
  instance.refusal = check_kernel(instance);
  instance.names = names_.version();
  if (instance.refusal != Refusal::None) return;
  if (instance.module.empty() && !probes_.signature(request.symbol)) instance.module = names_.module_of(request.symbol);
  instance.loading = loading_of(instance.module);
  define(instance, false);
  const int bytes = measures_of(request) & FUNCTION_BYTES ? request.bytes_argument.value_or(0) : 0;
  auto probe = probes_.attach_kernel(request.symbol, needs_return(request), instance.id, bytes);
  if (!probe) {
    instance.refusal = Refusal::AttachFailed;
    instance.detail = probe.error().message();
    return;
  }
  instance.kernel = std::move(*probe);
  instance.hook = instance.kernel.hook;
  instance.attached_ns = boottime_ns();
}

void FunctionInstances::detach(Instance& instance) {
  const KernelProbe probe = std::move(instance.kernel);
  instance.kernel = {};
  instance.links.clear();
  missed_ += probe.missed();
}

std::vector<InstancePtr> FunctionInstances::orphans() const {
  std::map<const Anchor*, bool> gone;
  std::vector<InstancePtr> found;
  for (const auto& [key, instance] : instances_) {
    if (instance->links.empty()) continue;
    const auto [known, fresh] = gone.try_emplace(instance->anchor.get());
    if (fresh) known->second = instance->anchor->gone();
    if (known->second) found.push_back(instance);
  }
  return found;
}

void FunctionInstances::let_go(Instance& instance) {
  for (const uint32_t slot : instance.slots) probes_.ask(slot, instance.id, false);
  detach(instance);
  instance.refusal = Refusal::FileNotFound;
  instance.detail.clear();
}

bool FunctionInstances::return_probes_work() {
  if (return_probes_ < 0) {
    return_probes_detail_ = check_return_probes(probes_);
    return_probes_ = return_probes_detail_.empty();
    if (!return_probes_) spdlog::warn("functions: no return probes: {}", return_probes_detail_);
  }
  return return_probes_ == 1;
}

void FunctionInstances::use(const InstancePtr& instance, uint32_t slot) {
  instance->slots.insert(slot);
  if (instance->attached()) probes_.ask(slot, instance->id, true);
}

void FunctionInstances::leave(const InstancePtr& instance, uint32_t slot) {
  if (!instance->slots.erase(slot)) return;
  if (instance->refusal != Refusal::TooMany) probes_.ask(slot, instance->id, false);
  if (!instance->slots.empty()) return;
  detach(*instance);
  if (instance->refusal != Refusal::TooMany) taken_[instance->id] = false;
  instances_.erase({instance->file, text_of(instance->request)});
}

bool FunctionInstances::detach_hot(double seconds, double most_per_second) {
  bool any = false;
  for (auto& [key, instance] : instances_) {
    if (!instance->attached()) continue;
    const uint64_t hits = probes_.hits(instance->id);
    const double rate = static_cast<double>(hits - instance->hits) / seconds;
    instance->hits = hits;
    if (rate <= most_per_second) continue;
    any = true;
    for (const uint32_t slot : instance->slots) probes_.ask(slot, instance->id, false);
    detach(*instance);
    const uint64_t now = boottime_ns();
    const bool was_calm = now - instance->attached_ns >= kLongestHotRest;
    instance->hot_rest_ns =
        was_calm || !instance->hot_rest_ns ? hot_rest_ns_ : std::min(2 * instance->hot_rest_ns, kLongestHotRest);
    instance->hot_until_ns = now + instance->hot_rest_ns;
    instance->refusal = Refusal::TooHot;
    instance->detail = std::to_string(static_cast<uint64_t>(rate)) + " calls per second; retried after " +
                       std::to_string(instance->hot_rest_ns / kSecond) + " s";
    spdlog::warn("function {}: {}: detached", instance->request.name, instance->detail);
  }
  return any;
}

uint64_t FunctionInstances::missed() const {
  uint64_t sum = missed_;
  for (const auto& [key, instance] : instances_) sum += instance->kernel.missed();
  return sum;
}

std::size_t FunctionInstances::attached() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(instances_, [](const auto& one) { return one.second->attached(); }));
}

}  // namespace sonde
