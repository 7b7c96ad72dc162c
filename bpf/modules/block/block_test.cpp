// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "agent/module/module.h"
#include "bpf/modules/block/block.h"
#include "bpf/modules/block/devices_tables.h"
#include "bpf/modules/block/names_tables.h"
#include "bpf/modules/block/queues_tables.h"

namespace sonde {
namespace {

const Module& block() { return *modules()[static_cast<std::size_t>(find_module("block"))].module; }

TEST(BlockTables, FailuresAreExportedAsZeroByOperationFromTheBegin) {
  int zeros = 0;
  for (const SeriesSpec& series : block().info().series) {
    const MetricSpec& metric = block().info().metrics[series.metric];
    EXPECT_EQ(metric.from_zero, metric.name == "sonde.block.operation.errors");
    if (!metric.from_zero || series.source != Source::Counter) continue;
    EXPECT_EQ(series.values[0], kBlockOperations[series.index - BLOCK_IO_ERRORS]);
    EXPECT_EQ(series.values[1], "EIO");
    ++zeros;
  }
  EXPECT_EQ(zeros, BLOCK_OPERATIONS);
}

TEST(BlockTables, WhatARequestBecomesIsOnlySeenForPhases) {
  for (const ProgramSpec& program : block().info().programs) {
    if (program.program == "block_issue") {
      EXPECT_EQ(program.flags, BLOCK_FLAG_PHASES);
      EXPECT_FALSE(program.gap.empty());
    }
    if (program.program == "block_complete") {
      EXPECT_TRUE(program.gap.empty()) << "nothing works without it";
    }
  }
}

// What this kernel has decides which of the hooks see requests begin; one of them always does.
TEST(BlockTables, TheBeginIsSeenByOneWay) {
  for (const bool has_start : {false, true}) {
    Features features;
    features.has_tracepoint = [has_start](std::string_view name) { return has_start && name == "block_io_start"; };
    for (const ProgramSpec& program : block().info().programs) {
      if (!program.needed) continue;
      EXPECT_EQ(program.needed(features), (program.program == "block_start") == has_start) << program.program;
    }
  }
}

TEST(BlockErrors, AreNamedAsTheCallerSeesThem) {
  const auto named = [](uint32_t operation, int error) {
    return block().decode_cell(BLOCK_ERROR_KEY(operation, error)).values;
  };
  EXPECT_EQ(named(BLOCK_WRITE, 3), (AttributeValues{"write", "ENOSPC"}));
  EXPECT_EQ(named(BLOCK_READ, 7), (AttributeValues{"read", "ENODATA"}));
  EXPECT_EQ(named(BLOCK_DISCARD, 1), (AttributeValues{"discard", "EOPNOTSUPP"}));
  EXPECT_EQ(named(BLOCK_FLUSH, 2), (AttributeValues{"flush", "ETIMEDOUT"}));
  EXPECT_EQ(named(BLOCK_READ, 16), (AttributeValues{"read", "_OTHER"})) << "another thing on each kernel";
  EXPECT_EQ(named(BLOCK_READ, 200), (AttributeValues{"read", "_OTHER"}));
  EXPECT_EQ(named(BLOCK_WRITE, -ENOSPC), (AttributeValues{"write", "ENOSPC"})) << "before Linux 5.16";
  EXPECT_EQ(block().decode_cell(kOtherCells).values[1], "_OTHER");
}

TEST(BlockKeys, HoldOperationPhaseAndDevice) {
  for (const uint32_t major : {1U, 8U, 259U, 4094U}) {
    for (const uint32_t minor : {0U, 1U, 131071U}) {
      const uint32_t key = BLOCK_KEY(major, minor, BLOCK_FLUSH, BLOCK_DEVICE);
      EXPECT_EQ(BLOCK_KEY_MAJOR(key), major);
      EXPECT_EQ(BLOCK_KEY_MINOR(key), minor);
      EXPECT_EQ(BLOCK_KEY_OPERATION(key), uint32_t{BLOCK_FLUSH});
      EXPECT_EQ(BLOCK_KEY_PHASE(key), uint32_t{BLOCK_DEVICE});
      EXPECT_NE(key, kOtherCells);
    }
  }
  const auto values = block().decode_keyed(BLOCK_KEY(0, 0, BLOCK_READ, BLOCK_QUEUE)).values;
  EXPECT_EQ(values, (AttributeValues{"read", "queue", "_OTHER"})) << "a minor number too large for a key";
  EXPECT_EQ(block().decode_keyed(kOtherCells).values[2], "_OTHER");
}

TEST(BlockDevices, AreNamedAsTheKernelDoes) {
  const std::string directory = testing::TempDir() + "/sonde-block-devices-" + std::to_string(getpid());
  std::filesystem::create_directories(directory);
  std::filesystem::create_symlink("../../devices/pci0000:00/0000:00:02.0/nvme/nvme0/nvme0n1", directory + "/259:0");
  BlockDevices devices(directory);
  EXPECT_EQ(devices.name(259, 0), "nvme0n1");
  EXPECT_EQ(devices.name(259, 7), "259:7") << "pulled out";
  std::filesystem::remove_all(directory);
  EXPECT_EQ(devices.name(259, 0), "nvme0n1") << "not looked up each time";
}

TEST(BlockController, IsFoundOnCgroupV1ByItsOldName) {
  EXPECT_TRUE(block_controller_is_v1("8:pids:/\n7:blkio:/\n0::/\n"));
  EXPECT_TRUE(block_controller_is_v1("3:cpu,blkio,memory:/docker/x\n0::/\n"));
  EXPECT_TRUE(block_controller_is_v1("3:blkio:/"));
  EXPECT_FALSE(block_controller_is_v1("0::/kubepods.slice/blkio\n"));
  EXPECT_FALSE(block_controller_is_v1("1:name=blkio:/\n0::/\n"));
  EXPECT_FALSE(block_controller_is_v1("9:cpuacct:/blkio\n0::/\n"));
  EXPECT_FALSE(block_controller_is_v1("blkio\n\n:::\n"));
  EXPECT_FALSE(block_controller_is_v1(""));
}

class PlainFiles final : public SubjectFiles {
 public:
  ssize_t read(std::string_view name, std::span<char> text) override {
    std::ifstream file{std::string(name)};
    if (!file) return -ENOENT;
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    return file.gcount();
  }
};

TEST(BlockQueues, ReadsAndWritesOfLeafDisksAndTheRestTogether) {
  const std::filesystem::path root =
      std::filesystem::temp_directory_path() / ("sonde-queues-" + std::to_string(getpid()));
  const auto disk = [&](const std::string& name, const char* inflight, bool requests = true) {
    std::filesystem::create_directories(root / name / (requests ? "mq" : "queue"));
    std::ofstream(root / name / "inflight") << inflight;
  };
  disk("sda", "       3        4\n");
  disk("loop0", "       1        1\n");
  disk("dm-0", "       3        4\n");
  disk("md127", "       3        4\n");
  disk("zram0", "       1        0\n", false);
  BlockQueues queues(root.string());
  PlainFiles files;
  std::vector<KeyedState> states;
  ASSERT_TRUE(queues.read(files, states));
  ASSERT_EQ(states.size(), 1U);
  EXPECT_EQ(queues.name(states[0].key), "sda");
  EXPECT_EQ(states[0].value, 7);
  for (std::size_t i = 0; i < kMostQueues + 4; ++i) disk("nvme" + std::to_string(i) + "n1", " 1 1\n");
  states.clear();
  ASSERT_TRUE(queues.read(files, states));
  EXPECT_EQ(states.size(), kMostQueues + 1);
  EXPECT_EQ(states.back().key, kOtherCells);
  EXPECT_EQ(states.back().value, 2 * 5) << "one name is sda's";
  EXPECT_EQ(queues.name(kOtherCells), "_OTHER");
  std::filesystem::remove_all(root);
  EXPECT_FALSE(queues.read(files, states));
}

TEST(BlockQueues, WhatIsNoNumberIsNoDepth) {
  EXPECT_EQ(parse_inflight("       0        0\n"), 0);
  EXPECT_EQ(parse_inflight(" 12 30\n"), 42);
  EXPECT_EQ(parse_inflight(""), std::nullopt);
  EXPECT_EQ(parse_inflight(" 12"), std::nullopt);
  EXPECT_EQ(parse_inflight(" x y"), std::nullopt);
}

}  // namespace
}  // namespace sonde
