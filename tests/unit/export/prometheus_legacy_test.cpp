// SPDX-License-Identifier: Apache-2.0
// `prometheus.naming: legacy`: the names of the tools that Sonde replaces, from what the probes' tables say.
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <string>

#include "agent/export/prometheus_exporter.h"
#include "agent/module/module.h"
#include "tests/unit/export/prometheus_support.h"

namespace sonde::prometheus_test {
namespace {

constexpr const char* kOpenMetrics = "application/openmetrics-text;version=1.0.0";

// A probe's metric, with all that its table says.
const MetricSpec& metric_of_a_probe(std::string_view name) {
  for (const ModuleEntry& entry : modules()) {
    for (const MetricSpec& metric : entry.module->info().metrics) {
      if (metric.name == name) return metric;
    }
  }
  ADD_FAILURE() << "no probe has " << name;
  return kIo;
}

class PrometheusLegacy : public ::testing::Test {
 protected:
  PrometheusLegacy() { batch_.resource(container(1, "cart-0", "app")); }

  void add(std::string_view metric, AttributeSet set, int64_t value) {
    batch_.integer(metric_of_a_probe(metric), attributes(of_process(std::move(set))), value);
  }
  void add_operations(std::string_view metric, AttributeSet set, uint64_t count) {
    batch_.histogram(metric_of_a_probe(metric), attributes(of_process(std::move(set))), 0, {count}, 6);
  }
  // Label sets are compared without those of the Resource: name{own labels} → value, legacy names only.
  std::map<std::string, std::string> scrape() {
    PrometheusExporter exporter({.legacy_names = true});
    exporter.push(batch_.take());
    body_ = exporter.render({"", ""}).body;
    EXPECT_TRUE(ExpositionReader(exporter.render({kOpenMetrics, ""}).body, true).errors.empty());
    ExpositionReader reader(body_, false);
    EXPECT_TRUE(reader.errors.empty()) << reader.errors[0];
    std::map<std::string, std::string> found;
    for (const auto& [key, value] : reader.samples) {
      if (!key.starts_with("ebpf_") && !key.starts_with("app_")) continue;
      const std::size_t at = key.find(kBase);
      if (at == std::string::npos) {
        ADD_FAILURE() << key << " lacks labels of the Resource";
        continue;
      }
      found[key.substr(0, at) + "{" + key.substr(at + kBase.size())] = value;
    }
    return found;
  }

  const std::string kBase =
      "{job=\"sonde\",instance=\"shop.cart-0.app\",k8s_container_name=\"app\",k8s_namespace_name=\"shop\","
      "k8s_pod_name=\"cart-0\",";
  const int64_t page_ = sysconf(_SC_PAGESIZE);
  std::string body_;

 private:
  static AttributeSet of_process(AttributeSet set) {
    set.push_back({"process.executable.name", "redis"});
    set.push_back({"process.pid", int64_t{42}});
    return set;
  }
  BatchBuilder batch_;
};

TEST_F(PrometheusLegacy, AllNamesComeFromTheMetricsOfTheProbes) {
  add("sonde.file.io", {{"disk.io.direction", "read"}}, 100);
  add("sonde.file.io", {{"disk.io.direction", "write"}}, 50);
  add_operations("sonde.file.operation.duration", {{"sonde.file.operation", "read"}}, 5);
  add_operations("sonde.file.operation.duration", {{"sonde.file.operation", "write"}}, 3);
  add_operations("sonde.file.operation.duration", {{"sonde.file.operation", "fsync"}}, 7);
  add("sonde.stream.io", {{"disk.io.direction", "read"}}, 1000);
  add("sonde.stream.io", {{"disk.io.direction", "write"}}, 25);
  add_operations("sonde.stream.wait.duration", {{"disk.io.direction", "write"}}, 2);
  add("sonde.fadvise.calls", {{"sonde.fadvise.advice", "willneed"}}, 8);
  add("sonde.fadvise.calls", {{"error.type", "EBADF"}, {"sonde.fadvise.advice", "willneed"}}, 2);
  add("sonde.page_cache.read", {{"sonde.page_cache.outcome", "hit"}}, 3 * page_);
  add("sonde.page_cache.read", {{"sonde.page_cache.outcome", "miss"}}, page_);
  add("sonde.page_cache.added", {}, 9 * page_);
  add("sonde.memory.reclaim.scanned", {{"sonde.memory.reclaimer", "kswapd"}}, 6 * page_);
  add("sonde.memory.reclaim.scanned", {{"sonde.memory.reclaimer", "direct"}}, 2 * page_);
  add("sonde.memory.reclaim.reclaimed", {{"sonde.memory.reclaimer", "direct"}}, 2 * page_);
  add("sonde.memory.reclaim.tasks", {}, 11);
  add("sonde.tcp.io", {{"network.io.direction", "transmit"}}, 70);
  add("sonde.tcp.io", {{"network.io.direction", "receive"}}, 71);
  add("sonde.tcp.segments", {{"network.io.direction", "transmit"}}, 12);
  add("sonde.function.bytes", {{"sonde.function.name", "f"}}, 400);
  add("sonde.function.bytes", {{"sonde.function.name", "g"}}, 40);
  add("sonde.function.calls", {{"sonde.function.name", "f"}}, 4);
  const auto found = scrape();
  const std::map<std::string, std::string> expected = {{"ebpf_io_read_bytes_total", "100"},
                                                       {"ebpf_io_read_ops_total", "5"},
                                                       {"ebpf_io_write_bytes_total", "50"},
                                                       {"ebpf_io_write_ops_total", "3"},
                                                       {"ebpf_fadvise_calls_total", "10"},
                                                       {"ebpf_fadvise_success_total", "8"},
                                                       {"ebpf_fadvise_success_rate_percent", "80"},
                                                       {"ebpf_cache_read_attempts_total", "4"},
                                                       {"ebpf_cache_misses_total", "1"},
                                                       {"ebpf_cache_hit_rate_percent", "75"},
                                                       {"ebpf_cache_miss_rate_percent", "25"},
                                                       {"ebpf_page_cache_adds_total", "9"},
                                                       {"ebpf_memory_lru_pages_scanned", "8"},
                                                       {"ebpf_memory_lru_pages_reclaimed", "2"},
                                                       {"ebpf_memory_reclaim_efficiency_percent", "25"},
                                                       {"ebpf_memory_direct_reclaim_processes", "11"},
                                                       {"app_write_bytes_total", "75"},
                                                       {"app_write_events_total", "5"},
                                                       {"app_tcp_send_bytes_total", "70"},
                                                       {"app_tcp_send_events_total", "12"},
                                                       {"app_uprobe_bytes_total", "440"},
                                                       {"app_uprobe_calls_total", "4"}};
  std::map<std::string, std::string> labelled = {
      {"ebpf_fadvise_advice_total{advice=\"willneed\",comm=\"redis\",pid=\"42\"}", "10"}};
  for (const auto& [name, value] : expected) labelled[name + "{comm=\"redis\",pid=\"42\"}"] = value;
  EXPECT_EQ(found, labelled);
  EXPECT_NE(body_.find("\nsonde_file_io_bytes_total{"), std::string::npos) << "the other names stay";
}

TEST_F(PrometheusLegacy, WhatIsNotMeasuredHasNoName) {
  add("sonde.file.io", {{"disk.io.direction", "read"}}, 100);
  add("sonde.page_cache.read", {{"sonde.page_cache.outcome", "hit"}}, 0);
  EXPECT_EQ(scrape(),
            (std::map<std::string, std::string>{{"ebpf_io_read_bytes_total{comm=\"redis\",pid=\"42\"}", "100"},
                                                {"ebpf_cache_read_attempts_total{comm=\"redis\",pid=\"42\"}", "0"}}))
      << "no rate of nothing, and a percentage of nothing is not 0";
}

}  // namespace
}  // namespace sonde::prometheus_test
