// SPDX-License-Identifier: Apache-2.0
// The network probe in user space: its tables, and the programs that are run instead of attached.
#include "bpf/modules/network/network.h"

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include <memory>
#include <string>

#include "agent/module/bpf_run.h"
#include "agent/module/mapped.h"
#include "agent/module/module.h"
#include "agent/module/read_only.h"
#include "bpf/modules/network/established_tables.h"
#include "bpf/modules/network/network_tables.h"
#include "bpf/modules/network/reasons_tables.h"
#include "sonde/spans.h"

namespace sonde {
namespace {

constexpr std::string_view kNotes[] = {
    "Traffic is attributed to the cgroup of the process that created the socket; "
    "accepted connections to that of the listener.",
    "transmit is what the application handed over, even if the connection breaks before all of it is delivered.",
    "If the agent has its own PID namespace (as in the chart's pod), connections older than the agent are counted "
    "from their next segment on, and sonde.tcp.active_connections of such containers is derived from CurrEstab of "
    "their pod's network namespace.",
    "Multipath TCP: payload and connections are counted on the application's socket, segments and retransmits on its "
    "subflows.",
    "Data that a sockmap program passes from socket to socket (as Cilium can) bypasses TCP and is not counted.",
    "UDP-Lite counts as UDP. Datagrams dropped by another cgroup program are not counted if that program is attached "
    "below the root, or at the root before Sonde's.",
    "Retransmitted segments do not count as payload. Peeked bytes count once, when they arrive.",
    "With granularity Process, sockets are still attributed to the container, not to a process.",
    "Packet programs are attached at the root of the cgroup tree (CAP_NET_ADMIN); "
    "a container's own cgroup programs attached without BPF_F_ALLOW_MULTI hide its packets.",
};

constexpr SpanSpec kSpans[] = {
    {SONDE_SPAN_CONNECT, NETWORK_CONNECTIONS},
    {SONDE_SPAN_DNS_LOOKUP, NETWORK_DNS},
};

constexpr ModuleInfo kInfo = {
    .name = "network",
    .summary = "TCP and UDP: payload, connections and their errors, retransmits, round-trip times, DNS, drops",
    .metrics = network::kMetrics,
    .series = network::kSeries,
    .programs = network::kPrograms,
    .needs =
        "BTF, socket storage for tracing programs (Linux 5.11); CAP_BPF, CAP_PERFMON, and CAP_NET_ADMIN for "
        "packets",
    .counters = NETWORK_COUNTERS,
    .histograms = NETWORK_HISTOGRAMS,
    .gauges = NETWORK_GAUGES,
    .cells = true,
    .keyed_histograms = true,
    .spans = kSpans,
    .notes = kNotes,
};

// Nothing shows us the sockets that have a note: neither an iterator over maps nor the descriptors of other processes.
bool is_blind(bpf_object* object) {
  return program_fd(object, "network_flush") < 0 && program_fd(object, "network_seed") < 0;
}

// Parameters of a tracepoint, without the one that is always there.
int parameters_of(const btf* types, const char* tracepoint) {
  const std::string name = std::string("btf_trace_") + tracepoint;
  const int id = btf__find_by_name_kind(types, name.c_str(), BTF_KIND_TYPEDEF);
  if (id < 0) return 0;
  const btf_type* type = btf__type_by_id(types, btf__type_by_id(types, static_cast<__u32>(id))->type);
  if (type && btf_is_ptr(type)) type = btf__type_by_id(types, type->type);
  return type && btf_is_func_proto(type) ? btf_vlen(type) - 1 : 0;
}

class NetworkModule final : public Module {
 public:
  const ModuleInfo& info() const override { return kInfo; }

  CellSeries decode_cell(uint32_t key) const override {
    return {network::kDrops, AttributeValues{key == kOtherCells ? "other" : network::drop_reason(key)}};
  }

  CellSeries decode_keyed(uint32_t key) const override { return network::dns_series(key); }

  SpanWords decode_span(const sonde_span& span) const override {
    if (span.operation != SONDE_SPAN_DNS_LOOKUP) return {};
    const AttributeValues values = network::dns_series(span.detail).values;
    return {.error_type = values[1], .dns_type = values[0]};
  }

  Result<void> prepare(bpf_object* object, const Features& features, int) const override {
    const bool by_segment = network::sees_only_its_own(features) && !network::iterates_over_maps(features);
    if (auto set = set_read_only(object, "network_by_segment", by_segment); !set) return set;
    const std::unique_ptr<btf, decltype(&btf__free)> kernel(btf__load_vmlinux_btf(), btf__free);
    if (!kernel) return {};
    const auto retransmit = parameters_of(kernel.get(), "tcp_retransmit_skb"),
               drop = parameters_of(kernel.get(), "kfree_skb");
    if (auto set = set_read_only(object, "network_retransmit_has_error", retransmit > 2); !set) return set;
    if (auto set = set_read_only(object, "network_drop_has_reason", drop > 2); !set) return set;
    return set_read_only(object, "network_drop_has_socket", drop > 3);
  }

  Result<void> begin(bpf_object* object) const override {
    if (auto begun = run_program(object, "network_begin"); !begun) return begun.error().with("nothing will be counted");
    return selected(object);
  }

  Result<void> selected(bpf_object* object) const override {
    if (auto noted = run_program(object, "network_select"); !noted) return noted;
    if (auto ran = run_iterator(object, "network_seed"); !ran) return ran;
    // Notes of before the programs were attached again; where the descriptors tell of all sockets this was done with them.
    if (program_fd(object, "network_seed") >= 0) return {};
    return run_map_iterator(object, "network_flush", "network_sockets");
  }

  Result<void> flush(bpf_object* object) const override {
    if (auto ran = run_program(object, "network_expire"); !ran) return ran;
    if (auto ran = run_program(object, "network_next_pass"); !ran) return ran;
    const auto gauges = Mapped::map(object, "network_gauges");
    for (uint32_t slot = 0; gauges && slot < gauges->entries(); slot++) {
      int64_t& bypassed = gauges->at<int64_t>(slot)[NETWORK_BYPASSED];
      if (bypassed) bypassed = 0;
    }
    if (auto ran = run_iterator(object, "network_flush_files"); !ran) return ran;
    return run_map_iterator(object, "network_flush", "network_sockets");
  }

  std::vector<std::string> gaps(bpf_object* object) const override {
    std::vector<std::string> gaps;
    if (is_blind(object)) {
      gaps.emplace_back(
          "this kernel refuses map iterators and the agent is not in the host's PID namespace: "
          "the last segment of a connection that stays open is not in sonde.tcp.io and .segments until the next one arrives or "
          "the connection ends, and data that bypasses TCP through a sockmap is not noticed");
    }
    const auto gauges = Mapped::map(object, "network_gauges");
    bool unknown = false;
    bool bypassed = false;
    for (uint32_t slot = 0; gauges && slot < gauges->entries(); slot++) {
      unknown = unknown || gauges->at<int64_t>(slot)[NETWORK_OPEN] == SONDE_NO_GAUGE;
      bypassed = bypassed || gauges->at<int64_t>(slot)[NETWORK_BYPASSED];
    }
    if (unknown) {
      gaps.emplace_back(
          "sonde.tcp.active_connections is missing for containers whose connections are not all known (they are older than "
          "the agent, or this kernel refuses map iterators) and that share a network namespace with other containers or the "
          "host: the connections cannot be told apart");
    }
    if (bypassed) {
      gaps.emplace_back(
          "sockets of measured containers are in a sockmap (as with Cilium): "
          "data that its program passes from socket to socket bypasses TCP and is not in sonde.tcp.io");
    }
    return gaps;
  }

  // The iterator counts separately; the published value only changes when the count is complete.
  Result<void> refresh(bpf_object* object) const override {
    const auto gauges = Mapped::map(object, "network_gauges");
    if (!gauges) return gauges.error();
    const auto row = [&](uint32_t slot) { return gauges->at<int64_t>(slot); };
    for (uint32_t slot = 0; slot < gauges->entries(); slot++) row(slot)[NETWORK_OPEN_NEXT] = 0;
    if (auto ran = flush(object); !ran) return ran;
    for (uint32_t slot = 0; slot < gauges->entries(); slot++) {
      __atomic_store_n(&row(slot)[NETWORK_OPEN], row(slot)[NETWORK_OPEN_NEXT], __ATOMIC_RELAXED);
    }
    return {};
  }

  // If the descriptors of all processes have shown the older connections, nothing is unknown.
  Result<void> settle(bpf_object* object, std::span<const StateSubject> subjects,
                      const HostTree& machine) const override {
    if (program_fd(object, "network_seed") >= 0) return {};
    const auto gauges = Mapped::map(object, "network_gauges");
    if (!gauges) return gauges.error();
    network::settle_connections(subjects, NETWORK_DETAIL, machine, is_blind(object),
                                [&](uint32_t slot) -> int64_t& { return gauges->at<int64_t>(slot)[NETWORK_OPEN]; });
    return {};
  }
};

}  // namespace

const Module& sonde_module_network() {
  static const NetworkModule module;
  return module;
}

}  // namespace sonde
