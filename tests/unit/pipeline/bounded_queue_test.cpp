// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/bounded_queue.h"

#include <gtest/gtest.h>

#include <thread>

namespace sonde {
namespace {

using namespace std::chrono_literals;

TEST(BoundedQueue, IsFirstInFirstOut) {
  BoundedQueue<int> queue(10, 100);
  queue.push(1, 1);
  queue.push(2, 1);
  EXPECT_EQ(queue.pop(0s), 1);
  EXPECT_EQ(queue.pop(0s), 2);
  EXPECT_EQ(queue.pop(1ms), std::nullopt);
}

TEST(BoundedQueue, DropsTheOldestAndCountsIt) {
  BoundedQueue<int> queue(3, 100);
  for (int i = 0; i < 5; ++i) queue.push(i, 10);
  EXPECT_EQ(queue.stats().dropped, 2u);
  EXPECT_EQ(queue.stats().dropped_bytes, 20u);
  EXPECT_EQ(queue.stats().items, 3u);
  EXPECT_EQ(queue.pop(0s), 2);
  queue.push(9, 85);
  EXPECT_EQ(queue.stats().bytes, 95u);
  EXPECT_EQ(queue.pop(0s), 4);
  EXPECT_EQ(queue.pop(0s), 9);
  EXPECT_EQ(queue.stats().bytes, 0u);
}

TEST(BoundedQueue, TakesOneThatIsTooLargeAlone) {
  BoundedQueue<int> queue(3, 100);
  queue.push(1, 10);
  queue.push(2, 1000);
  EXPECT_EQ(queue.stats().items, 1u);
  EXPECT_EQ(queue.pop(0s), 2);
}

TEST(BoundedQueue, ClosedMeansNothingNew) {
  BoundedQueue<int> queue(3, 100);
  queue.push(1, 1);
  queue.close();
  queue.push(2, 1);
  EXPECT_EQ(queue.pop(1h), 1);
  EXPECT_EQ(queue.pop(1h), std::nullopt) << "at once";
  EXPECT_EQ(queue.stats().dropped, 1u);
}

TEST(BoundedQueue, LosesNothingUncounted) {
  BoundedQueue<uint64_t> queue(50, 1000);
  constexpr int kThreads = 4;
  constexpr uint64_t kItems = 5000;
  uint64_t taken = 0, sum = 0;
  std::thread reader([&] {
    while (auto item = queue.pop(10s)) {
      ++taken;
      sum += *item;
    }
  });
  std::vector<std::thread> writers;
  for (int i = 0; i < kThreads; ++i) {
    writers.emplace_back([&] {
      for (uint64_t n = 0; n < kItems; ++n) queue.push(1, 1 + n % 50);
    });
  }
  for (auto& writer : writers) writer.join();
  queue.close();
  reader.join();
  EXPECT_EQ(taken, sum);
  EXPECT_EQ(taken + queue.stats().dropped, kThreads * kItems);
  EXPECT_EQ(queue.stats().bytes, 0u);
}

}  // namespace
}  // namespace sonde
