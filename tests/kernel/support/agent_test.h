// SPDX-License-Identifier: Apache-2.0
// What tests of the whole agent stand on: an agent in a thread of this process that exports to a file, a directory of
// policies, cgroups with workloads in them. The machine has other cgroups too, so policies select by path. With
// SONDE_TEST_AS_POD=1 the agent lives in the pod (pod.h).
//
//   policy("mine", "cgroups: [" + box.path() + "]\n  probes: [{name: io, level: Standard}]");
//   start();
//   box.run([] { read_bytes(4096); });
//   EXPECT_TRUE(await([&] { return bytes_read(box) == 4096; }));
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "agent/base/json.h"
#include "agent/runtime/agent.h"
#include "tests/kernel/support/kernel_test.h"
#include "tests/kernel/support/pod.h"

namespace sonde::test {

inline constexpr int64_t kBlock = 4096;  // bytes that the tests' reads ask for at once

// Reads so many bytes of a file, in calls of `chunk` bytes. Ends the process with 97 if it cannot.
void read_bytes(uint64_t bytes, uint64_t chunk = 4096);

// One point as the file has it, in the order of writing.
struct Written {
  std::string subject;  // sonde.cgroup.path or container.id of the Resource; empty: the node's
  std::string metric;
  std::string attributes;  // "key=value,…", by key
  uint64_t start_ns = 0;
  uint64_t time_ns = 0;
  int64_t value = 0;   // of sums and gauges; the count of histograms
  bool ended = false;  // no_recorded_value
};

class AgentTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Starts an agent in a thread of its own; flags as on the command line, without dashes; paths of cgroups as they are outside.
  void start(const std::map<std::string, std::string>& more = {});
  // Loads and decides, but the loop does not turn before turn().
  void load(const std::map<std::string, std::string>& more = {});
  void turn();
  // A last flush, then everything the agent had is gone.
  void stop();
  Agent& agent() { return *agent_; }
  std::string break_program_;
  std::string only_;        // a probe whose module alone is loaded, which takes a tenth of the time; empty: all
  bool may_leave_ = false;  // see AgentOptions
  std::vector<SpanSink*> span_sinks_;
  // How the loop ended, once it has.
  bool left() const { return left_; }
  std::function<std::string(std::string_view)> fault_;  // see EngineOptions

  Cgroup& cgroup(const std::string& name);
  // Writes DIR/name.yaml so that no half of it can be seen. `spec` is what stands below "spec:", without indentation of
  // its first line.
  void policy(const std::string& name, const std::string& spec);
  void policy_text(const std::string& name, const std::string& text);
  void remove_policy(const std::string& name);
  // A policy that measures this cgroup's io.
  static std::string io_of(const std::string& path, const std::string& more = "");

  // --- What the agent shows now ---
  struct Shown {
    int64_t value = 0;  // added up over attributes not asked for; the count of histograms
    std::size_t series = 0;
  };
  // `attributes`: "key=value" that a point must have.
  Shown shown(const std::string& subject, const std::string& metric,
              const std::vector<std::string>& attributes = {}) const;
  int64_t bytes_read(const std::string& subject) const {
    return shown(subject, "sonde.file.io", {"disk.io.direction=read"}).value;
  }
  int64_t bytes_read(const Cgroup& cgroup) const { return bytes_read(cgroup.path()); }
  nlohmann::json status() const { return parse_json<nlohmann::json>(agent_->status_json()); }
  // Is it known to the agent under this path?
  bool measured(const std::string& path) const;
  // Likewise this one, not another that had the path before: the agent names that until its last counts are out.
  bool measured(const Cgroup& cgroup) const;

  // --- What it has written (complete after stop()) ---
  std::vector<Written> written() const;
  // Names of series whose values fell though their start time stayed. Empty is right.
  std::vector<std::string> fallen() const;

  // True as soon as the condition is; false after `seconds`.
  static bool await(const std::function<bool()>& condition, double seconds = 60);
  // Likewise; fails the test if it took longer than `promised` seconds though the machine had time to spare.
  static bool await_promised(const std::function<bool()>& condition, double promised = 2);

  std::string directory_;  // of this test: policies/ and out.jsonl are in it

 private:
  // Where the agent runs: here, or in the pod.
  void as_agent(const std::function<void()>& work);

  std::unique_ptr<PodProcess> process_;  // none outside the pod
  std::unique_ptr<Agent> agent_;
  std::atomic<bool> left_{false};
  std::thread loop_;
  std::vector<std::unique_ptr<Cgroup>> cgroups_;
  std::string prefix_;
};

}  // namespace sonde::test
