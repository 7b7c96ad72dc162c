// SPDX-License-Identifier: Apache-2.0
#include "agent/functions/rules.h"

#include <algorithm>

#include "agent/base/text.h"
#include "bpf/modules/function/function.h"

namespace sonde {
namespace {

bool measures(const FunctionRequest& request, std::string_view what) {
  return std::ranges::find(request.measure, what) != request.measure.end();
}

constexpr std::string_view kDenied[] = {
    "_raw_*",
    "__raw_*",
    "raw_spin_*",
    "*queued_spin*",
    "*queued_read*",
    "*queued_write*",
    "*pv_queued*",
    "lock_acquire*",
    "lock_release*",
    "lockdep*",
    "__lock_*",
    "rcu_*",
    "__rcu_*",
    "srcu_*",
    "__srcu_*",
    "*rqspinlock*",
    "bpf_*",
    "__bpf_*",
    "*_bpf_*",
    "htab_*",
    "__htab_*",
    "array_map_*",
    "trie_*",
    "nmi_*",
    "*_nmi",
    "do_nmi*",
    "exc_*",
    "asm_*",
    "irqentry_*",
    "*_entry_from_*",
    "entry_*",
    "error_entry*",
    "paranoid_*",
    "do_int3*",
    "do_error_trap*",
    "ktime_get*",
    "sched_clock*",
    "timekeeping_*",
    "tk_*",
    "read_hpet*",
    "*trace*",
    "ftrace*",
    "*kprobe*",
    "*uprobe*",
    "*kretprobe*",
    "rethook*",
    "perf_*",
    "__perf_*",
    "ring_buffer_*",
    "rb_*",
    "preempt_*",
    "migrate_*",
    "text_poke*",
    "stop_machine*",
    "*_stack_chk_*",
    "fault_in_kernel*",
    "copy_from_kernel_nofault*",
    "copy_from_user_nofault*",
    "do_user_addr_fault*",
    "*page_fault*",
    "handle_page_fault*",
};

constexpr std::string_view kNeverReturn[] = {"do_exit",           "do_group_exit",  "make_task_dead", "panic",
                                             "*sys_exit*",        "*rewind_stack*", "kthread_exit",   "*_and_exit",
                                             "cpu_startup_entry", "machine_*",      "__schedule",     "schedule_tail",
                                             "ret_from_fork*",    "*reboot*"};

}  // namespace

uint8_t measures_of(const FunctionRequest& request) {
  uint8_t bits = 0;
  if (measures(request, "Calls")) bits |= FUNCTION_CALLS;
  if (measures(request, "Errors")) bits |= FUNCTION_ERRORS;
  if (measures(request, "Bytes")) bits |= FUNCTION_BYTES;
  if (measures(request, "Duration")) bits |= FUNCTION_DURATION;
  return bits;
}

uint8_t error_rule_of(const FunctionRequest& request) {
  if (request.errors_when == "Null") return FUNCTION_ERROR_NULL;
  return request.errors_when == "NonZero" ? FUNCTION_ERROR_NONZERO : FUNCTION_ERROR_NEGATIVE;
}

bool needs_return(const FunctionRequest& request) {
  return (measures_of(request) & (FUNCTION_DURATION | FUNCTION_ERRORS)) != 0;
}

std::string_view module_of(std::string_view kernel_symbol) {
  const auto colon = kernel_symbol.find(':');
  return colon == std::string_view::npos ? std::string_view() : kernel_symbol.substr(0, colon);
}

bool is_denied(std::string_view kernel_symbol, bool with_return) {
  const auto colon = kernel_symbol.find(':');
  if (colon != std::string_view::npos) kernel_symbol.remove_prefix(colon + 1);
  const auto matches = [&](std::string_view pattern) { return glob_match(pattern, kernel_symbol); };
  return std::ranges::any_of(kDenied, matches) || (with_return && std::ranges::any_of(kNeverReturn, matches));
}

}  // namespace sonde
