# SPDX-License-Identifier: Apache-2.0
"""One pod in depth."""

from kit import queries as q
from kit.common import both_heat_maps, thread_time
from kit.layout import dashboard, event, row
from kit.panels import GREEN, ORANGE, RED, graph, stat, steps
from kit.variables import of_containers, pod

P = q.ONE_POD
NEEDS = "Needs level Detailed in a policy."


def lines(title, description, metric, by, legend, unit, width=8, **kwargs):
    return graph(title, description, [(q.total(q.rate(metric, P), *by), legend)], unit, width, **kwargs)


def per_operation(title, description, metric, label, width=12):
    return graph(title, description, [(q.operations(metric, P, by=(label,)), f"{{{{{label}}}}}")], "ops", width)


def state():
    time = "sonde_thread_time_seconds_total"
    waiting = q.ratio(q.total(q.rate(time, P, q.WAITING)), q.total(q.rate(time, P, q.AWAKE)))
    periods = [q.total(q.rate(metric, P)) for metric in ("sonde_cpu_throttled_periods_total", "sonde_cpu_periods_total")]
    pressure = [(q.largest(q.rate("sonde_pressure_stall_time_seconds_total", P), "k8s_container_name",
                           "sonde_pressure_resource",
                           "sonde_pressure_kind"),
                           "{{k8s_container_name}} {{sonde_pressure_resource}} {{sonde_pressure_kind}}")]
    return row(
        "What it does, and what it waits for",
        thread_time(P),
        stat("Waiting", "Share of the time, except for sleeping, spent waiting for a CPU, a disk, a lock or memory.", waiting,
             "percentunit", 4, 8, steps(GREEN, (0.1, ORANGE), (0.3, RED))),
        stat("Throttled periods", "Share of the CPU quota periods in which the pod's containers were stopped.",
             q.ratio(*periods),
             "percentunit", 4, 8, steps(GREEN, (0.05, ORANGE), (0.25, RED)), empty="no limit"),
        graph("Wait for a CPU", "From being able to run until running.",
              [(q.quantile(quantile, "sonde_sched_run_queue_duration_seconds", P),
                f"p{quantile * 100:g}") for quantile in (0.5, 0.99)],
              "s", 8, exemplar=True),
        graph("Pressure (PSI)", "Share of time in which some or all threads of a container were stalled.", pressure,
              "percentunit", 8))


def files():
    return row(
        "Files",
        per_operation("File operations", "Calls and requests on regular files and block devices.",
                      "sonde_file_operation_duration_seconds", "sonde_file_operation", 8),
        lines("File throughput", "Bytes read from and written to files.", "sonde_file_io_bytes_total", ("disk_io_direction",),
              "{{disk_io_direction}}", "Bps"),
        lines("File errors", "Failed calls by operation and errno.", "sonde_file_operation_errors_total",
              ("sonde_file_operation", "error_type"), "{{sonde_file_operation}} {{error_type}}", "ops"),
        lines("Page cache", "File pages that were in the cache, and that had to be read in.",
              "sonde_page_cache_read_bytes_total",
              ("sonde_page_cache_outcome",), "{{sonde_page_cache_outcome}}", "Bps", 12, stacked=True),
        lines("posix_fadvise", "Calls by advice.", "sonde_fadvise_calls_total", ("sonde_fadvise_advice",),
              "{{sonde_fadvise_advice}}",
              "ops", 12))


def memory():
    return row(
        "Memory",
        graph("OOM kills", "Processes that the kernel killed because memory ran out.",
              [(q.total(q.increase("sonde_memory_oom_kills_total", P, window=q.WINDOW), "k8s_container_name",
                        "sonde_memory_oom_scope"),
                "{{k8s_container_name}} {{sonde_memory_oom_scope}}")], width=6),
        graph("Stalled to reclaim memory", "Threads that reclaim memory instead of working, on average.",
              [(q.time_in("sonde_memory_reclaim_stall_duration_seconds", P, by=("k8s_container_name",)),
                "{{k8s_container_name}}")], width=6),
        graph("Reclaim", "Memory that the pod's threads scanned and freed.",
              [(q.total(q.rate(f"sonde_memory_reclaim_{what}_bytes_total", P)), what) for what in ("scanned", "reclaimed")],
              "Bps", 6),
        lines("Page faults", "Major faults wait for a device. Minor ones: needs level Detailed.", "sonde_memory_faults_total",
              ("system_paging_fault_type",), "{{system_paging_fault_type}}", "ops", 6))


def disks():
    return row(
        "Disks",
        lines("Disk throughput", "Bytes read from and written to block devices, including writeback and readahead.",
              "sonde_block_io_bytes_total", ("disk_io_direction",), "{{disk_io_direction}}", "Bps"),
        graph("Disk latency, p99", "Duration of requests to block devices.",
              [(q.quantile(0.99, "sonde_block_operation_duration_seconds", P,
                by=("sonde_block_operation",)), "{{sonde_block_operation}}")],
              "s", 8, exemplar=True),
        lines("Disk errors", "Failed requests to block devices.", "sonde_block_operation_errors_total",
              ("sonde_block_operation", "error_type"), "{{sonde_block_operation}} {{error_type}}", "ops"))


def network():
    role = "{{network_tcp_handshake_role}}"
    return row(
        "Network",
        lines("TCP payload", "Bytes handed over by the application and received in order.", "sonde_tcp_io_bytes_total",
              ("network_io_direction",), "{{network_io_direction}}", "Bps"),
        lines("UDP payload", "Bytes sent and received.", "sonde_udp_io_bytes_total", ("network_io_direction",),
              "{{network_io_direction}}", "Bps"),
        lines("Connections opened", "As client and as server.", "sonde_tcp_connections_opened_total",
              ("network_tcp_handshake_role",),
              role, "cps"),
        lines("Connection errors", "Connections that could not be established, or ended with an error.",
              "sonde_tcp_connection_errors_total", ("network_tcp_handshake_role", "error_type"), role + " {{error_type}}",
              "cps"),
        graph("Lost segments and connections", "Segments sent again, and connection attempts dropped at a full accept queue.",
              [(q.total(q.rate("sonde_tcp_retransmits_total", P)), "retransmitted segments"),
               (q.total(q.rate("sonde_tcp_accept_queue_overflows_total", P)), "accept queue overflows")], "cps", 8),
        graph("TCP times, p99", "Connection set-up, and smoothed round-trip time.",
              [(q.quantile(0.99, f"sonde_tcp_{what}_seconds", P), name) for what, name in
               (("connect_duration", "set-up"), ("rtt", "round trip"))], "s", 8, exemplar=True))


def detailed():
    """What the default level does not have."""
    dns = q.quantile(0.99, "sonde_dns_lookup_duration_seconds", P, by=("dns_question_type",))
    return row(
        "Locks, streams, DNS and processes (level Detailed)",
        graph("Lock waits", f"Threads that wait for a lock, on average. {NEEDS}",
              [(q.time_in("sonde_lock_wait_duration_seconds", P, by=("sonde_lock_kind",)), "{{sonde_lock_kind}}")], width=8),
        graph("Lock waits, p99", f"From finding a lock taken to acquiring it. {NEEDS}",
              [(q.quantile(0.99, "sonde_lock_wait_duration_seconds", P,
                by=("sonde_lock_kind",)), "{{sonde_lock_kind}}")], "s", 8,
              exemplar=True),
        graph("Waits on sockets and pipes", f"Reads and writes in progress, on average. {NEEDS}",
              [(q.time_in("sonde_stream_wait_duration_seconds", P, by=("sonde_stream_target", "disk_io_direction")),
                "{{sonde_stream_target}} {{disk_io_direction}}")], width=8),
        graph("DNS, p99", f"From a query to its answer. {NEEDS}", [(dns, "{{dns_question_type}}")], "s", 8, exemplar=True),
        lines("Context switches", f"Threads that left a CPU. {NEEDS}", "sonde_sched_context_switches_total",
              ("process_context_switch_type",), "{{process_context_switch_type}}", "ops"),
        lines("Processes that exited", f"By outcome. {NEEDS}", "sonde_process_exits_total", ("sonde_process_exit",),
              "{{sonde_process_exit}}", "ops"),
        collapsed=True)


def board():
    file, block = "sonde_file_operation_duration_seconds", "sonde_block_operation_duration_seconds"
    kinds = [
        ("File read", "Durations of reads from files.", file, f'{P},sonde_file_operation="read"'),
        ("File write", "Durations of writes to files.", file, f'{P},sonde_file_operation="write"'),
        ("File fsync", "Durations of fsync and fdatasync.", file, f'{P},sonde_file_operation="fsync"'),
        ("Wait for a CPU", "From being able to run until running.", "sonde_sched_run_queue_duration_seconds", P),
        ("Disk requests", "Durations of requests to block devices.", block, P),
        ("TCP round trip", "Smoothed round-trip time, one sample per segment.", "sonde_tcp_rtt_seconds", P)]
    killed = f"{q.total(q.increase('sonde_memory_oom_kills_total', P, window='1m'), 'k8s_container_name')} > 0"
    restarted = "resets(sonde_agent_cpu_time_seconds_total{" + q.CLUSTER + "}[1m]) > 0"
    events = [event("OOM kills", killed, "{{k8s_container_name}}: OOM kill", "red"),
              event("Agent restarts", restarted, "{{k8s_node_name}}: agent restarted", "purple")]
    return dashboard("sonde-pod", "One pod in depth",
                     "Thread time, latencies, files, memory, disks, network and locks of one pod.",
                     [*of_containers(), pod()],
                     [state(), *both_heat_maps(kinds), files(), memory(), disks(), network(), detailed()], events)
