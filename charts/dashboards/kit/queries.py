# SPDX-License-Identifier: Apache-2.0
"""PromQL. Metric names are given as Prometheus has them; matchers as text, without braces."""

WINDOW = "$__rate_interval"
RANGE = "$__range"

CLUSTER = 'k8s_cluster_name=~"$cluster"'
NODE = f'{CLUSTER},k8s_node_name=~"$node"'
# $label is the name of a pod label, so that users can filter by any label that their policies export.
CONTAINERS = (f'{CLUSTER},k8s_namespace_name=~"$namespace",sonde_workload_name=~"$workload",$label=~"$label_value",'
              'k8s_container_name=~"$container"')
PODS = f'{CONTAINERS},k8s_pod_name!=""'
ONE_POD = f'{CONTAINERS},k8s_pod_name=~"$pod"'

WORKLOAD = ("k8s_namespace_name", "sonde_workload_name")
POD = (*WORKLOAD, "k8s_pod_name", "k8s_container_name", "k8s_node_name")

WAITING = 'sonde_thread_state=~"runnable|disk|lock|memory"'
AWAKE = 'sonde_thread_state!~"sleep|stopped"'


def series(metric, *matchers):
    chosen = ",".join(m for m in matchers if m)
    return f"{metric}{{{chosen}}}" if chosen else metric


def rate(metric, *matchers, window=WINDOW):
    return f"rate({series(metric, *matchers)}[{window}])"


def increase(metric, *matchers, window=RANGE):
    return f"increase({series(metric, *matchers)}[{window}])"


def total(expression, *by):
    """sum, by these labels."""
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def largest(expression, *by):
    return f"max by ({', '.join(by)}) ({expression})" if by else f"max({expression})"


def top(count, expression):
    return f"topk({count}, {expression})"


def ratio(part, whole):
    """Of two sums with the same labels; nothing where the whole is 0, instead of NaN."""
    return f"{part} / ({whole} > 0)"


def quantile(q, metric, *matchers, by=(), window=WINDOW):
    """From native histograms, or from classic ones where there are no native ones."""
    native = total(rate(metric, *matchers, window=window), *by)
    classic = total(rate(f"{metric}_bucket", *matchers, window=window), *by, "le")
    return f"histogram_quantile({q}, {native}) or histogram_quantile({q}, {classic})"


def operations(metric, *matchers, by=(), window=WINDOW):
    """How many a second, from either form of histogram."""
    native = f"histogram_count({total(rate(metric, *matchers, window=window), *by)})"
    return f"{native} or {total(rate(f'{metric}_count', *matchers, window=window), *by)}"


def time_in(metric, *matchers, by=(), window=WINDOW):
    """Seconds of all operations together a second, from either form of histogram."""
    native = f"histogram_sum({total(rate(metric, *matchers, window=window), *by)})"
    return f"{native} or {total(rate(f'{metric}_sum', *matchers, window=window), *by)}"


def main_reason(matchers, by, window=RANGE):
    """The share of their awake time for which threads waited, with the largest wait as label sonde_thread_state."""
    metric = "sonde_thread_time_seconds_total"
    waits = total(rate(metric, matchers, WAITING, window=window), *by, "sonde_thread_state")
    largest_wait = f"(topk by ({', '.join(by)}) (1, {waits} > 0) ^ 0)"
    share = ratio(total(rate(metric, matchers, WAITING, window=window), *by),
                  total(rate(metric, matchers, AWAKE, window=window), *by))
    return f"{largest_wait} * on ({', '.join(by)}) group_left () ({share})"
