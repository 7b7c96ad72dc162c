// SPDX-License-Identifier: Apache-2.0
// Latencies of known length, from 4 us to a minute, through the kernel's own code and the agent's drain: each lands in the
// bucket that OTLP's exponential histogram of scale 2 in seconds has for it.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "observe.skel.h"
#include "sonde/histogram.h"
#include "tests/kernel/support/sched_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

// Nothing here depends on who runs it.
SONDE_TRAITS("HistogramTest.*", Trait::HostOnly);

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kShortest = 4'000;
constexpr uint64_t kLongest = 60 * kSecond;

// The index k of the bucket (2^(k/4), 2^((k+1)/4)] seconds that holds the value. The 64 bits of a long double's mantissa
// tell every whole number of nanoseconds from every edge; those edges that are whole nanoseconds it has exactly.
int otlp_index(uint64_t ns) {
  const long double seconds = static_cast<long double>(ns) / kSecond;
  int index = static_cast<int>(std::ceil(4 * std::log2(seconds))) - 1;
  while (seconds <= std::exp2(static_cast<long double>(index) / 4)) --index;
  while (seconds > std::exp2(static_cast<long double>(index + 1) / 4)) ++index;
  return index;
}

// The descriptor of the engine's map of this name (the kernel keeps 15 characters of it); -1 if there is none.
int own_map(std::string_view name) {
  for (int fd = 3; fd < 1024; ++fd) {
    bpf_map_info info{};
    uint32_t size = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && name.substr(0, 15) == info.name && info.type) return fd;
  }
  return -1;
}

class HistogramTest : public SchedTest {
 protected:
  void SetUp() override {
    SchedTest::SetUp();
    if (IsSkipped()) return;
    std::size_t size = 0;
    const void* elf = observe_bpf__elf_bytes(&size);
    object_ = bpf_object__open_mem(elf, size, nullptr);
    ASSERT_NE(object_, nullptr);
    int found = 0;
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object_) {
      const int fd = own_map(bpf_map__name(map));
      if (fd < 0) continue;
      ASSERT_EQ(bpf_map__reuse_fd(map, fd), 0) << bpf_map__name(map);
      ++found;
    }
    ASSERT_GE(found, 4) << "the engine's maps are not among this process's descriptors";
    ASSERT_EQ(bpf_object__load(object_), 0);
    program_ = bpf_program__fd(bpf_object__find_program_by_name(object_, "observe"));
    box_ = &cgroup("box");
    slot_ = select(*box_, {{"sched", kMinimal}});
  }

  void TearDown() override {
    if (object_) bpf_object__close(object_);
    SchedTest::TearDown();
  }

  void observe(uint64_t ns) {
    std::array<uint64_t, 2> event{slot_, ns};
    LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = event.data(), .ctx_size_in = sizeof(event));
    ASSERT_EQ(bpf_prog_test_run_opts(program_, &options), 0);
  }

  // Injects them, collects, and says how many are not in their bucket.
  uint64_t misplaced(const std::vector<uint64_t>& latencies) {
    totals_ = {};
    std::map<int, int64_t> balance;
    uint64_t sum = 0;
    for (const uint64_t ns : latencies) {
      observe(ns);
      if (HasFatalFailure()) return ~0ULL;
      balance[otlp_index(ns)]++;
      sum += ns;
    }
    collect();
    const auto counted = histogram(*box_, "sonde.sched.run_queue.duration");
    EXPECT_EQ(counted.count, latencies.size());
    EXPECT_EQ(counted.sum, sum);
    for (const auto& [bucket, count] : counted.buckets)
      balance[bucket + SONDE_HIST_OFFSET] -= static_cast<int64_t>(count);
    uint64_t wrong = 0;
    for (const auto& [index, difference] : balance) wrong += difference > 0 ? static_cast<uint64_t>(difference) : 0;
    return wrong;
  }

  Cgroup* box_ = nullptr;  // nobody is in it
  bpf_object* object_ = nullptr;
  int program_ = -1;
  uint32_t slot_ = 0;
};

TEST_F(HistogramTest, LatenciesFromFourMicrosecondsToAMinuteAreInTheRightBucket) {
  std::mt19937_64 random(7);
  // By factors of ten, so that no part of the range hides behind another.
  for (uint64_t low = kShortest; low < kLongest; low *= 10) {
    std::uniform_real_distribution<double> exponent(std::log(static_cast<double>(low)),
                                                    std::log(static_cast<double>(std::min(low * 10, kLongest))));
    std::vector<uint64_t> latencies(scaled(20'000));
    for (uint64_t& ns : latencies) ns = static_cast<uint64_t>(std::exp(exponent(random)));
    const double wrong = static_cast<double>(misplaced(latencies)) / static_cast<double>(latencies.size());
    RecordProperty("misplaced_from_" + std::to_string(low) + "_ns", std::to_string(wrong));
    EXPECT_LE(wrong, 0.005) << "from " << low << " ns on";
  }
}

// A thousandth on either side of each bound; the bounds themselves are inclusive.
TEST_F(HistogramTest, EdgesAreWhereTheyShouldBe) {
  std::vector<uint64_t> at_edges;
  for (int index = otlp_index(kShortest); index <= otlp_index(kLongest); ++index) {
    const auto edge = static_cast<uint64_t>(std::floor(std::exp2((index + 1) / 4.0L) * kSecond));
    at_edges.insert(at_edges.end(), {edge - edge / 1024, edge + edge / 1024});
  }
  EXPECT_EQ(misplaced(at_edges), 0U);
  // Powers of two seconds are exact, to the nanosecond (from 4 s on to the tenth digit).
  EXPECT_EQ(misplaced({kSecond / 4, kSecond / 2, kSecond, 2 * kSecond}), 0U);
  EXPECT_EQ(misplaced({kSecond / 4 + 1, kSecond / 2 + 1, kSecond + 1, 2 * kSecond + 1}), 0U);
}

TEST_F(HistogramTest, BeyondTheLastBucketTheCountAndSumStayRight) {
  EXPECT_EQ(misplaced({70 * kSecond, 50 * kSecond}), 0U);
  EXPECT_EQ(misplaced({400 * kSecond, 90'000 * kSecond}), 2U) << "they are in the one above the last";
}

}  // namespace
}  // namespace sonde::test
