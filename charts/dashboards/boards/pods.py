# SPDX-License-Identifier: Apache-2.0
"""Which pods suffer, and why; in the order in which one looks at a cluster."""

from kit import queries as q
from kit.common import ANY, COLUMNS, OF_ONE, OF_WORKLOAD, POD_LINK, both_heat_maps, trust
from kit.layout import dashboard, row
from kit.panels import GREEN, ORANGE, RED, graph, stat, steps, table
from kit.variables import of_containers

WAITS = "sonde_thread_time_seconds_total"
SHARE = steps(GREEN, (0.1, ORANGE), (0.3, RED))


def who_suffers():
    by_workload = q.ratio(q.total(q.rate(WAITS, q.PODS, q.WAITING), *q.WORKLOAD),
                          q.total(q.rate(WAITS, q.PODS, q.AWAKE), *q.WORKLOAD))
    return row(
        "Who suffers?",
        table("Pods that suffer, and why",
              "Share of the time, except for sleeping, in which the threads of a container waited for a "
              "CPU, a disk, a lock or memory. The reason is the largest of these waits.", q.top(
                  25, q.main_reason(q.PODS, q.POD)),
              (*COLUMNS, ("sonde_thread_state", "Reason")), "Waiting", "percentunit", 24, 11, POD_LINK, SHARE, 1),
        graph("Waiting by workload",
              "Share of the time, except for sleeping, in which threads waited for a CPU, a disk, a lock or memory.",
              [(q.top(10, by_workload), OF_WORKLOAD)], "percentunit", most=1),
        graph("Waiting by reason", "Threads that wait at the same time, on average, over all chosen containers.",
              [(q.total(q.rate(WAITS, q.PODS, q.WAITING), "sonde_thread_state"), "{{sonde_thread_state}}")], stacked=True))


def cpu():
    periods = ("sonde_cpu_throttled_periods_total", "sonde_cpu_periods_total")
    throttled = q.ratio(*(q.total(q.rate(metric, q.PODS), *q.POD) for metric in periods))
    run_queue = "sonde_sched_run_queue_duration_seconds"
    return row(
        "CPU: limits and waits",
        graph("Throttled periods", "Share of its quota periods in which a container used up its CPU limit and was stopped.",
              [(q.top(10, throttled), OF_ONE)], "percentunit", 8, most=1),
        graph("Wait for a CPU, p99 by workload", "99 of 100 times, a thread that could run got a CPU within this time.",
              [(q.top(10, q.quantile(0.99, run_queue, q.PODS, by=q.WORKLOAD)), OF_WORKLOAD)], "s", 8, exemplar=True),
        graph("Wait for a CPU, p99 by node", "The same by node: if all workloads of a node wait, the node is short of CPU.",
              [(q.quantile(0.99, run_queue, q.PODS, by=("k8s_node_name",)), "{{k8s_node_name}}")], "s", 8, exemplar=True))


def memory():
    return row(
        "Memory",
        stat("OOM kills", "Processes killed because memory ran out, within the time range.",
             q.total(q.increase("sonde_memory_oom_kills_total", q.PODS)), width=4, height=8, thresholds=ANY),
        graph("OOM kills by container",
              "Processes killed at the limit of the container (memcg) or because the node was full (global).",
              [(q.top(10, q.total(q.increase("sonde_memory_oom_kills_total", q.PODS, window=q.WINDOW), *q.POD,
                                  "sonde_memory_oom_scope")),
                OF_ONE + " {{sonde_memory_oom_scope}}")], width=6),
        graph("All threads stalled on memory (PSI full)",
              "Share of time in which no thread of the container could go on for lack of memory.",
              [(q.top(10, q.largest(q.rate("sonde_pressure_stall_time_seconds_total", q.PODS,
                                           'sonde_pressure_resource="memory"',
                                           'sonde_pressure_kind="full"'), *q.POD)), OF_ONE)], "percentunit", 7),
        graph("Stalled to reclaim memory", "Threads that reclaim memory instead of working, on average.",
              [(q.top(10, q.time_in("sonde_memory_reclaim_stall_duration_seconds", q.PODS, by=q.POD)), OF_ONE)], width=7))


def files():
    duration = "sonde_file_operation_duration_seconds"
    def p99(operation, width=6):
        return graph(f"{operation}, p99",
                     f"Duration of {operation} by workload, including calls that only copied from the page cache.",
                     [(q.top(10,
    q.quantile(0.99,
    duration,
    q.PODS,
    f'sonde_file_operation="{operation}"',
    by=q.WORKLOAD)),
     OF_WORKLOAD)],
                     "s", width, exemplar=True)
    errors = q.total(q.rate("sonde_file_operation_errors_total", q.PODS), *q.WORKLOAD, "sonde_file_operation", "error_type")
    return row("Files", p99("fsync"), p99("read"), p99("write"),
               graph("File errors", "Failed calls by operation and errno, such as ENOSPC for a full volume.",
                     [(q.top(10, errors), OF_WORKLOAD + " {{sonde_file_operation}} {{error_type}}")], "ops", 6))


def disks():
    duration = "sonde_block_operation_duration_seconds"
    return row(
        "Disks",
        graph("Disk latency, p99 by node", "Duration of requests to block devices, over everything on the node.",
              [(q.quantile(0.99, duration, q.CLUSTER, 'sonde_block_operation=~"read|write"',
                           by=("k8s_node_name", "sonde_block_operation")), "{{k8s_node_name}} {{sonde_block_operation}}")],
              "s", exemplar=True),
        graph("Who uses the disks", "Bytes read from and written to block devices, including writeback and readahead.",
              [(q.top(10, q.total(q.rate("sonde_block_io_bytes_total", q.PODS), *q.POD, "disk_io_direction")),
                "{{k8s_node_name}}: " + OF_ONE + " {{disk_io_direction}}")], "Bps"))


def cache():
    read = "sonde_page_cache_read_bytes_total"
    missed = q.total(q.rate(read, q.PODS, 'sonde_page_cache_outcome="miss"'), *q.WORKLOAD)
    return row(
        "Page cache",
        graph("Page cache misses", "Share of requested file pages that had to be read in.",
              [(q.top(10, q.ratio(missed, q.total(q.rate(read, q.PODS), *q.WORKLOAD))), OF_WORKLOAD)], "percentunit", most=1),
        graph("Bytes missed", "File pages that had to be read in, including by readahead.", [(q.top(10, missed), OF_WORKLOAD)],
              "Bps"))


def network():
    def rates(metric, *by):
        return q.top(10, q.total(q.rate(metric, q.PODS), *q.WORKLOAD, *by))
    return row(
        "Network",
        graph("Connection set-up, p99", "Time from the first SYN until the connection is established or fails.",
              [(q.top(10, q.quantile(0.99, "sonde_tcp_connect_duration_seconds", q.PODS, by=q.WORKLOAD)), OF_WORKLOAD)], "s", 8,
              exemplar=True),
        graph("Connection errors", "Connections that could not be established, or ended with an error.",
              [(rates("sonde_tcp_connection_errors_total", "network_tcp_handshake_role", "error_type"),
                OF_WORKLOAD + " {{network_tcp_handshake_role}} {{error_type}}")], "cps", 8),
        graph("Retransmitted segments", "Segments that were sent again because no acknowledgment came.",
              [(rates("sonde_tcp_retransmits_total"), OF_WORKLOAD)], "cps", 8),
        graph("Accept queue overflows", "Connection attempts dropped because the program did not accept fast enough.",
              [(rates("sonde_tcp_accept_queue_overflows_total"), OF_WORKLOAD)], "cps", 8),
        graph("Round-trip time, p99", "Smoothed round-trip time of established connections.",
              [(q.top(10, q.quantile(0.99, "sonde_tcp_rtt_seconds", q.PODS, by=q.WORKLOAD)), OF_WORKLOAD)], "s", 8,
              exemplar=True),
        graph("TCP payload", "Bytes handed over by applications and received in order.",
              [(rates("sonde_tcp_io_bytes_total", "network_io_direction"), OF_WORKLOAD + " {{network_io_direction}}")], "Bps",
              8))


def board():
    duration = "sonde_file_operation_duration_seconds"
    kinds = [(f"File {operation}", f"Durations of {operation}, over all chosen containers.", duration,
              f'{q.PODS},sonde_file_operation="{operation}"') for operation in ("fsync", "read", "write")]
    return dashboard("sonde-pods", "Pods that suffer", "Which pods wait for CPU, disk, locks, memory and network, and why.",
                     of_containers(), [trust(q.CLUSTER), who_suffers(), cpu(), memory(), files(), *both_heat_maps(kinds),
                                       disks(),
                                       cache(), network()])
