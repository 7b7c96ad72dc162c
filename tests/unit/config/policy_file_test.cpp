// SPDX-License-Identifier: Apache-2.0
#include "agent/config/policy_file.h"

#include <gtest/gtest.h>

#include "agent/base/file.h"
#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

PolicyFile parse(std::string_view text) { return parse_policies(text, "p.yaml", 77, made_up::modules()); }

std::string fixture(const std::string& name) {
  auto text = read_small_file(std::string(SONDE_SOURCE_DIR) + "/tests/fixtures/policies/" + name);
  EXPECT_TRUE(text);
  return text ? *text : "";
}

// The spec begins in line 5.
std::string cluster(const std::string& spec) {
  return "apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: p}\nspec:\n" + spec;
}
std::string tenant(const std::string& spec) {
  return "apiVersion: sonde.dev/v1alpha1\nkind: MonitorPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n" + spec;
}

TEST(PolicyFile, ReadsEveryField) {
  PolicyFile file = parse(fixture("databases.yaml"));
  EXPECT_EQ(file.problems, std::vector<std::string>());
  ASSERT_EQ(file.policies.size(), 1u);
  const Policy& p = file.policies[0];
  EXPECT_EQ(p.name, "databases");
  EXPECT_EQ(p.namespace_name, "");
  EXPECT_EQ(p.source, "p.yaml:2");
  EXPECT_EQ(p.created_ns, 77u);
  EXPECT_EQ(p.priority, 100);
  EXPECT_EQ(p.active_for_seconds, 3600);
  ASSERT_TRUE(p.node_selector);
  EXPECT_TRUE(p.node_selector->match_labels.empty());
  EXPECT_EQ(p.namespace_selector->match_labels.at("tier"), "prod");
  ASSERT_EQ(p.pod_selector->match_expressions.size(), 2u);
  EXPECT_EQ(p.pod_selector->match_expressions[0].op, SelectorOperator::DoesNotExist);
  EXPECT_EQ(p.pod_selector->match_expressions[1].values, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(p.container_names, std::vector<std::string>{"postgres"});
  EXPECT_EQ(p.container_types, std::vector<std::string>{"Regular"});
  EXPECT_EQ(p.preset, Level::Standard);
  ASSERT_EQ(p.probes.size(), 2u);
  EXPECT_EQ(p.probes[0].level, Level::Detailed);
  EXPECT_EQ(p.probes[0].sample_histograms_every, 1);
  EXPECT_EQ(p.probes[1].exclude_metrics, std::vector<std::string>{"sonde.cpu.switches"});
  ASSERT_EQ(p.functions.size(), 3u);
  EXPECT_EQ(p.functions[1].bytes_argument, 1);
  EXPECT_EQ(p.functions[1].bytes_abi, "Auto");
  EXPECT_EQ(p.functions[2].type, "Kernel");
  EXPECT_EQ(p.period_seconds, 30);
  EXPECT_EQ(p.granularity, Granularity::Container);
  EXPECT_EQ(p.cleanup, CleanupStrategy::KeepRecent);
  EXPECT_EQ(p.idle_seconds, 300);
  EXPECT_EQ(p.series_per_container, 200);
  EXPECT_EQ(p.series_per_node, 20000);
  EXPECT_EQ(p.traces_enabled, false);
  ASSERT_EQ(p.trace_thresholds.size(), 2u);
  EXPECT_EQ(p.trace_thresholds[0].operation, "Fsync");
  EXPECT_EQ(p.trace_thresholds[0].min_microseconds, 20000);
  EXPECT_EQ(p.trees_per_second, 5);
  EXPECT_EQ(p.pod_labels->size(), 2u);
  EXPECT_TRUE(p.pod_annotations->empty());
  EXPECT_EQ(file.notes,
            std::vector<std::string>{
                "p.yaml:22:5: spec.functions has no effect: this build has no probe that measures functions"});
}

TEST(PolicyFile, ReadsSeveralDocuments) {
  PolicyFile file = parse(fixture("machine.yaml"));
  EXPECT_EQ(file.problems, std::vector<std::string>());
  ASSERT_EQ(file.policies.size(), 2u);
  EXPECT_EQ(file.policies[0].cgroups, std::vector<std::string>{"/batch.slice/*"});
  EXPECT_EQ(file.policies[0].commands, (std::vector<std::string>{"python3", "worker-*"}));
  EXPECT_FALSE(file.policies[0].preset);
  EXPECT_EQ(file.policies[1].mode, Mode::Exclude);
  EXPECT_EQ(file.policies[1].source, "p.yaml:12");
}

TEST(PolicyFile, ReadsTraces) {
  PolicyFile file = parse(cluster(
      "  traces:\n"
      "    mode: Enabled\n"
      "    operations: [Fsync, OOMKill]\n"
      "    thresholds: [{operation: Fsync, minMicroseconds: 50000}]\n"
      "    errors: true\n"
      "    include: []\n"
      "    limits: {treesPerSecondPerNode: 3}\n"));
  ASSERT_EQ(file.problems, std::vector<std::string>());
  const Policy& p = file.policies[0];
  EXPECT_EQ(p.traces_enabled, true);
  EXPECT_EQ(p.trace_operations, (std::vector<std::string>{"Fsync", "OomKill"})) << "a word of earlier versions";
  EXPECT_EQ(p.trace_thresholds.at(0).min_microseconds, 50'000);
  EXPECT_EQ(p.trace_errors, true);
  EXPECT_EQ(p.trace_include, std::vector<std::string>());
  EXPECT_EQ(p.trees_per_second, 3);
}

TEST(PolicyFile, WhatIsAbsentStaysAbsent) {
  PolicyFile file = parse(cluster("  preset: Minimal\n"));
  ASSERT_EQ(file.problems, std::vector<std::string>());
  const Policy& p = file.policies[0];
  EXPECT_FALSE(p.period_seconds || p.granularity || p.cleanup || p.idle_seconds || p.series_per_container ||
               p.pod_labels || p.node_selector || p.active_for_seconds || p.traces_enabled);
}

TEST(PolicyFile, EmptyFilesHoldNoPolicy) {
  for (const char* text : {"", "# nothing\n", "---\n---\n"}) {
    PolicyFile file = parse(text);
    EXPECT_TRUE(file.policies.empty() && file.problems.empty()) << text;
  }
}

TEST(PolicyFile, FingerprintIsOfTheMeaning) {
  auto print = [](const std::string& spec) { return parse(cluster(spec)).fingerprints.at(0); };
  uint64_t base = print("  preset: Minimal\n  priority: 1\n");
  EXPECT_EQ(base, print("  # a comment\n\n  priority: 1\n  preset: Minimal\n"));
  EXPECT_NE(base, print("  preset: Minimal\n  priority: 2\n"));
  EXPECT_NE(print("  cgroups: [/a, /b]\n"), print("  cgroups: [/b, /a]\n"));
}

struct Wrong {
  std::string text;
  std::string sentence;
};

void expect_sentences(std::span<const Wrong> cases) {
  for (const Wrong& c : cases) {
    PolicyFile file = parse(c.text);
    ASSERT_FALSE(file.problems.empty()) << c.text;
    EXPECT_EQ(file.problems, std::vector<std::string>{c.sentence}) << c.text;
  }
}

TEST(PolicyFile, WrongSelectorsAndValues) {
  const Wrong cases[] = {
      {cluster("  presset: Standard\n"),
       "p.yaml:5:3: spec has no field 'presset', did you mean 'preset' (allowed: mode, priority, activeForSeconds, "
       "nodeSelector, namespaceSelector, podSelector, containers, cgroups, commands, preset, probes, functions, "
       "collection, limits, traces, attributes)"},
      {cluster("  preset: Standart\n"),
       "p.yaml:5:11: spec.preset must be None, Minimal, Standard or Detailed, not 'Standart', did you mean 'Standard'"},
      {cluster("  preset: 3\n"), "p.yaml:5:11: spec.preset must be None, Minimal, Standard or Detailed, not '3'"},
      {cluster("  mode: Ignore\n"), "p.yaml:5:9: spec.mode must be Monitor or Exclude, not 'Ignore'"},
      {cluster("  priority: 2000\n"), "p.yaml:5:13: spec.priority must be a whole number from 0 to 1000, not '2000'"},
      {cluster("  priority: high\n"), "p.yaml:5:13: spec.priority must be a whole number from 0 to 1000, not 'high'"},
      {cluster("  priority: '5'\n"), "p.yaml:5:13: spec.priority must be a whole number from 0 to 1000, not '5'"},
      {cluster("  activeForSeconds: 1h\n"),
       "p.yaml:5:21: spec.activeForSeconds must be a whole number of seconds from 1 to 31536000, not '1h', write 3600"},
      {cluster("  collection: {periodSeconds: 30s}\n"),
       "p.yaml:5:31: spec.collection.periodSeconds must be a whole number of seconds from 1 to 3600, not '30s', write "
       "30"},
      {cluster("  collection: {periodSeconds: 500ms}\n"),
       "p.yaml:5:31: spec.collection.periodSeconds must be a whole number of seconds from 1 to 3600, not '500ms'"},
      {cluster("  collection: {periodSeconds: 0}\n"),
       "p.yaml:5:31: spec.collection.periodSeconds must be a whole number of seconds from 1 to 3600, not '0'"},
      {cluster("  collection: {period: 5}\n"),
       "p.yaml:5:16: spec.collection has no field 'period', did you mean 'periodSeconds' (allowed: periodSeconds, "
       "granularity, cleanup)"},
      {cluster("  collection: 5\n"), "p.yaml:5:15: spec.collection must be a map of fields, not '5'"},
      {cluster("  collection: {granularity: process}\n"),
       "p.yaml:5:29: spec.collection.granularity must be Workload, Pod, Container or Process, not 'process', did you "
       "mean 'Process'"},
      {cluster("  collection: {cleanup: {strategy: Clear}}\n"),
       "p.yaml:5:36: spec.collection.cleanup.strategy must be NoCleanup, KeepRecent or ClearAfterRead, not 'Clear', "
       "did you mean 'ClearAfterRead'"},
      {cluster("  collection: {cleanup: {strategy: ClearAfterRead, keepRecent: {idleSeconds: 5}}}\n"),
       "p.yaml:5:64: spec.collection.cleanup.keepRecent is only valid with strategy KeepRecent, not with "
       "ClearAfterRead"},
      {cluster("  collection: {cleanup: {keepRecent: {idleSeconds: 5m}}}\n"),
       "p.yaml:5:52: spec.collection.cleanup.keepRecent.idleSeconds must be a whole number of seconds from 1 to 86400, "
       "not '5m', write 300"},
      {cluster("  containers: {name: [a]}\n"),
       "p.yaml:5:16: spec.containers has no field 'name', did you mean 'names' (allowed: names, types)"},
      {cluster("  containers: {names: a}\n"), "p.yaml:5:23: spec.containers.names must be a list, not 'a'"},
      {cluster("  containers: {types: [Normal]}\n"),
       "p.yaml:5:24: spec.containers.types must be Regular, Init, Ephemeral or Sidecar, not 'Normal'"},
      {cluster("  containers: {names: [[a]]}\n"),
       "p.yaml:5:24: spec.containers.names must be a list of strings, not of a list"},
      {cluster("  cgroups: [system.slice/a]\n"),
       "p.yaml:5:13: spec.cgroups must begin with '/' or '*', not 'system.slice/a'"},
      {cluster("  cgroups: [/sys/fs/cgroup/a]\n"),
       "p.yaml:5:13: spec.cgroups are paths below the root of the cgroup tree, like /system.slice/*, not "
       "'/sys/fs/cgroup/a'"},
      {cluster("  commands: [systemd-networkd-worker]\n"),
       "p.yaml:5:14: spec.commands: the kernel keeps only 15 characters of a command name, write 'systemd-network' "
       "instead of 'systemd-networkd-worker'"},
      {cluster("  podSelector: {app: x}\n"),
       "p.yaml:5:17: spec.podSelector has no field 'app' (allowed: matchLabels, matchExpressions)"},
      {cluster("  podSelector: {matchLabels: {app: [x]}}\n"),
       "p.yaml:5:36: spec.podSelector.matchLabels.app must be a string, not a list"},
      {cluster("  podSelector: {matchExpressions: [{key: a, operator: Equals}]}\n"),
       "p.yaml:5:55: spec.podSelector.matchExpressions[0].operator must be In, NotIn, Exists or DoesNotExist, not "
       "'Equals'"},
      {cluster("  podSelector: {matchExpressions: [{key: a, operator: In}]}\n"),
       "p.yaml:5:36: spec.podSelector.matchExpressions[0] with operator In needs values"},
      {cluster("  podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}\n"),
       "p.yaml:5:36: spec.podSelector.matchExpressions[0] with operator Exists must have no values"},
      {cluster("  limits: {seriesPerContainer: -1}\n"),
       "p.yaml:5:32: spec.limits.seriesPerContainer must be a whole number from 1 to 100000, not '-1'"},
      {cluster("  limits: {seriesPerPod: 5}\n"),
       "p.yaml:5:12: spec.limits has no field 'seriesPerPod', did you mean 'seriesPerNode' (allowed: "
       "seriesPerContainer, seriesPerNode)"},
      {cluster("  mode: Exclude\n  preset: Minimal\n"),
       "p.yaml:6:11: spec.preset has no effect with mode Exclude, which measures nothing: remove it or write mode: "
       "Monitor"},
      {tenant("  namespaceSelector: {}\n"),
       "p.yaml:5:22: a MonitorPolicy only selects in its own namespace: remove spec.namespaceSelector or write kind: "
       "ClusterMonitorPolicy"},
  };
  expect_sentences(cases);
}

TEST(PolicyFile, WrongProbesFunctionsAndTraces) {
  const Wrong cases[] = {
      {cluster("  probes: [{name: dsk}]\n"),
       "p.yaml:5:19: there is no probe 'dsk', did you mean 'disk' (this build has disk, cpu, storage, all)"},
      {cluster("  probes: [{name: network}]\n"),
       "p.yaml:5:19: there is no probe 'network' (this build has disk, cpu, storage, all)"},
      {cluster("  probes: [disk]\n"), "p.yaml:5:12: spec.probes[0] must be a map of fields, not 'disk'"},
      {cluster("  probes: disk\n"), "p.yaml:5:11: spec.probes must be a list, not 'disk'"},
      {cluster("  probes: [{level: Detailed}]\n"),
       "p.yaml:5:12: spec.probes[0].name is missing, write one of disk, cpu, storage, all"},
      {cluster("  probes: [{name: disk}, {name: storage}]\n"),
       "p.yaml:5:33: the probe disk is listed twice, merge the entries"},
      {cluster("  probes: [{name: disk, level: High}]\n"),
       "p.yaml:5:32: spec.probes[0].level must be None, Minimal, Standard or Detailed, not 'High'"},
      {cluster("  probes: [{name: disk, sampleHistogramsEvery: 0}]\n"),
       "p.yaml:5:48: spec.probes[0].sampleHistogramsEvery must be a whole number from 1 to 10000, not '0'"},
      {cluster("  probes: [{name: cpu, excludeMetrics: [sonde.cpu.switch]}]\n"),
       "p.yaml:5:41: the probe cpu has no metric 'sonde.cpu.switch', did you mean 'sonde.cpu.switches' (it has "
       "sonde.cpu.switches)"},
      {cluster("  probes: [{name: disk, excludeMetrics: [sonde.cpu.switches]}]\n"),
       "p.yaml:5:42: the probe disk has no metric 'sonde.cpu.switches' (it has sonde.disk.bytes, sonde.disk.duration, "
       "sonde.disk.errors, sonde.disk.open, sonde.disk.drops, sonde.disk.devices)"},
      {cluster("  probes: [{name: cpu, includeMetrics: [sonde.cpu.switches], excludeMetrics: [sonde.cpu.switches]}]\n"),
       "p.yaml:5:12: spec.probes[0] both includes and excludes sonde.cpu.switches"},
      {cluster("  functions: [{name: f, type: Uprobe, symbol: s}]\n"),
       "p.yaml:5:15: spec.functions[0].path is missing, write the path of the program or library inside the container"},
      {cluster("  functions: [{name: f, type: uprobe, path: /a, symbol: s}]\n"),
       "p.yaml:5:31: spec.functions[0].type must be Uprobe, USDT or Kernel, not 'uprobe', did you mean 'Uprobe'"},
      {cluster("  functions: [{name: f, type: Kernel, path: /a, symbol: s}]\n"),
       "p.yaml:5:45: spec.functions[0].path has no effect with type Kernel"},
      {cluster("  functions: [{name: f, type: Uprobe, path: a, symbol: s}]\n"),
       "p.yaml:5:45: spec.functions[0].path must begin with '/', not 'a'"},
      {cluster("  functions: [{name: f, type: Kernel, symbol: s, measure: [Call]}]\n"),
       "p.yaml:5:60: spec.functions[0].measure must be Calls, Duration, Errors or Bytes, not 'Call', did you mean "
       "'Calls'"},
      {cluster("  functions: [{name: f, type: Kernel, symbol: s, measure: [Bytes]}]\n"),
       "p.yaml:5:59: spec.functions[0].measure has Bytes: write bytes: {argument: N}, the argument that is the size"},
      {cluster("  functions: [{name: f, type: Kernel, symbol: s, bytes: {argument: 1}}]\n"),
       "p.yaml:5:57: spec.functions[0].bytes needs Bytes in measure"},
      {cluster("  functions: [{name: f g, type: Kernel, symbol: s}]\n"),
       "p.yaml:5:22: spec.functions[0].name must consist of at most 63 letters, digits, '_', '-' or '.', not 'f g'"},
      {cluster("  functions: [{name: f, type: Kernel, symbol: s}, {name: f, type: Kernel, symbol: t}]\n"),
       "p.yaml:5:58: the function f is listed twice"},
      {cluster("  traces: {mode: Enabled, thresholds: [{operation: Sync, minMicroseconds: 1}]}\n"),
       "p.yaml:5:52: spec.traces.thresholds[0].operation must be Read, Write, Fsync, Open, Rename, Unlink, Connect, Accept, "
       "Send, DnsLookup, BlockIO, CpuThrottle, PageFault, DirectReclaim, LockWait, RunQueueWait, OomKill, Receive, "
       "FutexWait, Process or OOMKill, not 'Sync', did you mean 'Fsync'"},
      {cluster("  traces: {operations: [Fsync, Fsync]}\n"), "p.yaml:5:32: spec.traces.operations has Fsync twice"},
      {cluster("  traces: {include: [Stack]}\n"), "p.yaml:5:22: spec.traces.include must be PeerAddress, not 'Stack'"},
      {cluster("  traces: {limits: {treesPerSecond: 5}}\n"),
       "p.yaml:5:21: spec.traces.limits has no field 'treesPerSecond', did you mean 'treesPerSecondPerNode' (allowed: "
       "treesPerSecondPerNode)"},
      {cluster("  traces: {maxSpansPerSecondPerNode: 5, limits: {treesPerSecondPerNode: 5}}\n"),
       "p.yaml:5:38: spec.traces.maxSpansPerSecondPerNode is the former name of limits.treesPerSecondPerNode: remove it"},
      {cluster("  traces: {thresholds: [{minMicroseconds: 1}]}\n"),
       "p.yaml:5:25: spec.traces.thresholds[0] needs either operation or function"},
      {cluster("  traces: {thresholds: [{function: wal, minMicroseconds: 1}]}\n"),
       "p.yaml:5:36: spec.traces.thresholds[0].function 'wal' is not in spec.functions"},
      {tenant("  functions: [{name: f, type: Kernel, symbol: s}]\n"),
       "p.yaml:5:31: only a ClusterMonitorPolicy may measure kernel functions"},
  };
  expect_sentences(cases);
}

TEST(PolicyFile, WrongYaml) {
  const Wrong cases[] = {
      {cluster("  traces: {thresholds: [{operation: Read, minMicroseconds: 20ms}]}\n"),
       "p.yaml:5:60: spec.traces.thresholds[0].minMicroseconds must be a whole number of microseconds from 1 to "
       "3600000000, not '20ms', write 20000"},
      {cluster("  preset: *x\n"), "p.yaml:5:11: not valid YAML: the referenced anchor is not defined"},
      {cluster("  preset: &x Minimal\n"), "p.yaml:5:11: anchors are not allowed, write out the value"},
      {cluster("  preset: !!str Minimal\n"), "p.yaml:5:11: the tag tag:yaml.org,2002:str is not allowed"},
      {cluster("  preset: Minimal\n  preset: Detailed\n"), "p.yaml:6:3: 'preset' is given twice"},
      {cluster("  preset: [\n"), "p.yaml:6:1: not valid YAML: end of sequence flow not found"},
      {cluster("  preset: {a: b}\n"),
       "p.yaml:5:11: spec.preset must be None, Minimal, Standard or Detailed, not a map"},
      {cluster("  attributes: {podLabels: team}\n"),
       "p.yaml:5:27: spec.attributes.podLabels must be a list, not 'team'"},
      {cluster(" x\n"), "p.yaml:5:2: spec must be a map of fields, not 'x'"},
      {cluster("  {[a]: b}\n"), "p.yaml:5:4: a key must be a word"},
  };
  expect_sentences(cases);
}

TEST(PolicyFile, AnExcludeMayNameProbesAndNothingElseOfThem) {
  PolicyFile file = parse(cluster("  mode: Exclude\n  probes: [{name: disk}]\n"));
  EXPECT_EQ(file.problems, std::vector<std::string>());
  ASSERT_EQ(file.policies[0].probes.size(), 1u);
  EXPECT_EQ(file.policies[0].probes[0].name, "disk");
  const Wrong cases[] = {
      {cluster("  mode: Exclude\n  probes: [{name: disk, level: Minimal}]\n"),
       "p.yaml:6:32: spec.probes[0].level has no effect with mode Exclude, where probes only lists what not to "
       "measure"},
      {cluster("  mode: Exclude\n  probes: [{name: dsk}]\n"),
       "p.yaml:6:19: there is no probe 'dsk', did you mean 'disk' (this build has disk, cpu, storage, all)"},
  };
  expect_sentences(cases);
}

TEST(PolicyFile, NumbersAreReadAsKubernetesReadsThem) {
  for (const char* sixteen : {"16", "0x10", "0o20", "020", "0b1_0000", "1_6", "16.0", "1.6e1", "+16"}) {
    PolicyFile file = parse(cluster(std::string("  priority: ") + sixteen + "\n"));
    ASSERT_EQ(file.problems, std::vector<std::string>()) << sixteen;
    EXPECT_EQ(file.policies[0].priority, 16) << sixteen;
  }
}

TEST(PolicyFile, WhatKubernetesWouldReadOtherwiseIsRefused) {
  const Wrong cases[] = {
      {cluster("  priority: \"5\"\n"), "p.yaml:5:13: spec.priority must be a whole number from 0 to 1000, not '5'"},
      {cluster("  priority: 5.5\n"), "p.yaml:5:13: spec.priority must be a whole number from 0 to 1000, not '5.5'"},
      {cluster("  podSelector: {matchLabels: {version: 1.0}}\n"),
       "p.yaml:5:40: spec.podSelector.matchLabels.version must be a string, and '1.0' without quotes is a number: "
       "write \"1.0\""},
      {cluster("  podSelector: {matchLabels: {canary: yes}}\n"),
       "p.yaml:5:39: spec.podSelector.matchLabels.canary must be a string, and 'yes' without quotes is true or "
       "false: write \"yes\""},
      {cluster("  podSelector: {matchLabels: {on: \"1\"}}\n"),
       "p.yaml:5:31: a key of spec.podSelector.matchLabels must be a string, and 'on' without quotes is true or "
       "false: write \"on\""},
      {cluster("  podSelector: {matchLabels: {app: }}\n"),
       "p.yaml:5:31: spec.podSelector.matchLabels.app has no value: write \"\" for an empty string"},
      {cluster("  attributes: {podLabels: [0x1F]}\n"),
       "p.yaml:5:28: an entry of spec.attributes.podLabels must be a string, and '0x1F' without quotes is a number: "
       "write \"0x1F\""},
      {cluster("  <<: {preset: Minimal}\n"), "p.yaml:5:3: merge keys (<<) are not allowed, write out the fields"},
      {"apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: 123}\nspec: {}\n",
       "p.yaml:3:18: metadata.name must be a string, and '123' without quotes is a number: write \"123\""},
      {"apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: a, labels: {v: 2}}\nspec: {}\n",
       "p.yaml:3:33: metadata.labels.v must be a string, and '2' without quotes is a number: write \"2\""},
  };
  expect_sentences(cases);
}

TEST(PolicyFile, WrongHeads) {
  const Wrong cases[] = {
      {"apiVersion: sonde.dev/v1\nkind: ClusterMonitorPolicy\nmetadata: {name: p}\nspec: {}\n",
       "p.yaml:1:13: apiVersion must be sonde.dev/v1alpha1, not 'sonde.dev/v1', did you mean 'sonde.dev/v1alpha1'"},
      {"kind: ClusterMonitorPolicy\nmetadata: {name: p}\nspec: {}\n",
       "p.yaml:1:1: apiVersion is missing, write apiVersion: sonde.dev/v1alpha1"},
      {"apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitoringPolicy\nmetadata: {name: p}\nspec: {}\n",
       "p.yaml:2:7: kind must be MonitorPolicy or ClusterMonitorPolicy, not 'ClusterMonitoringPolicy', did you mean "
       "'ClusterMonitorPolicy'"},
      {"apiVersion: sonde.dev/v1alpha1\nkind: MonitorPolicy\nspec: {}\n",
       "p.yaml:1:1: metadata is missing, write metadata: {name: …}"},
      {"apiVersion: sonde.dev/v1alpha1\nkind: MonitorPolicy\nmetadata: {}\nspec: {}\n",
       "p.yaml:3:11: metadata.name is missing, a policy needs a name"},
      {"apiVersion: sonde.dev/v1alpha1\nkind: MonitorPolicy\nmetadata: {name: A_b}\nspec: {}\n",
       "p.yaml:3:18: metadata.name must consist of lower-case letters, digits, '-' and '.', and start and end with a "
       "letter or digit, not 'A_b'"},
      {"apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: a, namespace: b}\nspec: {}\n",
       "p.yaml:3:32: a ClusterMonitorPolicy has no metadata.namespace: remove it or write kind: MonitorPolicy"},
      {"apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: a}\n",
       "p.yaml:1:1: spec is missing, write spec: with at least a preset"},
      {"apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: a}\nspec:\n",
       "p.yaml:1:1: spec is missing, write spec: with at least a preset"},
      {"just text\n", "p.yaml:1:1: a policy must be a map of fields, not 'just text'"},
      {"- a\n- b\n", "p.yaml:1:1: a policy must be a map of fields, not a list"},
      {"a: b: c\n", "p.yaml:1:5: not valid YAML: illegal map value"},
      {"apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: a}\nspec: {}\nstatsu: {}\n",
       "p.yaml:5:1: a policy has no field 'statsu', did you mean 'status' (allowed: apiVersion, kind, metadata, spec, "
       "status)"},
  };
  expect_sentences(cases);
}

TEST(PolicyFile, AllProblemsAreToldAtOnce) {
  PolicyFile file = parse(cluster("  presett: Standard\n  priority: -1\n  probes: [{name: dsk, level: High}]\n"));
  ASSERT_EQ(file.problems.size(), 3u);
  EXPECT_TRUE(
      file.problems[0].starts_with("p.yaml:5:3: spec has no field 'presett', did you mean 'preset' (allowed: "));
  EXPECT_TRUE(file.problems[1].starts_with("p.yaml:6:13: spec.priority must be "));
  EXPECT_TRUE(file.problems[2].starts_with("p.yaml:7:19: there is no probe 'dsk', did you mean 'disk'"));
}

TEST(PolicyFile, NamesAreUniqueInAFile) {
  PolicyFile file = parse(cluster("  preset: Minimal\n") + "---\n" + cluster("  preset: Detailed\n"));
  EXPECT_EQ(file.problems,
            std::vector<std::string>{"p.yaml:7:1: the policy 'p' is already in line 1: names must be unique"});
  // The same name in a namespace is another policy.
  EXPECT_TRUE(parse(cluster("  preset: Minimal\n") + "---\n" + tenant("  preset: Detailed\n")).problems.empty());
}

TEST(PolicyFile, HostileFilesAreRefusedQuickly) {
  std::string dashes, maps, bomb = "a0: &a0 [x, x]\n", keys, many = "a: [";
  for (int i = 0; i < 5000; ++i) dashes += "- ";
  for (int i = 0; i < 5000; ++i) maps += "{a: ";
  for (int i = 1; i < 30; ++i) {
    std::string n = std::to_string(i), m = std::to_string(i - 1);
    bomb += "a" + n + ": &a" + n + " [*a" + m + ", *a" + m + "]\n";
  }
  for (int i = 0; i < 120'000; ++i) many += "1,";
  EXPECT_EQ(parse(dashes + "a").problems, std::vector<std::string>{"p.yaml:1:65: nested deeper than 32 levels"});
  EXPECT_EQ(parse(std::string(5000, '[')).problems.size(), 1u);
  EXPECT_EQ(parse(maps).problems.size(), 1u);
  EXPECT_EQ(parse(bomb).problems, std::vector<std::string>{"p.yaml:1:5: anchors are not allowed, write out the value"});
  EXPECT_EQ(parse(many + "]").problems.size(), 1u);
  EXPECT_EQ(parse(std::string((1 << 20) + 1, '#')).problems,
            std::vector<std::string>{"p.yaml:1:1: larger than 1048576 bytes"});
  EXPECT_EQ(parse(std::string("a: b\n\0c", 7)).problems, std::vector<std::string>{"p.yaml:2:1: not a text file"});
  // A long wrong word is cut in the message, and makes no second line.
  auto long_word = parse(cluster("  preset: \"" + std::string(10'000, 'x') + "\"\n")).problems;
  ASSERT_EQ(long_word.size(), 1u);
  EXPECT_LT(long_word[0].size(), 250u);
  auto two_lines = parse(cluster("  preset: \"a\\nb\"\n")).problems;
  ASSERT_EQ(two_lines.size(), 1u);
  EXPECT_EQ(two_lines[0].find('\n'), std::string::npos);
}

TEST(PolicyFile, ManyProblemsAreCutShort) {
  std::string spec;
  for (int i = 0; i < 500; ++i) spec += "  wrong" + std::to_string(i) + ": 1\n";
  EXPECT_EQ(parse(cluster(spec)).problems.size(), 50u);
}

}  // namespace
}  // namespace sonde
