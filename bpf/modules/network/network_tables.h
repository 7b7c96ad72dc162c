/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
// What the network probe measures and by which programs.
#pragma once

#include <array>

#include "agent/module/module.h"
#include "agent/module/series.h"
#include "bpf/modules/network/network.h"

namespace sonde::network {

enum Metric : uint8_t {
  kTcpIo,
  kConnect,
  kOpened,
  kErrors,
  kRetransmits,
  kOverflows,
  kRoundTrip,
  kOpen,
  kSegments,
  kResets,
  kUdpIo,
  kDatagrams,
  kDnsLookup,
  kDrops,
};

constexpr AttributeSpec kDirection[] = {{"network.io.direction", "transmit, receive"}};
constexpr AttributeSpec kRole[] = {{"network.tcp.handshake.role", "client, server"}};
constexpr AttributeSpec kErrorAttributes[] = {
    {"network.tcp.handshake.role", "client, server"},
    {"error.type",
     "refused, reset, timed_out, host_unreachable, net_unreachable, _OTHER; server: reset, timed_out, _OTHER"}};

constexpr AttributeSpec kDnsAttributes[] = {
    {"dns.question.type", "A, AAAA, CNAME, HTTPS, MX, NS, PTR, SOA, SRV, TXT, _OTHER"},
    {"error.type", "formerr, servfail, nxdomain, notimp, refused, timed_out, _OTHER; absent on success"}};
constexpr AttributeSpec kDropAttributes[] = {
    {"sonde.network.drop.reason",
     "the kernel's name, such as no_socket, netfilter_drop; at most 8, the rest is other"}};

constexpr LegacySpec kLegacyIo[] = {{.to = {.name = "app_tcp_send_bytes", .help = "TCP payload sent."},
                                     .key = "network.io.direction",
                                     .value = "transmit"}};
constexpr LegacySpec kLegacySegments[] = {{.to = {.name = "app_tcp_send_events", .help = "TCP segments sent."},
                                           .key = "network.io.direction",
                                           .value = "transmit"}};

constexpr MetricSpec kMetrics[] = {
    {.name = "sonde.tcp.io",
     .unit = "By",
     .level = Level::Minimal,
     .description = "TCP payload: handed over by the application (transmit), received in order from the peer "
                    "(receive).",
     .attributes = kDirection,
     .legacy = kLegacyIo},
    {.name = "sonde.tcp.connect.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .description = "Time from the first SYN until the connection is established or fails."},
    {.name = "sonde.tcp.connections.opened",
     .unit = "{connection}",
     .description = "Established connections, by role.",
     .attributes = kRole},
    {.name = "sonde.tcp.connection.errors",
     .unit = "{connection}",
     .description = "Connections that could not be established, or ended with an error.",
     .attributes = kErrorAttributes,
     .from_zero = true},
    {.name = "sonde.tcp.retransmits",
     .unit = "{segment}",
     .description = "Retransmitted segments, including SYN and SYN-ACK.",
     .from_zero = true},
    {.name = "sonde.tcp.accept_queue.overflows",
     .unit = "{connection}",
     .description = "Connection attempts that a listener dropped because its accept queue was full.",
     .from_zero = true},
    {.name = "sonde.tcp.rtt",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .description = "Smoothed round-trip time, one sample per segment received on an established connection."},
    {.name = "sonde.tcp.active_connections",
     .unit = "{connection}",
     .instrument = Instrument::UpDownCounter,
     .level = Level::Detailed,
     .description = "Connections that neither the peer nor the application has closed."},
    {.name = "sonde.tcp.segments",
     .unit = "{segment}",
     .level = Level::Detailed,
     .description = "Segments of connections, with and without payload, as counted by TCP_INFO.",
     .attributes = kDirection,
     .legacy = kLegacySegments},
    {.name = "sonde.tcp.resets",
     .unit = "{segment}",
     .level = Level::Detailed,
     .description = "Segments with RST.",
     .attributes = kDirection},
    {.name = "sonde.udp.io",
     .unit = "By",
     .description = "UDP payload: sent (transmit), received for a socket (receive).",
     .attributes = kDirection},
    {.name = "sonde.udp.datagrams",
     .unit = "{datagram}",
     .level = Level::Detailed,
     .description = "UDP datagrams.",
     .attributes = kDirection},
    {.name = "sonde.dns.lookup.duration",
     .unit = "s",
     .instrument = Instrument::Histogram,
     .level = Level::Detailed,
     .description = "Time from a query to a DNS server on port 53 to its answer; 10 s if there is none.",
     .attributes = kDnsAttributes},
    {.name = "sonde.network.drops",
     .unit = "{packet}",
     .level = Level::OptIn,
     .description = "Packets dropped by the kernel.",
     .attributes = kDropAttributes},
};

constexpr std::array<std::string_view, 2> kDirections = {"transmit", "receive"};
constexpr std::array<std::string_view, NETWORK_ERRORS> kErrorNames = {
    "refused", "reset", "timed_out", "host_unreachable", "net_unreachable", "_OTHER"};

struct DnsType {
  uint32_t number;
  std::string_view name;
};
constexpr std::array<DnsType, 10> kDnsTypes = {{{NETWORK_DNS_A, "A"},
                                                {NETWORK_DNS_NS, "NS"},
                                                {NETWORK_DNS_CNAME, "CNAME"},
                                                {NETWORK_DNS_SOA, "SOA"},
                                                {NETWORK_DNS_PTR, "PTR"},
                                                {NETWORK_DNS_MX, "MX"},
                                                {NETWORK_DNS_TXT, "TXT"},
                                                {NETWORK_DNS_AAAA, "AAAA"},
                                                {NETWORK_DNS_SRV, "SRV"},
                                                {NETWORK_DNS_HTTPS, "HTTPS"}}};
constexpr std::array<std::string_view, NETWORK_DNS_OUTCOMES> kDnsOutcomes = {
    "", "formerr", "servfail", "nxdomain", "notimp", "refused", "_OTHER", "timed_out"};

constexpr CellSeries dns_series(uint32_t key) {
  if (key == kOtherCells) return {kDnsLookup, {"_OTHER", "_OTHER"}};
  std::string_view type = "_OTHER";
  for (const DnsType& one : kDnsTypes) {
    if (one.number == NETWORK_DNS_TYPE(key)) type = one.name;
  }
  const uint32_t outcome = NETWORK_DNS_OUTCOME(key);
  return {kDnsLookup, {type, outcome < kDnsOutcomes.size() ? kDnsOutcomes[outcome] : "_OTHER"}};
}

constexpr SeriesSpec counter(Metric metric, uint16_t index, AttributeValues values, Level level, uint8_t flag) {
  return {metric, Source::Counter, index, values, level, flag};
}

constexpr SeriesList make_series() {
  SeriesList all;
  for (uint16_t i = 0; i < 2; i++) {
    const auto at = [i](int first) { return static_cast<uint16_t>(first + i); };
    all.add(counter(kTcpIo, at(NETWORK_TCP_TRANSMIT), {kDirections[i]}, Level::Minimal, NETWORK_TCP_IO));
    all.add(counter(kSegments, at(NETWORK_SEGMENTS_TRANSMIT), {kDirections[i]}, Level::Detailed, NETWORK_DETAIL));
    all.add(counter(kUdpIo, at(NETWORK_UDP_TRANSMIT), {kDirections[i]}, Level::Standard, NETWORK_UDP));
    all.add(counter(kDatagrams, at(NETWORK_DATAGRAMS_TRANSMIT), {kDirections[i]}, Level::Detailed, NETWORK_UDP));
    all.add(counter(kResets, at(NETWORK_RESETS_TRANSMIT), {kDirections[i]}, Level::Detailed, NETWORK_DETAIL));
  }
  const auto standard = Level::Standard;
  all.add({kConnect, Source::Histogram, NETWORK_CONNECT, {}, standard, NETWORK_CONNECTIONS, 1e-9});
  all.add({kRoundTrip, Source::Histogram, NETWORK_ROUND_TRIP, {}, standard, NETWORK_RTT, 1e-9});
  all.add(counter(kOpened, NETWORK_OPENED_CLIENT, {"client"}, standard, NETWORK_CONNECTIONS));
  all.add(counter(kOpened, NETWORK_OPENED_SERVER, {"server"}, standard, NETWORK_CONNECTIONS));
  for (uint16_t error = 0; error < NETWORK_ERRORS; error++) {
    const auto place = static_cast<uint16_t>(NETWORK_CLIENT_ERROR + error);
    all.add(counter(kErrors, place, {"client", kErrorNames[error]}, standard, NETWORK_CONNECTIONS));
  }
  for (const uint16_t error : {NETWORK_RESET, NETWORK_TIMED_OUT, NETWORK_OTHER_ERROR}) {
    const auto place = static_cast<uint16_t>(NETWORK_SERVER_ERROR + error);
    all.add(counter(kErrors, place, {"server", kErrorNames[error]}, standard, NETWORK_CONNECTIONS));
  }
  all.add(counter(kRetransmits, NETWORK_RETRANSMITS, {}, standard, NETWORK_TROUBLE));
  all.add(counter(kOverflows, NETWORK_OVERFLOWS, {}, standard, NETWORK_TROUBLE));
  all.add({kOpen, Source::Gauge, NETWORK_OPEN, {}, Level::Detailed, NETWORK_DETAIL});
  all.add({kDnsLookup, Source::KeyedHistogram, 0, {}, Level::Detailed, NETWORK_DNS, 1e-9});
  all.add({kDrops, Source::Cells, 0, {}, Level::OptIn, NETWORK_DROPS});
  return all;
}
constexpr auto kSeries = series_of<make_series>();

// tcp_done_with_error() came with the change that sets state and error together (6.10).
inline bool announces_errors_early(const Features& features) { return !features.has_function("tcp_done_with_error"); }

inline bool announces_errors_late(const Features& features) { return !announces_errors_early(features); }

// Otherwise what is older than we is found by its next segment.
inline bool sees_first_pid_namespace(const Features& features) { return features.first_pid_namespace; }

inline bool sees_only_its_own(const Features& features) { return !features.first_pid_namespace; }

inline bool iterates_over_maps(const Features& features) { return features.map_iterators; }

inline bool iterates_over_files_only(const Features& features) { return !features.map_iterators; }

constexpr ProgramSpec kPrograms[] = {
    {.program = "network_state", .hook = "tp_btf/inet_sock_set_state", .flags = NETWORK_SOCKETS},
    {.program = "network_connect_v4",
     .hook = "fexit/tcp_v4_connect",
     .flags = NETWORK_CONNECTIONS,
     .gap = "IPv4 connections that fail before the first SYN (no route) are not in sonde.tcp.connection.errors"},
    {.program = "network_connect_v6",
     .hook = "fexit/tcp_v6_connect",
     .flags = NETWORK_CONNECTIONS,
     .gap = "IPv6 connections that fail before the first SYN (no route) are not in sonde.tcp.connection.errors"},
    {.program = "network_error_report",
     .hook = "fentry/sk_error_report",
     .flags = NETWORK_CONNECTIONS,
     .gap = "a connect() error that the application fetches immediately may count as _OTHER",
     .needed = announces_errors_early},
    {.program = "network_done_with_error",
     .hook = "fentry/tcp_done_with_error",
     .flags = NETWORK_CONNECTIONS,
     .gap = "a connect() error that the application fetches immediately may count as _OTHER",
     .needed = announces_errors_late},
    {.program = "network_retransmit", .hook = "tp_btf/tcp_retransmit_skb", .flags = NETWORK_TROUBLE},
    {.program = "network_retransmit_synack",
     .hook = "tp_btf/tcp_retransmit_synack",
     .flags = NETWORK_TROUBLE,
     .gap = "sonde.tcp.retransmits does not count SYN-ACKs"},
    {.program = "network_probe",
     .hook = "tp_btf/tcp_probe",
     .flags = NETWORK_RTT,
     .gap = "sonde.tcp.rtt is not measured",
     .needed = sees_first_pid_namespace},
    {.program = "network_probe_and_find",
     .hook = "tp_btf/tcp_probe",
     .flags = NETWORK_RTT | NETWORK_BY_SOCKET,
     .gap = "sonde.tcp.rtt is not measured, and connections older than the agent, or than their container's "
            "selection, are not in sonde.tcp.io and .segments",
     .needed = sees_only_its_own},
    {.program = "network_send_reset",
     .hook = "tp_btf/tcp_send_reset",
     .flags = NETWORK_DETAIL,
     .gap = "sonde.tcp.resets does not count sent resets"},
    {.program = "network_receive_reset",
     .hook = "tp_btf/tcp_receive_reset",
     .flags = NETWORK_DETAIL,
     .gap = "sonde.tcp.resets does not count received resets"},
    {.program = "network_packet_in",
     .hook = "cgroup_skb/ingress",
     .flags = NETWORK_TROUBLE | NETWORK_UDP,
     .gap = "sonde.tcp.accept_queue.overflows and received UDP are not measured"},
    {.program = "network_packet_out",
     .hook = "cgroup_skb/egress",
     .flags = NETWORK_UDP,
     .gap = "transmitted UDP is not measured"},
    {.program = "network_dns_in",
     .hook = "cgroup_skb/ingress",
     .flags = NETWORK_DNS,
     .gap = "sonde.dns.lookup.duration is not measured"},
    {.program = "network_dns_out",
     .hook = "cgroup_skb/egress",
     .flags = NETWORK_DNS,
     .gap = "sonde.dns.lookup.duration is not measured"},
    {.program = "network_expire",
     .hook = "run by the agent before a collection",
     .flags = 0,
     .gap = "lookups without an answer are not in sonde.dns.lookup.duration"},
    {.program = "network_drop",
     .hook = "tp_btf/kfree_skb",
     .flags = NETWORK_DROPS,
     .gap = "sonde.network.drops is not measured"},
    {.program = "network_begin", .hook = "run by the agent before the others are attached", .flags = 0},
    {.program = "network_select", .hook = "run by the agent before subjects are selected", .flags = 0},
    {.program = "network_seed",
     .hook = "iter/task_file, run by the agent when subjects are selected",
     .flags = 0,
     .gap = "connections older than the agent, or than their container's selection, are not in sonde.tcp.io, "
            ".segments and .active_connections",
     .needed = sees_first_pid_namespace},
    {.program = "network_next_pass", .hook = "run by the agent before a collection", .flags = 0},
    {.program = "network_flush",
     .hook = "iter/bpf_sk_storage_map, run by the agent before a collection",
     .flags = 0,
     .needed = iterates_over_maps},
    {.program = "network_flush_files",
     .hook = "iter/task_file, run by the agent before a collection",
     .flags = 0,
     .needed = iterates_over_files_only},
};

}  // namespace sonde::network
