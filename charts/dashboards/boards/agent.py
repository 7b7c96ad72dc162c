# SPDX-License-Identifier: Apache-2.0
"""Sonde itself: what it measures, what it costs, what it loses."""

from kit import queries as q
from kit.common import trust
from kit.layout import dashboard, row
from kit.panels import graph, stat, table
from kit.variables import cluster, datasource, node

N = q.NODE
BY_NODE = ("k8s_node_name",)
NAME = "{{k8s_node_name}}"
MODULE = "{{sonde_module}}"
EXPORTER = NAME + " {{sonde_exporter}}"


def cost():
    programs, own = q.rate("sonde_module_run_time_seconds_total", N), q.rate("sonde_agent_cpu_time_seconds_total", N)
    return row(
        "Cost",
        graph("CPU by node",
              "CPUs used by the agent process and by its BPF programs together, and the budget, if there is one.",
              [(q.total(q.series("sonde_agent_overhead_usage", N), *BY_NODE), NAME),
               (f"{q.total(q.series('sonde_agent_overhead_budget', N), *BY_NODE)} > 0", NAME + " budget")], width=8),
        graph("CPU by probe", "CPUs used by the BPF programs of each probe, over all nodes; an estimate from samples.",
              [(q.total(programs, "sonde_module"), MODULE)], width=8, stacked=True),
        graph("CPU of the agent process", "Collecting, naming and exporting; without BPF programs.",
              [(q.total(own, *BY_NODE), NAME)], width=8),
        graph("Time per run of a BPF program", "Mean over all programs of a probe, at the slowest node.",
              [(q.largest(q.series("sonde_module_run_mean_seconds", N), "sonde_module"), MODULE)], "s", 8),
        graph("Memory of the agent", "Resident memory of the process.",
              [(q.total(q.series("sonde_agent_memory_resident_bytes", N), *BY_NODE), NAME)], "bytes", 8),
        graph("Kernel memory of BPF maps", "By probe, over all nodes.",
              [(q.total(q.series("sonde_map_memory_bytes", N), "sonde_module"), MODULE)], "bytes", 8, stacked=True))


def measured():
    return row(
        "What is measured: effect of the policies",
        graph("State of the probes", "Number of nodes on which a probe is in each state. off: no policy requests it.",
              [(f"{q.total(q.series('sonde_module_state', N), 'sonde_module', 'sonde_state')} > 0",
                MODULE + " {{sonde_state}}")], width=12),
        table("Probes that are not running",
              "A probe is degraded if some of its programs could not be attached; `sonde status` on the node "
              "has the reason.", q.series("sonde_module_state", N, 'sonde_state=~"degraded|failed|throttled"') + " > 0",
              (("k8s_node_name", "Node"), ("sonde_module", "Probe"), ("sonde_state", "State")), "Now", width=12, height=8),
        graph("Events by probe", "Runs of BPF programs.", [(q.total(q.rate("sonde_module_events_total", N), "sonde_module"),
                                                            MODULE)],
              "ops", 8, stacked=True),
        graph("Series and Resources",
              "Series that have changed at least once, and Resources (containers, cgroups, the node) that have any.",
              [(q.total(q.series("sonde_agent_series", N), *BY_NODE), NAME + " series"),
               (q.total(q.series("sonde_agent_streams", N), *BY_NODE), NAME + " Resources")], width=8),
        graph("Throttling by the CPU budget", "0: none, 1: histograms are sampled, 2: one level lower, 3: switched off.",
              [(q.largest(q.series("sonde_module_overhead_step", N), *BY_NODE, "sonde_module"), NAME + " " + MODULE)], width=8))


def losses():
    return row(
        "Losses in the kernel",
        graph("Events lost", "Events that could not be counted where they belong, by reason.",
              [(q.top(10, q.total(q.rate("sonde_module_losses_total", N), "sonde_module", "sonde_reason")),
                MODULE + " {{sonde_reason}}")],
              "cps", 8),
        graph("Runs skipped by the kernel", "Events that are missing from every metric.",
              [(q.total(q.rate("sonde_module_missed_runs_total", N), "sonde_module"), MODULE)], "cps", 8),
        graph("BPF maps in use", "Entries by capacity, of the fullest node. Above 0.8, `sonde status` warns.",
              [(q.top(10, q.largest(q.ratio(q.series("sonde_map_entries", N), q.series("sonde_map_capacity", N)),
                                    "sonde_module", "sonde_map")), MODULE + " {{sonde_map}}")], "percentunit", 8, most=1),
        graph("Slots in use", "One per container, cgroup or process, of limits.subjects.",
              [(q.ratio(q.total(q.series("sonde_agent_slots_used", N), *BY_NODE),
                        q.total(q.series("sonde_agent_slots_capacity", N), *BY_NODE)), NAME)], "percentunit", 8, most=1),
        graph("Samples that no container got", "Counted as unattributed or in an overflow series, by reason.",
              [(q.total(q.rate("sonde_agent_samples_detoured_total", N), "sonde_reason"), "{{sonde_reason}}")], "cps", 8),
        graph("Samples discarded",
              "Samples that are in no series, by reason; not_selected and not_asked are what policies left out.",
              [(q.total(q.rate("sonde_agent_samples_discarded_total", N), "sonde_reason"), "{{sonde_reason}}")], "cps", 8))


def export():
    duration = "sonde_agent_{}_duration_seconds"
    return row(
        "Collection and export",
        graph("Points accepted", "Points that the receivers took.",
              [(q.total(q.rate("sonde_agent_export_points_total", N), *BY_NODE, "sonde_exporter"), EXPORTER)], "cps", 8),
        graph("Points lost on the way", "Dropped before they were sent, or rejected by the receiver.",
              [(q.total(q.rate(f"sonde_agent_export_points_{what}_total", N), *BY_NODE, "sonde_exporter"), f"{EXPORTER} {what}")
               for what in ("dropped", "rejected")], "cps", 8),
        graph("Retries", "Requests that were sent again.",
              [(q.total(q.rate("sonde_agent_export_retries_total", N), *BY_NODE, "sonde_exporter"), EXPORTER)], "cps", 8),
        graph("Bytes exported", "On the wire.",
              [(q.total(q.rate("sonde_agent_export_io_bytes_total", N), *BY_NODE, "sonde_exporter"), EXPORTER)], "Bps", 8),
        graph("Duration, p99", "Of a collection (reading all data from the kernel) and of handing a batch to all exporters.",
              [(q.quantile(0.99, duration.format(what), N), what) for what in ("collection", "export")], "s", 8),
        graph("Queues", "Memory used by queued batches, between the stages and in the exporters.",
              [(q.total(q.series("sonde_agent_queue_memory_bytes", N), *BY_NODE, "sonde_queue"), NAME + " {{sonde_queue}}"),
               (q.total(q.series("sonde_agent_export_queue_memory_bytes", N), *BY_NODE, "sonde_exporter"), EXPORTER)], "bytes",
               8),
        stat("Versions", "Agents by version.", f"count by (version) ({q.series('sonde_build_info', N)})", width=8),
        graph("Age of pod names", "Time since the source of pod and container names last answered.",
              [(q.largest(q.series("sonde_agent_snapshot_age_seconds", N), *BY_NODE, "sonde_identity_source"),
                NAME + " {{sonde_identity_source}}")], "s", 16, 4))


def spans():
    """Counters that are 0 where no policy has traces enabled."""
    return row(
        "Spans",
        graph("Spans", "Spans handed to the exporters.",
              [(q.total(q.rate("sonde_agent_spans_total", N), *BY_NODE), NAME)], "cps", 8),
        graph("Spans suppressed", "Operations that qualified as spans but exceeded the limit of their policy.",
              [(q.total(q.rate("sonde_agent_spans_suppressed_total", N), *BY_NODE), NAME)], "cps", 8),
        graph("Spans lost", "Spans that were lost before they could be exported, by reason.",
              [(q.total(q.rate("sonde_agent_spans_lost_total", N), *BY_NODE, "sonde_reason"), NAME + " {{sonde_reason}}")],
              "cps", 8))


def board():
    return dashboard("sonde-agent", "Sonde itself", "What the agents measure, cost and lose.", [datasource(), cluster(),
                                                                                                node()],
                     [trust(N), cost(), measured(), losses(), export(), spans()])
