// SPDX-License-Identifier: Apache-2.0
// What kernel tests stand on: an engine, cgroups of their own, workloads in child processes, and totals by series.
//
//   class IoTest : public KernelTest {};
//   TEST_F(IoTest, CountsReads) {
//     auto& box = cgroup("reader");            // a directory of its own in the v2 tree, removed at the end
//     select(box, {{"io", IO_FLAG_BYTES}});    // module → flags; nothing else is measured
//     box.run([] { …the work… });              // in a child that is inside before it begins; waits for it
//     collect();
//     EXPECT_EQ(total(box, "sonde.file.io", {"read"}), 4096);
//   }
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/kernel/engine.h"

namespace sonde::test {

// The v2 tree: /sys/fs/cgroup, or below a hybrid mount.
std::string cgroup_root();

// A directory in the v2 tree; killed and removed with the object.
class Cgroup {
 public:
  explicit Cgroup(std::string path);  // below the root, made with its parents
  ~Cgroup();
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;

  const std::string& path() const { return path_; }  // "/sonde-test-…"
  std::string directory() const;
  uint64_t id() const { return id_; }
  // Forks, moves the child in, then lets it work. The child's exit code is 0 unless `work` exits otherwise.
  pid_t start(const std::function<void()>& work) const;
  // start() and wait; fails the test if the child does not end well.
  void run(const std::function<void()>& work) const;
  void remove();

 private:
  std::string path_;
  uint64_t id_ = 0;
  bool made_ = false;  // what was there before is not ours to kill and remove
};

// What a collection brought, added up per slot.
class Totals : public SampleSink {
 public:
  std::span<const ModuleEntry> modules = sonde::modules();
  struct Histogram {
    uint64_t count = 0;
    uint64_t sum = 0;
    std::map<int, uint64_t> buckets;
  };
  void counter(uint32_t slot, SeriesId id, uint64_t delta) override;
  void gauge(uint32_t slot, SeriesId id, int64_t value) override;
  void histogram(uint32_t slot, SeriesId id, const HistogramDelta& delta) override;

  // metric name and attribute values joined by '|' → value: "sonde.file.io|read"
  std::map<uint32_t, std::map<std::string, int64_t>> values;
  std::map<uint32_t, std::map<std::string, Histogram>> histograms;
};

// Of an engine with this module alone: it starts sooner.
EngineOptions only(const std::string& module);

enum class Cleanup { Keep, Clear };

class KernelTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  // Options of the engine; override before SetUp runs.
  virtual EngineOptions options() const { return {}; }

  // Not what loads, attaches or reads: see as_agent().
  Engine& engine() { return *engine_; }
  // Where the agent would run: here, or in the pod (pod.h).
  void as_agent(const std::function<void()>& work) const;
  void sync_programs();
  void watch_programs(uint64_t now_ns);
  Cgroup& cgroup(const std::string& name);
  // Gives the cgroup a slot (if it has none) and these flags. An empty map measures nothing.
  uint32_t select(const Cgroup& cgroup, const std::map<std::string, uint8_t>& flags_by_module, uint16_t sample = 1,
                  bool per_process = false);
  uint32_t slot_of(const Cgroup& cgroup);  // 0 if it has none
  void collect(bool gauges = false);
  // The end of a slot's life as the agent brings it about. release() takes it from its holder, drained() says which slots
  // were read a last time by the collection before, give_back() makes one of those available.
  void release(uint32_t slot);
  void collect_released();
  std::vector<uint32_t> drained();
  void give_back(uint32_t slot);

  int64_t total(const Cgroup& cgroup, const std::string& metric, const std::vector<std::string>& values = {});
  Totals::Histogram histogram(const Cgroup& cgroup, const std::string& metric,
                              const std::vector<std::string>& values = {});
  // Everything that was counted on this cgroup's slot, for "nowhere" checks.
  uint64_t everything(const Cgroup& cgroup);
  uint64_t losses(const std::string& module);  // all reasons
  uint64_t losses(const std::string& module, int reason);
  static uint16_t module_id(const std::string& name);

  Cleanup cleanup_ = Cleanup::Keep;
  Totals totals_;

 private:
  std::unique_ptr<Engine> engine_;
  uint64_t collection_began_ns_ = 0;
  std::vector<std::unique_ptr<Cgroup>> cgroups_;
  std::string prefix_;
};

// Polls until it holds; false if it does not within so many seconds.
bool eventually(const std::function<bool()>& condition, double seconds = 60);

// Work for tests: SONDE_TEST_EVENTS scales the long ones (the virtual machines are slow).
uint64_t scaled(uint64_t events);

}  // namespace sonde::test
