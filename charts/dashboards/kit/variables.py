# SPDX-License-Identifier: Apache-2.0
"""Variables of a dashboard. "All" is the pattern .*, which also matches series that do not have the label."""

from .panels import SOURCE


def datasource():
    return {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "hide": 0,
            "multi": False,
            "includeAll": False, "regex": "", "refresh": 1, "options": []}


def _query(name, label, query, several=True, regex="", hide=0):
    variable = {"type": "query", "name": name, "label": label, "datasource": SOURCE, "refresh": 2, "sort": 1, "hide": hide,
                "query": {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
                "definition": query, "multi": several, "includeAll": several, "regex": regex, "options": []}
    if several:
        variable["allValue"] = ".*"
        variable["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return variable


# Every measured container has this metric at each level.
MEASURED = "sonde_thread_time_seconds_total"
IN_CLUSTER = 'k8s_cluster_name=~"$cluster"'


def cluster():
    return _query("cluster", "Cluster", "label_values(sonde_build_info, k8s_cluster_name)")


def node():
    return _query("node", "Node", f"label_values(sonde_build_info{{{IN_CLUSTER}}}, k8s_node_name)")


def namespace():
    return _query("namespace", "Namespace", f"label_values({MEASURED}{{{IN_CLUSTER}}}, k8s_namespace_name)")


def workload():
    matchers = f'{IN_CLUSTER},k8s_namespace_name=~"$namespace"'
    return _query("workload", "Workload", f"label_values({MEASURED}{{{matchers}}}, sonde_workload_name)")


def pod_label():
    """Which pod label to filter by, and its value. The pod's name is in the list so that it is never empty."""
    names = _query("label", "Pod label", "label_names()", several=False, regex="/^(k8s_pod_label_.+|k8s_pod_name)$/")
    matchers = f'{IN_CLUSTER},k8s_namespace_name=~"$namespace",sonde_workload_name=~"$workload"'
    return [names, _query("label_value", "Value", f"label_values({MEASURED}{{{matchers}}}, $label)")]


def container():
    matchers = f'{IN_CLUSTER},k8s_namespace_name=~"$namespace",sonde_workload_name=~"$workload",$label=~"$label_value"'
    return _query("container", "Container", f"label_values({MEASURED}{{{matchers}}}, k8s_container_name)")


def pod():
    matchers = (f'{IN_CLUSTER},k8s_namespace_name=~"$namespace",sonde_workload_name=~"$workload",$label=~"$label_value",'
                'k8s_pod_name!=""')
    return _query("pod", "Pod", f"label_values({MEASURED}{{{matchers}}}, k8s_pod_name)", several=False)


def words(name, label, default):
    """A text that the user types."""
    return {"type": "textbox", "name": name, "label": label, "query": default, "hide": 0, "options": [],
            "current": {"text": default, "value": default}}


def of_containers():
    return [datasource(), cluster(), namespace(), workload(), *pod_label(), container()]
