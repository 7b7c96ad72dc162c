// SPDX-License-Identifier: Apache-2.0
#include "agent/base/worker.h"

#include <gtest/gtest.h>

#include <atomic>

namespace sonde {
namespace {

constexpr uint64_t kHour = 3'600'000'000'000;

TEST(Worker, PausesAndGoesOn) {
  std::atomic<int> turns{0};
  Worker worker;
  worker.start([&] {
    while (turns < 3 && !worker.pause(1000)) ++turns;
  });
  while (turns < 3) std::this_thread::yield();
  EXPECT_FALSE(worker.stopping());
  worker.end();
  EXPECT_TRUE(worker.stopping());
  EXPECT_EQ(turns, 3);
}

TEST(Worker, EndsAPauseAtOnce) {
  std::atomic<bool> paused{false}, ended{false};
  {
    Worker worker;
    worker.start([&] {
      paused = true;
      ended = worker.pause(kHour);
    });
    while (!paused) std::this_thread::yield();
  }
  EXPECT_TRUE(ended);
}

TEST(Worker, NoPauseBeginsAfterTheStop) {
  Worker worker;
  worker.stop();
  std::atomic<bool> over{false};
  worker.start([&] { over = worker.pause(kHour); });
  worker.end();
  worker.end();
  EXPECT_TRUE(over);
}

TEST(Worker, NeedNotBeStarted) {
  Worker worker;
  worker.end();
  EXPECT_TRUE(worker.stopping());
}

}  // namespace
}  // namespace sonde
