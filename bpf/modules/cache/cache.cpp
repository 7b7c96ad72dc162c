// SPDX-License-Identifier: Apache-2.0
// The cache probe in user space: what it measures and by which programs.
#include "bpf/modules/cache/cache.h"

#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <string>

#include "agent/module/errno_name.h"
#include "agent/module/module.h"
#include "agent/module/read_only.h"
#include "agent/module/series.h"

namespace sonde {
namespace {

enum Metric : uint8_t { kRead, kAdded, kEvicted, kDirtied, kCalls, kRequested };

constexpr AttributeSpec kOutcome[] = {{"sonde.page_cache.outcome", "hit, miss"}};
constexpr std::string_view kAdvices = "normal, random, sequential, willneed, dontneed, noreuse";
constexpr AttributeSpec kCallAttributes[] = {
    {"sonde.fadvise.advice", kAdvices},
    {"error.type", "for failed calls: name of the errno; _OTHER if there is no room for it"}};
constexpr AttributeSpec kRequestedAttributes[] = {{"sonde.fadvise.advice", kAdvices}};

constexpr LegacyName kHitRate = {.name = "ebpf_cache_hit_rate_percent",
                                 .kind = LegacyKind::Percent,
                                 .help = "Page cache hits, in percent since the start."};
constexpr LegacyName kMissRate = {.name = "ebpf_cache_miss_rate_percent",
                                  .kind = LegacyKind::Percent,
                                  .help = "Page cache misses, in percent since the start."};
constexpr LegacySpec kLegacyRead[] = {
    {.to = {.name = "ebpf_cache_read_attempts", .help = "Pages looked up in the page cache.", .pages = true}},
    {.to = {.name = "ebpf_cache_misses", .help = "Pages not found in the page cache.", .pages = true},
     .key = "sonde.page_cache.outcome",
     .value = "miss"},
    {.to = kHitRate, .key = "sonde.page_cache.outcome", .value = "hit", .part = 1, .whole = 1},
    {.to = kHitRate, .key = "sonde.page_cache.outcome", .value = "miss", .part = 0, .whole = 1},
    {.to = kMissRate, .key = "sonde.page_cache.outcome", .value = "hit", .part = 0, .whole = 1},
    {.to = kMissRate, .key = "sonde.page_cache.outcome", .value = "miss", .part = 1, .whole = 1}};
constexpr LegacySpec kLegacyAdded[] = {
    {.to = {.name = "ebpf_page_cache_adds", .help = "Pages added to the page cache.", .pages = true}}};

constexpr LegacyName kSuccesses = {.name = "ebpf_fadvise_success", .help = "Successful fadvise calls."};
constexpr LegacyName kSuccessRate = {.name = "ebpf_fadvise_success_rate_percent",
                                     .kind = LegacyKind::Percent,
                                     .help = "Successful fadvise calls, in percent since the start."};
constexpr LegacySpec kLegacyCalls[] = {{.to = {.name = "ebpf_fadvise_calls", .help = "fadvise calls."}},
                                       {.to = kSuccesses},
                                       {.to = kSuccesses, .key = "error.type", .part = -1},
                                       {.to = kSuccessRate, .part = 1, .whole = 1},
                                       {.to = kSuccessRate, .key = "error.type", .part = -1},
                                       {.to = {.name = "ebpf_fadvise_advice", .help = "fadvise calls by advice."},
                                        .key = "sonde.fadvise.advice",
                                        .label = "advice"}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.page_cache.read",
     .unit = "By",
     .level = Level::Standard,
     .description = "File pages requested by reads and page faults that were in the cache (hit), or had to be read in, "
                    "including by readahead (miss).",
     .attributes = kOutcome,
     .legacy = kLegacyRead},
    {.name = "sonde.page_cache.added",
     .unit = "By",
     .level = Level::Detailed,
     .description =
         "File pages added to the page cache, by reads and writes; not for tmpfs and memfd, which are memory.",
     .legacy = kLegacyAdded},
    {.name = "sonde.page_cache.evicted",
     .unit = "By",
     .level = Level::Detailed,
     .description = "File pages of the container that left the page cache: reclaimed, truncated or dropped on request; "
                    "not for tmpfs and memfd, which are memory."},
    {.name = "sonde.page_cache.dirtied",
     .unit = "By",
     .level = Level::Detailed,
     .description = "Clean pages that became dirty."},
    {.name = "sonde.fadvise.calls",
     .unit = "{call}",
     .level = Level::Standard,
     .description = "posix_fadvise calls.",
     .attributes = kCallAttributes,
     .legacy = kLegacyCalls},
    {.name = "sonde.fadvise.requested",
     .unit = "By",
     .level = Level::Detailed,
     .description = "Bytes covered by successful posix_fadvise calls; a length of zero extends to the end of the file.",
     .attributes = kRequestedAttributes},
};

constexpr std::array<std::string_view, CACHE_ADVICES> kAdviceNames = {"normal",   "random",   "sequential",
                                                                      "willneed", "dontneed", "noreuse"};

constexpr SeriesList make_series() {
  SeriesList all;
  all.add({kRead, Source::Counter, CACHE_HIT, {"hit"}, Level::Standard, CACHE_FLAG_READ});
  all.add({kRead, Source::Counter, CACHE_MISS, {"miss"}, Level::Standard, CACHE_FLAG_READ});
  all.add({kAdded, Source::Counter, CACHE_ADDED, {}, Level::Detailed, CACHE_FLAG_ADDED});
  all.add({kEvicted, Source::Counter, CACHE_EVICTED, {}, Level::Detailed, CACHE_FLAG_EVICTED});
  all.add({kDirtied, Source::Counter, CACHE_DIRTIED, {}, Level::Detailed, CACHE_FLAG_DIRTIED});
  for (uint16_t advice = 0; advice < CACHE_ADVICES; ++advice) {
    all.add({kCalls,
             Source::Counter,
             static_cast<uint16_t>(CACHE_CALLS + advice),
             {kAdviceNames[advice]},
             Level::Standard,
             CACHE_FLAG_ADVICE});
  }
  all.add({kCalls, Source::Cells, 0, {}, Level::Standard, CACHE_FLAG_ADVICE});
  for (uint16_t advice = 0; advice < CACHE_ADVICES; ++advice) {
    all.add({kRequested,
             Source::Counter,
             static_cast<uint16_t>(CACHE_REQUESTED + advice),
             {kAdviceNames[advice]},
             Level::Detailed,
             CACHE_FLAG_REQUESTED});
  }
  return all;
}
constexpr auto kSeries = series_of<make_series>();

bool has_tracepoints(const Features& features) { return features.has_tracepoint("mm_filemap_get_pages"); }
bool has_none(const Features& features) { return !has_tracepoints(features); }
bool advice_by_function(const Features& features) {
  return features.fentry && !features.preemptible && features.has_function(SONDE_SYSCALL_PREFIX CACHE_FADVISE);
}
// A tracepoint of one system call is named by its number in tracefs, which need not be mounted.
bool has_tracefs() {
  for (const char* root : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
    if (access((std::string(root) + "/events/syscalls/sys_exit_" CACHE_FADVISE "/id").c_str(), R_OK) == 0) return true;
  }
  return false;
}
bool advice_by_tracepoint(const Features& features) { return !advice_by_function(features) && has_tracefs(); }
bool advice_by_all_calls(const Features& features) { return !advice_by_function(features) && !has_tracefs(); }

constexpr uint8_t kAdviceFlags = CACHE_FLAG_ADVICE | CACHE_FLAG_REQUESTED;
constexpr uint16_t kSyscallExitNs = 40;  // README.md, "Cost"

constexpr ProgramSpec kPrograms[] = {
    {.program = "cache_added",
     .hook = "tp_btf/mm_filemap_add_to_page_cache",
     .flags = CACHE_FLAG_READ | CACHE_FLAG_ADDED,
     .gap = "misses and added pages (sonde.page_cache.read, .added) are not counted, and hits are too high"},
    {.program = "cache_get_pages",
     .hook = "tp_btf/mm_filemap_get_pages",
     .flags = CACHE_FLAG_READ,
     .gap = "hits of reads are not counted",
     .needed = has_tracepoints},
    {.program = "cache_fault",
     .hook = "tp_btf/mm_filemap_fault",
     .flags = CACHE_FLAG_READ,
     .gap = "hits of faults not served by fault-around are not counted",
     .needed = has_tracepoints},
    {.program = "cache_map_pages",
     .hook = "tp_btf/mm_filemap_map_pages",
     .flags = CACHE_FLAG_READ,
     .gap = "hits of faults served by fault-around are not counted",
     .needed = has_tracepoints},
    {.program = "cache_get_pages_fexit",
     .hook = "fexit/filemap_get_pages",
     .flags = CACHE_FLAG_READ,
     .gap = "hits of reads are not counted: the kernel neither has the tracepoint mm_filemap_get_pages nor supports "
            "fexit programs",
     .needed = has_none},
    {.program = "cache_fault_fentry",
     .hook = "fentry/filemap_fault",
     .flags = CACHE_FLAG_READ,
     .gap = "hits of faults not served by fault-around are not counted",
     .needed = has_none},
    {.program = "cache_map_pages_fexit",
     .hook = "fexit/filemap_map_pages",
     .flags = CACHE_FLAG_READ,
     .gap = "hits of faults served by fault-around are not counted",
     .needed = has_none},
    {.program = "cache_evicted",
     .hook = "tp_btf/mm_filemap_delete_from_page_cache",
     .flags = CACHE_FLAG_EVICTED,
     .gap = "evicted pages (sonde.page_cache.evicted) are not counted"},
    {.program = "cache_dirtied",
     .hook = "tp_btf/writeback_dirty_folio",
     .flags = CACHE_FLAG_DIRTIED,
     .gap = "dirtied pages (sonde.page_cache.dirtied) are not counted"},
    {.program = "cache_fadvise_fexit",
     .hook = "fexit/" SONDE_SYSCALL_PREFIX CACHE_FADVISE,
     .flags = kAdviceFlags,
     .gap = "posix_fadvise calls (sonde.fadvise.calls, .requested) are not counted",
     .needed = advice_by_function},
    {.program = "cache_fadvise",
     .hook = "tp/syscalls/sys_exit_" CACHE_FADVISE,
     .flags = kAdviceFlags,
     .gap = "posix_fadvise calls (sonde.fadvise.calls, .requested) are not counted",
     .cost_ns = kSyscallExitNs,
     .needed = advice_by_tracepoint},
    {.program = "cache_fadvise_raw",
     .hook = "tp_btf/sys_exit",
     .flags = kAdviceFlags,
     .gap = "posix_fadvise calls (sonde.fadvise.calls, .requested) are not counted",
     .needed = advice_by_all_calls},
};

constexpr std::string_view kNotes[] = {
    "A read counts whole pages. Its first use of a page that it read in itself is not a hit. "
    "Pages read in by io_uring's kernel workers count for the process that they work for.",
    "tmpfs, memfd and shared memory are not counted at all: no hits, misses, pages added or evicted.",
    "A fault on a mapped file counts one page; the kernel does not see further accesses to mapped pages.",
    "Writes are never hits or misses; neither are reads of file system metadata.",
    "Evicted pages are attributed to the cgroup whose memory they were; with the v1 memory controller, "
    "to the task that evicts them.",
    "If posix_fadvise is traced by its tracepoint, every system call on the node takes about 40 ns longer.",
};

constexpr ModuleInfo kInfo = {
    .name = "cache",
    .summary = "Page cache: hits and misses, pages added, evicted and dirtied, and posix_fadvise",
    .metrics = kMetrics,
    .series = kSeries,
    .programs = kPrograms,
    .needs =
        "BTF tracepoints of the page cache (Linux 6.7), or fentry on older kernels; "
        "CAP_BPF and CAP_PERFMON, and tracefs for posix_fadvise",
    .counters = CACHE_COUNTERS,
    .cells = true,
    .notes = kNotes,
};

class CacheModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  CellSeries decode_cell(uint32_t key) const override {
    if (key == kOtherCells) return {kCalls, AttributeValues{"", "_OTHER"}};
    const uint32_t advice = CACHE_FAILURE_ADVICE(key);
    return {kCalls, AttributeValues{advice < kAdviceNames.size() ? kAdviceNames[advice] : "",
                                    errno_name(CACHE_FAILURE_ERROR(key))}};
  }

  Result<void> prepare(bpf_object* object, const Features& features, int) const override {
    const auto shift = static_cast<uint32_t>(std::countr_zero(static_cast<uint64_t>(sysconf(_SC_PAGESIZE))));
    if (auto set = set_read_only(object, "cache_page_shift", shift); !set) return set;
    if (features.has_tracepoint("writeback_dirty_folio")) return {};
    // The same event under its name before 5.18; if that is missing too, the load fails and the gap is named.
    bpf_program* program = bpf_object__find_program_by_name(object, "cache_dirtied");
    if (!program || !features.has_tracepoint("writeback_dirty_page")) return {};
    if (const int error = bpf_program__set_attach_target(program, 0, "writeback_dirty_page")) {
      return Error::system("cannot select the tracepoint writeback_dirty_page", -error);
    }
    return {};
  }
};

}  // namespace

const Module& sonde_module_cache() {
  static const CacheModule module;
  return module;
}

}  // namespace sonde
