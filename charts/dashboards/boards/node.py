# SPDX-License-Identifier: Apache-2.0
"""Nodes: what all their containers and services together do to CPUs, memory, disks and network."""

from kit import queries as q
from kit.common import ANY, COLUMNS, POD_LINK, both_heat_maps, thread_time, trust
from kit.layout import dashboard, row
from kit.panels import graph, stat, table
from kit.variables import cluster, datasource, node

N = q.NODE
BY_NODE = ("k8s_node_name",)
NAME = "{{k8s_node_name}}"
WHO = (*COLUMNS, ("sonde_cgroup_path", "Outside of pods"))
BY_WHO = tuple(label for label, _ in WHO)


def users(title, description, metric, unit, *matchers):
    return table(title, description, q.top(15, q.total(q.rate(metric, N, *matchers, window=q.RANGE), *BY_WHO)), WHO, title,
                 unit, 24, 8,
                 POD_LINK)


def cpu():
    run_queue = "sonde_sched_run_queue_duration_seconds"
    return row(
        "CPU",
        thread_time(N, by_node=True),
        graph("Wait for a CPU by node", "p50 and p99, from being able to run until running.",
              [(q.quantile(quantile, run_queue, N, by=BY_NODE),
                f"{NAME} p{quantile * 100:g}") for quantile in (0.5, 0.99)], "s", 12, 10,
              exemplar=True),
        users("CPUs used", "Threads on a CPU, on average.", "sonde_thread_time_seconds_total", "short",
              'sonde_thread_state="running"'))


def memory():
    reclaim = "sonde_memory_reclaim_reclaimed_bytes_total"
    return row(
        "Memory",
        graph("Memory reclaimed",
              "By direct reclaim (threads wait), kswapd (in the background) and at limits of containers (memcg).",
              [(q.total(q.rate(reclaim, N), *BY_NODE, "sonde_memory_reclaimer"), NAME + " {{sonde_memory_reclaimer}}")], "Bps",
              12),
        graph("OOM kills", "Processes killed at a container's limit (memcg) or because the node was full (global).",
              [(q.total(q.increase("sonde_memory_oom_kills_total", N, window=q.WINDOW), *BY_NODE, "sonde_memory_oom_scope"),
                NAME + " {{sonde_memory_oom_scope}}")], width=12))


def disks():
    duration = "sonde_block_operation_duration_seconds"
    return row(
        "Disks",
        graph("Disk latency, p99", "Duration of requests to block devices.",
              [(q.quantile(0.99, duration, N, by=(*BY_NODE, "sonde_block_operation")),
                NAME + " {{sonde_block_operation}}")], "s", 8,
              exemplar=True),
        graph("Disk throughput", "Bytes read from and written to block devices.",
              [(q.total(q.rate("sonde_block_io_bytes_total", N), *BY_NODE, "disk_io_direction"),
                NAME + " {{disk_io_direction}}")], "Bps", 8),
        graph("Disk errors", "Failed requests to block devices.",
              [(q.total(q.rate("sonde_block_operation_errors_total", N), *BY_NODE, "sonde_block_operation", "error_type"),
                NAME + " {{sonde_block_operation}} {{error_type}}")], "ops", 8),
        users("Disk writes", "Bytes written to block devices, including writeback.", "sonde_block_io_bytes_total", "Bps",
              'disk_io_direction="write"'))


def network():
    return row(
        "Network",
        graph("TCP payload", "Bytes handed over by applications and received in order.",
              [(q.total(q.rate("sonde_tcp_io_bytes_total", N), *BY_NODE,
                "network_io_direction"), NAME + " {{network_io_direction}}")],
              "Bps", 8),
        graph("Retransmitted segments", "Segments sent again because no acknowledgment came.",
              [(q.total(q.rate("sonde_tcp_retransmits_total", N), *BY_NODE), NAME)], "cps", 8),
        stat("RCU stalls", "Grace periods that the kernel reported as stalled, within the time range: a CPU hung.",
             q.total(q.increase("sonde_rcu_stalls_total", N)), width=8, height=8, thresholds=ANY))


def detailed():
    return row(
        "Queues and interrupts (level Detailed, and opt-in metrics)",
        graph("Requests in progress on disks", "Needs level Detailed in a policy.",
              [(q.total(q.series("sonde_block_queue_depth", N), *BY_NODE, "system_device"), NAME + " {{system_device}}")],
              width=8),
        graph("Time in interrupts", "CPUs busy with interrupts. Needs includeMetrics: [sonde.irq.time] in a policy.",
              [(q.top(10, q.total(q.rate("sonde_irq_time_seconds_total", N), *BY_NODE, "sonde_irq_kind", "sonde_irq_name")),
                NAME + " {{sonde_irq_kind}} {{sonde_irq_name}}")], width=8),
        graph("CPU frequency", "Needs includeMetrics: [sonde.cpu.frequency] and a driver that reports it.",
              [(f"avg by (k8s_node_name) ({q.series('sonde_cpu_frequency_hertz', N)})", NAME)], "hertz", 8),
        collapsed=True)


def board():
    kinds = [("Wait for a CPU", "From being able to run until running, over all threads.",
              "sonde_sched_run_queue_duration_seconds", N),
             ("Disk reads", "Durations of reads from block devices.", "sonde_block_operation_duration_seconds",
              f'{N},sonde_block_operation="read"'),
             ("Disk writes", "Durations of writes to block devices.", "sonde_block_operation_duration_seconds",
              f'{N},sonde_block_operation="write"')]
    return dashboard("sonde-node", "Nodes", "CPU, memory, disks and network of nodes, and who uses them.",
                     [datasource(), cluster(), node()],
                     [trust(N), cpu(), *both_heat_maps(kinds), memory(), disks(), network(), detailed()])
