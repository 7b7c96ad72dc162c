// SPDX-License-Identifier: Apache-2.0
// Context switches that BPF does not see: the sched object on its own, its program detached for a while.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <array>

#include "bpf/modules/sched/sched.h"
#include "tests/kernel/support/held_process.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("SchedMissedTest.*", Trait::Preemption);

constexpr uint32_t kSlot = 2;
constexpr uint32_t kSlots = 4;
constexpr uint32_t kRows = 8;

class SchedMissedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "BPF programs can only be loaded by root";
    module_ = static_cast<uint32_t>(find_module("sched"));
    const auto elf = modules()[module_].object;
    object_ = bpf_object__open_mem(elf.data(), elf.size(), nullptr);
    ASSERT_NE(object_, nullptr);
    // Syscall programs iterate over all tasks, which not every kernel can and this test does not need.
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, object_) {
      if (bpf_program__type(program) == BPF_PROG_TYPE_SYSCALL) bpf_program__set_autoload(program, false);
    }
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object_) {
      const std::string_view name = bpf_map__name(map);
      if (name.starts_with("sched_")) bpf_map__set_max_entries(map, kSlots);
      if (!name.starts_with("sonde_") || name == "sonde_globals" || name == "sonde_contexts") continue;
      if (bpf_map__max_entries(map) == 1) bpf_map__set_max_entries(map, kRows);
    }
    ASSERT_EQ(bpf_object__load(object_), 0);
    sonde_globals globals{};
    globals.generation = 1;
    write("sonde_globals", 0, globals);
    for (uint32_t row = 1; row < kRows; ++row)
      ASSERT_EQ(bpf_map_update_elem(fd("sonde_free_rows"), nullptr, &row, 0), 0);
    const uint64_t cgroup = box_.id();
    const sonde_subject subject{kSlot, SONDE_KIND_CONTAINER};
    ASSERT_EQ(bpf_map_update_elem(fd("sonde_subjects"), &cgroup, &subject, 0), 0);
    sonde_slot_config config{};
    config.flags[module_] = SCHED_FLAG_WAIT | SCHED_FLAG_SWITCHES | SCHED_FLAG_ONCPU;
    write("sonde_slot_config", kSlot, config);
  }

  void TearDown() override {
    watch(false);
    if (object_) bpf_object__close(object_);
  }

  int fd(const char* map) const { return bpf_object__find_map_fd_by_name(object_, map); }
  template <typename T>
  void write(const char* map, uint32_t key, const T& value) const {
    ASSERT_EQ(bpf_map_update_elem(fd(map), &key, &value, 0), 0) << map;
  }
  template <typename T>
  T read(const char* map, uint32_t key) const {
    T value{};
    EXPECT_EQ(bpf_map_lookup_elem(fd(map), &key, &value), 0) << map;
    return value;
  }
  bpf_program* program(const char* name) const { return bpf_object__find_program_by_name(object_, name); }

  void watch(bool wanted) {
    if (link_) bpf_link__destroy(link_);
    link_ = wanted ? bpf_program__attach(program("sched_switch")) : nullptr;
    EXPECT_EQ(link_ != nullptr, wanted);
  }

  // What was counted so far, as the kernel's figures would say it.
  TaskFigures counted() const {
    const auto rows = read<std::array<uint32_t, SCHED_HISTOGRAMS>>("sched_histograms", kSlot);
    const auto waits = read<sonde_histogram>("sonde_histograms", rows[SCHED_WAIT]);
    const auto counters = read<std::array<uint64_t, SCHED_COUNTERS>>("sched_counters", kSlot);
    uint64_t count = waits.overflow;
    for (const uint32_t bucket : waits.bucket) count += bucket;
    return {counters[SCHED_ONCPU], waits.sum, count, counters[SCHED_VOLUNTARY], counters[SCHED_INVOLUNTARY], 0};
  }

  Cgroup box_{"/sonde-test-" + std::to_string(getpid()) + "-missed"};
  uint32_t module_ = 0;
  bpf_object* object_ = nullptr;
  bpf_link* link_ = nullptr;
};

TEST_F(SchedMissedTest, TheNextSwitchMakesUpForThemAndSaysHowMany) {
  // Older than the first epoch, so that all of its life before is left out.
  HeldProcess process(box_, {[] { burn_ms(5); },
                             [] {
                               for (int i = 0; i < 30; ++i) usleep(2000);
                             }});
  ASSERT_EQ(bpf_prog_test_run_opts(bpf_program__fd(program("sched_begin")), nullptr), 0);
  watch(true);
  process.step(0);  // takes note of the process at its switch-out
  const auto begin = process.figures();
  const auto counted_before = counted();
  process.step(0);
  watch(false);
  const auto gap_begin = process.figures();
  process.step(1);
  const auto gap = process.figures() - gap_begin;
  watch(true);
  process.step(0);
  const auto truth = process.figures() - begin;
  const auto counts = counted() - counted_before;
  EXPECT_GE(gap.arrivals, 30U);
  EXPECT_EQ(counts.arrivals, truth.arrivals);
  EXPECT_EQ(counts.wait_ns, truth.wait_ns);
  EXPECT_EQ(counts.oncpu_ns, truth.oncpu_ns);
  EXPECT_EQ(counts.voluntary, truth.voluntary);
  EXPECT_EQ(counts.involuntary, truth.involuntary);
  const auto losses = read<std::array<uint64_t, SONDE_LOSSES>>("sonde_losses", module_);
  EXPECT_EQ(losses[SCHED_LOSS_MERGED], gap.arrivals) << "all but the one after the gap";
}

}  // namespace
}  // namespace sonde::test
