# SPDX-License-Identifier: Apache-2.0
"""What sidecars cost, next to what Sonde costs on the same nodes."""

from kit import queries as q
from kit.common import OF_ONE
from kit.layout import dashboard, row
from kit.panels import GREEN, graph, stat, steps, table, text
from kit.variables import cluster, datasource, namespace, pod_label, words, workload

CHOSEN = (f'{q.CLUSTER},k8s_namespace_name=~"$namespace",sonde_workload_name=~"$workload",'
          '$label=~"$label_value",k8s_pod_name!=""')
SIDECARS = f'{CHOSEN},k8s_container_name=~"$sidecar"'
OTHERS = f'{CHOSEN},k8s_container_name!~"$sidecar",k8s_container_name!=""'
PARTS = (("sidecars", SIDECARS), ("other containers", OTHERS))
RUNNING = 'sonde_thread_state="running"'
TIME = "sonde_thread_time_seconds_total"
PATTERN = ".*(sidecar|proxy|exporter|fluent|vector|filebeat|promtail|logger|collector|telemetry).*"

EXPLANATION = ("Which containers are sidecars is a pattern for their names, in the variable **Sidecars**. Sonde's cost is that "
               "of the agents of the whole cluster, with all containers that they measure: the agent process and its BPF "
               "programs.")


def both(title, description, expression, unit, width=8, sonde=None):
    """A line for sidecars, one for the other containers of their pods, and one for Sonde."""
    queries = [(expression(matchers), name) for name, matchers in PARTS]
    return graph(title, description, queries + ([(sonde, "Sonde")] if sonde else []), unit, width)


def cost():
    sidecars = q.total(q.rate(TIME, SIDECARS, RUNNING, window=q.RANGE))
    sonde = q.total(q.series("sonde_agent_overhead_usage", q.CLUSTER))
    pods = f"count(count by (k8s_namespace_name, k8s_pod_name) ({q.series(TIME, SIDECARS)}))"
    measured = f"count(count by (k8s_namespace_name, k8s_pod_name, k8s_container_name) ({q.series(TIME, q.CLUSTER, RUNNING)}))"
    plain = steps(GREEN)
    return row(
        "CPU",
        text(EXPLANATION),
        stat("Pods with a sidecar", "Pods that have a container which matches the pattern.", pods, thresholds=plain),
        stat("CPUs of the sidecars", "Threads on a CPU, on average over the time range.", sidecars, thresholds=plain),
        stat("CPUs of Sonde", "Agents and BPF programs of the cluster.", sonde, thresholds=plain),
        stat("Containers measured by Sonde", "Containers with their own series.", measured, thresholds=plain),
        stat(
    "CPU per pod, sidecar",
    "CPUs of the sidecars, by the number of their pods.",
    f"{sidecars} / {pods}",
     thresholds=plain),
        stat(
    "CPU per container, Sonde",
    "CPUs of Sonde, by the number of measured containers.",
    f"{sonde} / {measured}",
     thresholds=plain),
        both("CPU", "Threads on a CPU, on average.", lambda m: q.total(q.rate(TIME, m, RUNNING)), "short", 12, sonde),
        both("Waiting for a CPU",
             "Threads that could run but had no CPU: what sidecars add to the load of a node, others wait for.",
             lambda m: q.total(q.rate(TIME, m, 'sonde_thread_state="runnable"')), "short", 12))


def files_and_network():
    return row(
        "Files and network",
        both("Bytes read from files", "A sidecar that follows logs reads what the application writes.",
             lambda m: q.total(q.rate("sonde_file_io_bytes_total", m, 'disk_io_direction="read"')), "Bps"),
        both("Bytes written to files", "Logs and buffers.",
             lambda m: q.total(q.rate("sonde_file_io_bytes_total", m, 'disk_io_direction="write"')), "Bps"),
        both("Bytes sent", "TCP payload of the containers; for Sonde what its exporters send.",
             lambda m: q.total(q.rate("sonde_tcp_io_bytes_total", m, 'network_io_direction="transmit"')), "Bps",
             sonde=q.total(q.rate("sonde_agent_export_io_bytes_total", q.CLUSTER))),
        both("fsync, p99", "Duration of fsync.",
             lambda m: q.quantile(0.99, "sonde_file_operation_duration_seconds", m, 'sonde_file_operation="fsync"'), "s", 12),
        both("Wait for a CPU, p99", "From being able to run until running.",
             lambda m: q.quantile(0.99, "sonde_sched_run_queue_duration_seconds", m), "s", 12))


def ranked():
    return row(
        "Which sidecars cost most",
        table("Sidecars by CPU", "Threads on a CPU, on average over the time range.",
              q.top(25, q.total(q.rate(TIME, SIDECARS, RUNNING, window=q.RANGE), *q.POD)),
              (("k8s_namespace_name", "Namespace"), ("sonde_workload_name", "Workload"), ("k8s_pod_name", "Pod"),
               ("k8s_container_name", "Container"), ("k8s_node_name", "Node")), "CPUs", width=12),
        graph("Sidecars by CPU over time", "Threads on a CPU, on average.",
              [(q.top(10, q.total(q.rate(TIME, SIDECARS, RUNNING), *q.POD)), OF_ONE)], width=12, height=10))


def board():
    variables = [datasource(), cluster(), namespace(), workload(), *pod_label(), words("sidecar", "Sidecars", PATTERN)]
    return dashboard("sonde-sidecar", "Sidecars and eBPF", "What sidecars cost, next to what Sonde costs.", variables,
                     [cost(), files_and_network(), ranked()])
