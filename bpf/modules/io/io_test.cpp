// SPDX-License-Identifier: Apache-2.0
// The io probe's tables, and the histogram's arithmetic.
#include "bpf/modules/io/io.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>

#include "agent/module/module.h"
#include "bpf/modules/io/names_tables.h"
#include "bpf/modules/io/programs_tables.h"
#include "sonde/histogram.h"

namespace sonde {
namespace {

const Module& io() { return *modules()[static_cast<std::size_t>(find_module("io"))].module; }

TEST(IoTables, FsIsAnotherNameOfIo) { EXPECT_EQ(find_module("fs"), find_module("io")); }

TEST(IoTables, EachSeriesHasAPlaceOfItsOwnAndAFlag) {
  const ModuleInfo& info = io().info();
  std::set<std::pair<int, int>> places;
  for (const SeriesSpec& series : info.series) {
    ASSERT_LT(series.metric, info.metrics.size());
    EXPECT_NE(series.flag, 0) << info.metrics[series.metric].name;
    EXPECT_GE(series.level, info.metrics[series.metric].level);
    EXPECT_TRUE(places.insert({static_cast<int>(series.source), series.index}).second)
        << info.metrics[series.metric].name << " " << series.index;
    const int length = series.source == Source::Counter     ? info.counters
                       : series.source == Source::Histogram ? info.histograms
                       : series.source == Source::Gauge     ? info.gauges
                                                            : 1;
    EXPECT_LT(series.index, length);
  }
}

TEST(IoTables, EachSeriesHasAValueForEachAttribute) {
  const ModuleInfo& info = io().info();
  std::set<std::string> names;
  for (const SeriesSpec& series : info.series) {
    const MetricSpec& metric = info.metrics[series.metric];
    if (series.source == Source::Cells) continue;
    std::string name(metric.name);
    for (std::size_t i = 0; i < kMaxAttributes; i++) {
      EXPECT_EQ(series.values[i].empty(), i >= metric.attributes.size()) << metric.name;
      name += "|" + std::string(series.values[i]);
    }
    EXPECT_TRUE(names.insert(name).second) << name << " twice";
  }
}

TEST(IoTables, EachMetricHasASeriesAtItsOwnLevel) {
  const ModuleInfo& info = io().info();
  for (std::size_t i = 0; i < info.metrics.size(); i++) {
    bool found = false;
    for (const SeriesSpec& series : info.series) found |= series.metric == i && series.level == info.metrics[i].level;
    EXPECT_TRUE(found) << info.metrics[i].name;
  }
}

TEST(IoTables, LevelsHaveTheSeriesOfTheCatalogue) {
  std::map<Level, int> count;
  for (const SeriesSpec& series : io().info().series) count[series.level]++;
  EXPECT_EQ(count[Level::Minimal], 2);   // bytes read and written
  EXPECT_EQ(count[Level::Standard], 4);  // read, write, fsync; errors
  EXPECT_EQ(count[Level::Detailed], 5 + 16 + 1 + IO_OPCODES);
}

TEST(IoTables, MinimalNeedsNoBeginOfCalls) {
  uint8_t flags = 0;
  for (const SeriesSpec& series : io().info().series) {
    if (series.level == Level::Minimal) flags |= series.flag;
  }
  for (const ProgramSpec& program : kPrograms) {
    const bool entry = program.program == "io_sys_enter" || program.program.starts_with("io_enter_");
    EXPECT_FALSE(entry && (program.flags & flags)) << program.program;
  }
}

TEST(IoTables, EveryFlagOfASeriesAttachesAProgramInEachAlternative) {
  for (const SeriesSpec& series : io().info().series) {
    for (const int alternative : {kFentry, kTracepoints}) {
      bool found = false;
      for (const ProgramSpec& program : kPrograms) {
        found |= (program.flags & series.flag) &&
                 (program.alternative == kEveryAlternative || program.alternative == alternative);
      }
      EXPECT_TRUE(found) << "flag " << int{series.flag} << " alternative " << alternative;
    }
  }
}

TEST(IoTables, FailuresAreNamedByErrno) {
  const CellSeries cell = io().decode_cell(IO_ERROR_KEY(IO_WRITE, ENOSPC));
  EXPECT_EQ(io().info().metrics[cell.metric].name, "sonde.file.operation.errors");
  EXPECT_EQ(cell.values[0], "write");
  EXPECT_EQ(cell.values[1], "ENOSPC");
  EXPECT_EQ(io().decode_cell(IO_ERROR_KEY(IO_STAT, ENOENT)).values[0], "stat");
  EXPECT_EQ(io().decode_cell(IO_ERROR_KEY(IO_READ, 4000)).values[1], "_OTHER");
  EXPECT_EQ(io().decode_cell(kOtherCells).values[1], "_OTHER");
}

TEST(IoTables, OpcodesEndWithOneForTheRest) {
  std::set<std::string_view> names(kOpcodeNames.begin(), kOpcodeNames.end());
  EXPECT_EQ(names.size(), kOpcodeNames.size());
  EXPECT_EQ(kOpcodeNames[22], "read");        // IORING_OP_READ
  EXPECT_EQ(kOpcodeNames[48], "sendmsg_zc");  // IORING_OP_SENDMSG_ZC
  EXPECT_EQ(kOpcodeNames[62], "pipe");        // IORING_OP_PIPE
  EXPECT_EQ(kOpcodeNames[IO_OPCODES - 1], "other");
}

// Those whose bytes nobody counts are named where a user reads it.
TEST(IoTables, EachOpcodeStandsAtItsNumberAndSaysWhatItCountsAs) {
  int place = 0;
  std::string notes;
  for (const std::string_view note : io().info().notes) notes += std::string(note) + "\n";
  const auto check = [&](int number, std::string_view name, io_call call) {
    EXPECT_EQ(number, place++) << name;
    if (call == IO_CALL_COMMAND) {
      EXPECT_NE(notes.find(name), std::string::npos) << name;
    }
    const bool moves = name.find("read") != std::string_view::npos || name.find("write") != std::string_view::npos ||
                       name.find("send") != std::string_view::npos || name.find("recv") != std::string_view::npos ||
                       name.find("cmd") != std::string_view::npos || name == "splice" || name == "tee";
    EXPECT_EQ(moves, call == IO_CALL_READ || call == IO_CALL_WRITE || call == IO_CALL_SPLICE || call == IO_CALL_TEE ||
                         call == IO_CALL_MULTISHOT || call == IO_CALL_COMMAND || call == IO_CALL_NETWORK)
        << name;
  };
#define SONDE_CHECK_OPCODE(number, name, call) check(number, #name, IO_CALL_##call);
  IO_URING_OPCODES(SONDE_CHECK_OPCODE)
#undef SONDE_CHECK_OPCODE
  EXPECT_EQ(place, IO_KNOWN_OPCODES);
}

TEST(IoAlternatives, FentryOnlyWhereItMissesNothing) {
  Features features;
  features.has_function = [](std::string_view) { return true; };
  EXPECT_NE(fentry_unusable(features), "");
  features.fentry = true;
  EXPECT_EQ(fentry_unusable(features), "");
  features.preemptible = true;
  EXPECT_NE(fentry_unusable(features), "");
  features.preemptible = false;
  features.has_function = [](std::string_view) { return false; };
  EXPECT_NE(fentry_unusable(features), "");
}

// The OTLP definition: value in (base^index, base^(index+1)] seconds, base = 2^(1/4).
uint32_t exact_bucket(uint64_t ns) {
  const long double seconds = static_cast<long double>(ns) / 1e9L;
  return static_cast<uint32_t>(static_cast<int>(std::ceil(std::log2(seconds) * 4)) - 1 - SONDE_HIST_OFFSET);
}

TEST(IoHistogram, LatenciesFrom4MicrosecondsOnAreInTheRightBucket) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> exponent(std::log2(4e3), std::log2(70e9));
  const int samples = 1'000'000;
  int right = 0;
  for (int i = 0; i < samples; i++) {
    const auto ns = static_cast<uint64_t>(std::exp2(exponent(random)));
    const uint32_t bucket = sonde_hist_index(ns);
    right += bucket == exact_bucket(ns);
    ASSERT_LE(std::abs(static_cast<int>(bucket) - static_cast<int>(exact_bucket(ns))), 1) << ns;
  }
  EXPECT_GE(right, samples / 10000.0 * 9995);
}

TEST(IoHistogram, BucketsRiseWithTheValueAndEndInOverflow) {
  uint32_t before = 0;
  for (uint64_t ns = 0; ns < 300'000'000'000; ns += 1 + ns / 100) {
    const uint32_t bucket = sonde_hist_index(ns);
    ASSERT_GE(bucket, before) << ns;
    ASSERT_LE(bucket, uint32_t{SONDE_HIST_BUCKETS});
    before = bucket;
  }
  EXPECT_EQ(sonde_hist_index(0), 0U);
  EXPECT_LT(sonde_hist_index(75'000'000'000), uint32_t{SONDE_HIST_BUCKETS});
  EXPECT_EQ(sonde_hist_index(100'000'000'000), uint32_t{SONDE_HIST_BUCKETS});
  EXPECT_EQ(sonde_hist_index(~uint64_t{0}), uint32_t{SONDE_HIST_BUCKETS});
}

}  // namespace
}  // namespace sonde
