# SPDX-License-Identifier: Apache-2.0
"""Panels and rows that more than one dashboard has."""

from . import queries as q
from .layout import row
from .panels import GREEN, ORANGE, RED, classic_heat, graph, native_heat, stat, steps

ANY = steps(GREEN, (0.0001, RED))
POD_LINK = (
    "Pod",
    "This pod in depth",
     "/d/sonde-pod?${datasource:queryparam}&var-cluster=$cluster&var-pod=${__value.raw}&${__url_time_range}")
OF_ONE = "{{k8s_namespace_name}}/{{k8s_pod_name}}/{{k8s_container_name}}"
OF_WORKLOAD = "{{k8s_namespace_name}}/{{sonde_workload_name}}"
COLUMNS = (("k8s_namespace_name", "Namespace"), ("sonde_workload_name", "Workload"), ("k8s_pod_name", "Pod"),
           ("k8s_container_name", "Container"), ("k8s_node_name", "Node"))


def trust(of_nodes):
    """Whether the rest of a dashboard can be believed: agents that report, what they lost, how old their names are.
    of_nodes: matchers of the agents' own metrics."""
    events = q.total(q.rate("sonde_module_events_total", of_nodes))
    lost = q.total(q.rate("sonde_module_losses_total", of_nodes)) + " + " + \
                   q.total(q.rate("sonde_module_missed_runs_total", of_nodes))
    dropped = [q.total(q.increase(metric, of_nodes)) for metric in
               ("sonde_agent_export_points_dropped_total", "sonde_agent_export_points_rejected_total",
                "sonde_agent_queue_dropped_total")]
    info, states = q.series("sonde_build_info", of_nodes), q.series("sonde_module_state", of_nodes)
    well = q.series("sonde_module_state", of_nodes, 'sonde_state!~"failed|throttled"')
    # Differences are 0, and not nothing, where all is well.
    missing = (f"count(count by (k8s_node_name) (last_over_time({info}[{q.RANGE}]))) - "
               f"(count(count by (k8s_node_name) ({info})) or vector(0))")
    return row(
        "Can this be trusted?",
        stat("Agents that report", "Agents whose metrics arrive now.",
             f"count({q.series('sonde_build_info', of_nodes)})", thresholds=steps(RED, (1, GREEN))),
        stat("Agents that stopped reporting", "Nodes whose agent reported within the time range, but does not now.", missing,
             thresholds=steps(GREEN, (1, RED))),
        stat("Probes failed or throttled", "Probes that do not measure, or measure less because of the CPU budget.",
             f"count({states}) - (count({well}) or vector(0))", thresholds=steps(GREEN, (1, ORANGE))),
        stat("Events lost", "Share of all events that no container has in its counts, or that the kernel skipped.",
             q.ratio(f"({lost})", events), "percentunit", thresholds=steps(GREEN, (0.001, ORANGE), (0.01, RED))),
        stat("Points and batches dropped",
             "Points that were dropped or rejected, and batches dropped from a full queue, within the "
             "time range. Totals are correct again with the next export.", " + ".join(dropped), thresholds=ANY),
        stat("Age of pod names", "Time since the source of pod and container names last answered, at the slowest agent.",
             f"max({q.series('sonde_agent_snapshot_age_seconds', of_nodes)})", "s", thresholds=steps(GREEN, (60, ORANGE), (300,
                                                                                                                           RED))))


def heat_maps(kinds, title, make):
    """One row with heat maps of these histograms. kinds: (title, description, metric, matchers); make: native_heat or
    classic_heat. Classic ones are folded away, since a server that has native ones usually has no others."""
    width = 24 // min(3, len(kinds))
    suffix = "_bucket" if make is classic_heat else ""
    form = "classic" if make is classic_heat else "native"
    panels = [make(f"{name} ({form})", description, q.rate(metric + suffix, matchers), width=width)
              for name, description, metric, matchers in kinds]
    return row(title, *panels, collapsed=make is classic_heat)


def both_heat_maps(kinds):
    return [heat_maps(kinds, "Latencies", native_heat),
            heat_maps(kinds, "Latencies, where Prometheus stores classic histograms", classic_heat)]


def thread_time(chosen, by_node=False):
    title = "Thread time by state" + (" of all containers" if by_node else "")
    return graph(title,
                 "What the threads did, without sleeping and stopped ones. 1 is one thread all the time: running is on a CPU, "
                 "runnable waits for one, and disk, network, lock and memory are waits.",
                 [(q.total(q.rate("sonde_thread_time_seconds_total", chosen, q.AWAKE),
                   "sonde_thread_state"), "{{sonde_thread_state}}")],
                 "short", 24 if not by_node else 12, 10, stacked=True)
