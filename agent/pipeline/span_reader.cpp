// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/span_reader.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/random.h>

#include <algorithm>
#include <cstring>

#include "agent/base/clock.h"
#include "agent/module/errno_name.h"

namespace sonde {
namespace {

static_assert(SONDE_SPAN_FUNCTION == static_cast<int>(SpanOperation::Function));
static_assert(SONDE_SPAN_OOM_KILL == static_cast<int>(SpanOperation::OomKill));
static_assert(SONDE_SPAN_BLOCK_IO == static_cast<int>(SpanOperation::BlockIO));
static_assert(kSpanOperations <= SONDE_SPAN_OPERATIONS);

template <std::size_t N>
std::string text_of(const char (&field)[N]) {
  return {field, strnlen(field, N)};
}

std::string_view direction_of(uint16_t direction) {
  constexpr std::array<std::string_view, 5> kWords{"", "read", "write", "discard", "flush"};
  return direction < kWords.size() ? kWords[direction] : "";
}

std::string_view transport_of(uint16_t protocol) {
  return protocol == IPPROTO_TCP ? "tcp" : protocol == IPPROTO_UDP ? "udp" : "";
}

std::string address_of(const sonde_span& record) {
  if (record.family != AF_INET && record.family != AF_INET6) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  const char* made = inet_ntop(record.family, record.address, text.data(), text.size());
  return made ? made : "";
}

std::string error_type_of(const sonde_span& record, const SpanWords& words) {
  if (!words.error_type.empty()) return std::string(words.error_type);
  if (record.error == 0) return {};
  return std::string(record.error > 0 ? errno_name(static_cast<uint32_t>(record.error)) : std::string_view("_OTHER"));
}

// From the kernel's generator: ids of different nodes must not meet. All zero means "no id" (W3C Trace Context), which
// 8 bytes of it are once in 2^64.
template <std::size_t N>
void make_id(std::array<uint8_t, N>& id) {
  do {
    if (getrandom(id.data(), id.size(), 0) == static_cast<ssize_t>(id.size())) continue;
    const uint64_t now = monotonic_ns();  // before the first entropy of a machine
    std::memcpy(id.data(), &now, std::min(sizeof(now), id.size()));
  } while (std::ranges::all_of(id, [](uint8_t byte) { return byte == 0; }));
}

bool qualifies(const sonde_span& record, const TraceSettings& settings, std::string_view function, bool failed) {
  const uint32_t threshold = settings.threshold_us[record.operation];
  if (threshold == 0) return false;
  if (record.operation != SONDE_SPAN_FUNCTION) return true;
  const auto own = settings.functions.find(function);
  if (own == settings.functions.end()) return false;
  const bool by_error = failed && (settings.errors >> record.operation & 1) != 0;
  return by_error || record.end_ns - record.start_ns >= own->second * uint64_t{1000};
}

}  // namespace

SpanClock SpanClock::read() {
  SpanClock clock;
  const uint64_t before = sonde::monotonic_ns();
  clock.real_ns = realtime_ns();
  clock.monotonic_ns = before + (sonde::monotonic_ns() - before) / 2;
  return clock;
}

uint64_t SpanClock::real_of(uint64_t monotonic) const {
  const uint64_t age = monotonic < monotonic_ns ? monotonic_ns - monotonic : 0;
  return age < real_ns ? real_ns - age : 1;
}

std::optional<sonde_span> span_record(std::span<const std::byte> bytes) {
  sonde_span record{};
  if (bytes.size() != sizeof(record)) return std::nullopt;
  std::memcpy(&record, bytes.data(), sizeof(record));
  if (record.operation >= kSpanOperations || record.end_ns < record.start_ns) return std::nullopt;
  return record;
}

sonde_span_config span_config(const TraceSettings& settings) {
  sonde_span_config config{};
  if (settings.policy.empty()) return config;
  std::ranges::copy(settings.threshold_us, config.threshold_us);
  config.errors = settings.errors;
  return config;
}

SpanReader::SpanReader(std::span<const ModuleEntry> modules) {
  for (const ModuleEntry& entry : modules) {
    for (const SpanSpec& span : entry.module->info().spans) {
      if (span.operation < kSpanOperations) modules_[span.operation] = entry.module;
    }
  }
}

std::optional<Span> SpanReader::read(const sonde_span& record, const TraceSettings& settings, const SpanClock& clock) const {
  const Module* module = modules_[record.operation];
  const SpanWords words = module ? module->decode_span(record) : SpanWords{};
  Span span;
  span.operation = static_cast<SpanOperation>(record.operation);
  span.error_type = error_type_of(record, words);
  if (!qualifies(record, settings, words.function_name, !span.error_type.empty())) return std::nullopt;
  span.end_unix_ns = clock.real_of(record.end_ns);
  span.start_unix_ns = span.end_unix_ns - std::min(record.end_ns - record.start_ns, span.end_unix_ns - 1);
  span.slot = record.slot;
  span.pid = record.tgid;
  span.tid = record.tid;
  span.comm = text_of(record.comm);
  span.executable = text_of(record.leader_comm);
  span.error = record.error;
  const bool always = span.operation == SpanOperation::OomKill;
  const auto own = settings.functions.find(words.function_name);
  const uint32_t threshold = own != settings.functions.end() && !words.function_name.empty() ? own->second : record.threshold_us;
  span.threshold = always ? 0 : threshold / 1e6;
  span.suppressed = record.suppressed;
  span.bytes = record.bytes;
  span.device = words.device;
  span.direction = direction_of(record.direction);
  span.transport = transport_of(record.transport);
  if (settings.peer_address) span.peer_address = address_of(record);
  span.peer_port = record.port;
  span.dns_type = words.dns_type;
  span.lock_kind = words.lock_kind;
  if (span.operation == SpanOperation::OomKill) span.oom_scope = record.detail == SONDE_SPAN_OOM_GLOBAL ? "global" : "memcg";
  span.function_name = words.function_name;
  span.policy = settings.policy;
  make_id(span.trace_id);
  make_id(span.span_id);
  return span;
}

}  // namespace sonde
