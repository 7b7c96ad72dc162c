// SPDX-License-Identifier: Apache-2.0
#include "agent/export/file_exporter.h"

#include <fcntl.h>
#include <google/protobuf/util/json_util.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "agent/export/file_span_exporter.h"
#include "tests/unit/export/otlp_trace_server.h"

namespace sonde {
namespace {

using namespace test;  // NOLINT
namespace fs = std::filesystem;

// What is logged while it lives.
class Log {
 public:
  Log() : before_(spdlog::default_logger()) {
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(said_);
    spdlog::set_default_logger(std::make_shared<spdlog::logger>("test", std::move(sink)));
  }
  ~Log() { spdlog::set_default_logger(before_); }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  std::string said() const { return said_.str(); }

 private:
  std::ostringstream said_;
  std::shared_ptr<spdlog::logger> before_;
};

class FileExporterTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "sonde-file-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::unique_ptr<FileExporter> open(FileOptions options) {
    auto made = FileExporter::create(std::move(options));
    if (!made) throw std::runtime_error(made.error().message());
    return std::move(*made);
  }

  // Every line must be a whole request; the number points of all lines.
  static std::vector<std::string> read(const fs::path& path) {
    std::ifstream file(path);
    std::vector<std::string> points;
    for (std::string line; std::getline(file, line);) {
      pb::ExportMetricsServiceRequest request;
      EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(line, &request).ok()) << line;
      for (auto& point : number_points(request)) points.push_back(point);
    }
    return points;
  }

  fs::path directory_;
};

TEST_F(FileExporterTest, WritesOneRequestALine) {
  auto exporter = open({.path = directory_ / "out.jsonl"});
  exporter->push(many_sums(2, 2));
  exporter->push(many_sums(1, 1, 7));
  EXPECT_EQ(read(directory_ / "out.jsonl"), (std::vector<std::string>{
                                                "pod-0 sonde.test.operations number=0 1",
                                                "pod-0 sonde.test.operations number=1 1",
                                                "pod-1 sonde.test.operations number=0 1",
                                                "pod-1 sonde.test.operations number=1 1",
                                                "pod-0 sonde.test.operations number=0 7",
                                            }));
  EXPECT_EQ(exporter->stats().points_sent, 5U);
  EXPECT_EQ(exporter->stats().bytes_sent, fs::file_size(directory_ / "out.jsonl"));
}

TEST_F(FileExporterTest, ADirectoryGetsAFile) {
  open({.path = directory_})->push(many_sums(1, 1));
  EXPECT_EQ(read(directory_ / "metrics.jsonl").size(), 1U);
  EXPECT_EQ(open({.path = directory_.string() + "/"})->destination(), directory_ / "metrics.jsonl");
  EXPECT_EQ(open({.path = directory_.string() + "/made/"})->destination(), directory_ / "made" / "metrics.jsonl");
}

TEST_F(FileExporterTest, AWrongPathIsToldAtOnce) {
  auto made = FileExporter::create({.path = directory_ / "missing" / "out"});
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().message().find("missing/out: "), std::string::npos) << made.error().message();
  EXPECT_FALSE(FileExporter::create({.path = ""}));
}

TEST_F(FileExporterTest, LongBatchesTakeSeveralLines) {
  auto exporter = open({.path = directory_ / "out", .max_line_bytes = 10'000});
  exporter->push(many_sums(3, 300));
  std::ifstream file(directory_ / "out");
  for (std::string line; std::getline(file, line);) EXPECT_LE(line.size(), 10'000U);
  EXPECT_EQ(read(directory_ / "out").size(), 900U);
}

TEST_F(FileExporterTest, RotatesAndKeepsTheNewest) {
  auto exporter = open({.path = directory_ / "out", .max_bytes = 2'000, .keep = 2});
  for (int i = 1; i <= 20; i++) exporter->push(many_sums(1, 2, i));
  std::vector<std::string> all;
  for (const char* name : {"out.2", "out.1", "out"}) {
    EXPECT_LE(fs::file_size(directory_ / name), 2'000U);
    for (auto& point : read(directory_ / name)) all.push_back(point);
  }
  EXPECT_FALSE(fs::exists(directory_ / "out.3"));
  ASSERT_GE(all.size(), 8U);
  EXPECT_EQ(all.back(), "pod-0 sonde.test.operations number=1 20");
  // Without a gap up to the newest.
  for (size_t i = 0; i < all.size(); i += 2) {
    EXPECT_NE(all[i].find(" " + std::to_string(20 - (all.size() - 1 - i) / 2)), std::string::npos) << all[i];
  }
}

TEST_F(FileExporterTest, GoesOnAfterTheFileWasMovedOrEmptied) {
  auto exporter = open({.path = directory_ / "out"});
  exporter->push(many_sums(1, 1, 1));
  fs::rename(directory_ / "out", directory_ / "moved");
  exporter->push(many_sums(1, 1, 2));
  fs::resize_file(directory_ / "out", 0);
  exporter->push(many_sums(1, 1, 3));
  EXPECT_EQ(read(directory_ / "moved"), (std::vector<std::string>{"pod-0 sonde.test.operations number=0 1"}));
  EXPECT_EQ(read(directory_ / "out"), (std::vector<std::string>{"pod-0 sonde.test.operations number=0 3"}));
}

// A full disk, made with a limit on the size of files: a write ends in the middle of a line.
TEST_F(FileExporterTest, AFullDiskLeavesNoHalfLineAndIsLeftAgain) {
  auto exporter = open({.path = directory_ / "out"});
  exporter->push(many_sums(1, 5, 1));
  const auto before = fs::file_size(directory_ / "out");
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  rlimit tight{before + 300, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  Log log;
  exporter->push(many_sums(1, 5, 2));
  exporter->push(many_sums(1, 5, 2));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(fs::file_size(directory_ / "out"), before);
  auto stats = exporter->stats();
  EXPECT_EQ(stats.points_dropped, 10U);
  EXPECT_EQ(stats.failures.at("write"), 2U);  // EFBIG
  EXPECT_NE(stats.last_error, "");
  EXPECT_EQ(std::ranges::count(log.said(), '\n'), 1) << log.said();
  EXPECT_NE(log.said().find("file export: cannot write to "), std::string::npos) << log.said();
  exporter->push(many_sums(1, 5, 3));
  EXPECT_NE(log.said().find(" works again\n"), std::string::npos) << log.said();
  EXPECT_EQ(read(directory_ / "out").size(), 10U);
  EXPECT_EQ(exporter->stats().last_error, "");
}

TEST_F(FileExporterTest, DevFullCountsAsDiskFull) {
  auto exporter = open({.path = "/dev/full"});
  exporter->push(many_sums(1, 5));
  EXPECT_EQ(exporter->stats().points_dropped, 5U);
  EXPECT_EQ(exporter->stats().failures.at("disk_full"), 1U);
}

TEST_F(FileExporterTest, APipeThatNobodyReadsDoesNotBlockForLong) {
  const fs::path pipe = directory_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  Fd reader(::open(pipe.c_str(), O_RDONLY | O_NONBLOCK));
  auto exporter = open({.path = pipe});
  exporter->push(many_sums(1, 2'000, 1));  // larger than the pipe: begins a line
  EXPECT_GT(exporter->stats().queued_bytes, 0U);
  exporter->push(many_sums(1, 1, 2));  // dropped: the line before is not out
  EXPECT_EQ(exporter->stats().points_dropped, 1U);
  EXPECT_EQ(exporter->stats().failures.at("stalled"), 1U);
  std::string text;
  std::thread drain([&] {
    char buffer[4096];
    for (;;) {
      const ssize_t got = ::read(reader.get(), buffer, sizeof(buffer));
      if (got > 0) text.append(buffer, static_cast<size_t>(got));
      if (got == 0) return;  // the exporter has closed it
      if (got < 0) ::usleep(5'000);
    }
  });
  exporter->flush(30'000'000'000);
  exporter->push(many_sums(1, 1, 3));
  exporter->flush(30'000'000'000);
  exporter.reset();
  drain.join();
  std::ofstream(directory_ / "copy") << text;
  auto points = read(directory_ / "copy");
  ASSERT_EQ(points.size(), 2'001U);
  EXPECT_EQ(points.back(), "pod-0 sonde.test.operations number=0 3");
}

TEST_F(FileExporterTest, FsyncIsDoneWhereAsked) {
  auto exporter = open({.path = directory_ / "out", .sync = FileSync::EachBatch});
  exporter->push(many_sums(1, 1));
  EXPECT_EQ(exporter->stats().failures.count("sync"), 0U);
  EXPECT_EQ(read(directory_ / "out").size(), 1U);
}

// Points and spans share the file and its rotation; each line is one request.
TEST_F(FileExporterTest, SpansAreLinesOfTheirOwn) {
  FileOptions options;
  options.path = directory_ / "out.jsonl";
  options.max_line_bytes = 3'000;
  auto file = open(options);
  auto spans = make_file_span_exporter(*file);
  EXPECT_EQ(spans->name(), "file_traces");
  file->push(many_sums(1, 1));
  spans->consume(many_spans(20));
  spans->flush(10'000'000'000);
  uint64_t lines_of_metrics = 0, lines_of_spans = 0;
  std::vector<int64_t> numbers;
  std::ifstream in(directory_ / "out.jsonl");
  for (std::string line; std::getline(in, line);) {
    EXPECT_LT(line.size(), 3'000U);
    pb::ExportMetricsServiceRequest metrics;
    if (google::protobuf::util::JsonStringToMessage(line, &metrics).ok()) {
      lines_of_metrics++;
      continue;
    }
    pb::ExportTraceServiceRequest traces;
    ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(line, &traces).ok()) << line;
    lines_of_spans++;
    for (const int64_t number : numbers_of(traces)) numbers.push_back(number);
  }
  EXPECT_EQ(lines_of_metrics, 1U);
  EXPECT_GT(lines_of_spans, 1U);
  ASSERT_EQ(numbers.size(), 20U);
  EXPECT_EQ(numbers.back(), 19);
  EXPECT_EQ(spans->stats().spans_sent, 20U);
  EXPECT_TRUE(spans->stats().spans_dropped.empty());
}

TEST_F(FileExporterTest, SpansThatTheDiskDoesNotTakeAreCounted) {
  FileOptions options;
  options.path = "/dev/full";
  auto file = open(options);
  auto spans = make_file_span_exporter(*file);
  spans->consume(many_spans(5));
  spans->flush(10'000'000'000);
  EXPECT_EQ(spans->stats().spans_sent, 0U);
  EXPECT_EQ(spans->stats().spans_dropped, (std::map<std::string, uint64_t>{{"disk_full", 5}}));
  EXPECT_EQ(file->stats().failures.at("disk_full"), 1U);
}

}  // namespace
}  // namespace sonde
