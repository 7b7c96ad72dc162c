// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "agent/export/disk_queue.h"

namespace sonde {
namespace {

namespace fs = std::filesystem;

class DiskQueueTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "sonde-queue-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = fs::path(name) / "queue";
  }
  void TearDown() override { fs::remove_all(directory_.parent_path()); }

  std::unique_ptr<DiskQueue> open(uint64_t max_bytes = 1 << 20) {
    auto opened = DiskQueue::open(directory_, max_bytes);
    if (!opened) throw std::runtime_error(opened.error().message());
    return std::move(*opened);
  }
  static std::string record(int i, size_t length = 100) {
    std::string text = "record " + std::to_string(i) + " ";
    text.resize(length, static_cast<char>('a' + i % 26));
    return text;
  }
  std::vector<fs::path> segments() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(directory_)) {
      if (entry.path().extension() == ".q") found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  static std::vector<std::string> drain(DiskQueue& queue) {
    std::vector<std::string> all;
    while (auto front = queue.front()) {
      all.push_back(front->bytes.substr(0, front->bytes.find(' ', 7)));
      queue.pop();
    }
    return all;
  }

  fs::path directory_;
};

TEST_F(DiskQueueTest, GivesBackInOrderAndCleansUp) {
  auto queue = open();
  EXPECT_FALSE(queue->front());
  for (int i = 0; i < 5; i++) ASSERT_TRUE(queue->push(record(i), 10));
  EXPECT_EQ(queue->records(), 5U);
  EXPECT_EQ(queue->bytes(), 5U * 116);
  EXPECT_EQ(queue->front()->bytes, record(0));
  EXPECT_EQ(queue->front()->bytes, record(0));  // until popped
  EXPECT_EQ(queue->front()->points, 10U);
  EXPECT_EQ(drain(*queue), (std::vector<std::string>{"record 0", "record 1", "record 2", "record 3", "record 4"}));
  EXPECT_EQ(queue->bytes(), 0U);
  EXPECT_TRUE(segments().empty());
  ASSERT_TRUE(queue->push(record(6), 1));
  EXPECT_EQ(drain(*queue), (std::vector<std::string>{"record 6"}));
}

TEST_F(DiskQueueTest, GoesOnAfterARestartWhereItWas) {
  auto queue = open();
  for (int i = 0; i < 4; i++) ASSERT_TRUE(queue->push(record(i), 1));
  (void)queue->front();
  queue->pop();
  queue.reset();
  queue = open();
  EXPECT_EQ(queue->records(), 3U);
  ASSERT_TRUE(queue->push(record(4), 1));
  EXPECT_EQ(drain(*queue), (std::vector<std::string>{"record 1", "record 2", "record 3", "record 4"}));
  EXPECT_EQ(queue->losses().torn_bytes, 0U);
}

TEST_F(DiskQueueTest, OneAgentPerDirectory) {
  auto queue = open();
  auto second = DiskQueue::open(directory_, 1 << 20);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find("in use by another agent"), std::string::npos);
  EXPECT_FALSE(DiskQueue::open(directory_ / "not" / "there", 1));
}

// Killed at any byte of a write: what was complete is there, the rest is cut off and counted.
TEST_F(DiskQueueTest, ATornEndLosesOnlyWhatWasTorn) {
  for (uint64_t cut : {1U, 15U, 16U, 17U, 115U}) {
    fs::remove_all(directory_);
    auto queue = open();
    for (int i = 0; i < 3; i++) ASSERT_TRUE(queue->push(record(i), 1));
    queue.reset();
    fs::resize_file(segments().at(0), 2 * 116 + cut);
    queue = open();
    EXPECT_EQ(queue->losses().torn_bytes, cut);
    ASSERT_TRUE(queue->push(record(9), 1));
    EXPECT_EQ(drain(*queue), (std::vector<std::string>{"record 0", "record 1", "record 9"})) << cut;
  }
}

TEST_F(DiskQueueTest, DamagedRecordsArePassedOverAndCounted) {
  auto queue = open();
  for (int i = 0; i < 3; i++) ASSERT_TRUE(queue->push(record(i), 7));
  queue.reset();
  {
    std::fstream file(segments().at(0), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(116 + 16 + 50);
    file.put('#');
  }
  queue = open();
  EXPECT_EQ(drain(*queue), (std::vector<std::string>{"record 0", "record 2"}));
  EXPECT_EQ(queue->losses().damaged_points, 7U);
}

TEST_F(DiskQueueTest, ADamagedHeadLosesTheRestOfItsSegmentOnly) {
  auto queue = open(40'000);  // segments of 5000 bytes
  for (int i = 0; i < 20; i++) ASSERT_TRUE(queue->push(record(i, 1'000), 1));
  queue.reset();
  ASSERT_GE(segments().size(), 3U);
  {
    std::fstream file(segments().at(0), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(1'016);
    file.put('\0');
  }
  queue = open(40'000);
  auto all = drain(*queue);
  EXPECT_EQ(all.front(), "record 0");
  EXPECT_EQ(all[1], "record 5");
  EXPECT_EQ(all.back(), "record 19");
  EXPECT_EQ(all.size(), 16U);
  EXPECT_EQ(queue->losses().torn_bytes, 4U * 1'016);
}

TEST_F(DiskQueueTest, ALostCursorRepeatsButLosesNothing) {
  auto queue = open();
  for (int i = 0; i < 3; i++) ASSERT_TRUE(queue->push(record(i), 1));
  (void)queue->front();
  queue->pop();
  queue.reset();
  std::ofstream(directory_ / "cursor") << "nonsense that is longer than a cursor";
  queue = open();
  EXPECT_EQ(drain(*queue), (std::vector<std::string>{"record 0", "record 1", "record 2"}));
}

TEST_F(DiskQueueTest, DropsTheOldestAndCounts) {
  auto queue = open(40'000);
  for (int i = 0; i < 100; i++) {
    ASSERT_TRUE(queue->push(record(i, 1'000), 3));
    EXPECT_LE(queue->bytes(), 40'000U);
  }
  const uint64_t kept = queue->records();
  EXPECT_EQ(queue->losses().dropped_points, (100 - kept) * 3);
  auto all = drain(*queue);
  EXPECT_EQ(all.size(), kept);
  EXPECT_EQ(all.front(), "record " + std::to_string(100 - kept));
  EXPECT_EQ(all.back(), "record 99");
  EXPECT_FALSE(queue->push(std::string(50'000, 'x'), 1));
}

TEST_F(DiskQueueTest, ASmallerLimitAfterARestartDropsToo) {
  auto queue = open(100'000);
  for (int i = 0; i < 50; i++) ASSERT_TRUE(queue->push(record(i, 1'000), 1));
  queue.reset();
  queue = open(30'000);
  EXPECT_LE(queue->bytes(), 30'000U);
  EXPECT_EQ(queue->losses().dropped_points + queue->records(), 50U);
  EXPECT_EQ(drain(*queue).back(), "record 49");
}

TEST_F(DiskQueueTest, DroppingWhatIsBeingSentDoesNotPopAnother) {
  auto queue = open(20'000);
  for (int i = 0; i < 10; i++) ASSERT_TRUE(queue->push(record(i, 1'000), 1));
  (void)queue->front();
  for (int i = 10; i < 30; i++) ASSERT_TRUE(queue->push(record(i, 1'000), 1));
  const uint64_t before = queue->records();
  queue->pop();  // record 0 is gone long since
  EXPECT_EQ(queue->records(), before);
}

TEST_F(DiskQueueTest, AFullDiskChangesNothing) {
  auto queue = open();
  ASSERT_TRUE(queue->push(record(0), 1));
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  rlimit tight{150, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  EXPECT_FALSE(queue->push(record(1), 1));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(fs::file_size(segments().at(0)), 116U);
  ASSERT_TRUE(queue->push(record(2), 1));
  EXPECT_EQ(drain(*queue), (std::vector<std::string>{"record 0", "record 2"}));
}

}  // namespace
}  // namespace sonde
