// SPDX-License-Identifier: Apache-2.0
// What it costs to turn a batch of 750 containers with 50 points each into OTLP. Prints a table; --json FILE writes the
// same.
//   bench_encode [--json FILE] [--seconds N]
#include <google/protobuf/arena.h>
#include <spdlog/fmt/fmt.h>
#include <zlib.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "agent/base/clock.h"
#include "agent/export/batch_merge.h"
#include "agent/export/otlp_delta.h"
#include "agent/export/otlp_json.h"
#include "opentelemetry/proto/collector/metrics/v1/metrics_service.pb.h"

namespace sonde {
namespace {

constexpr uint32_t kContainers = 750;
constexpr uint32_t kPoints = 50;
constexpr uint64_t kStart = 1'700'000'000'000'000'000;
constexpr uint64_t kPeriod = 30'000'000'000;

enum class Kind { SharedSums, OwnSums, Histograms };

const MetricSpec kSums[] = {
    {.name = "sonde.file.io", .unit = "By", .description = "Bytes moved by reads and writes of files"},
    {.name = "sonde.file.operation.errors", .unit = "{operation}", .description = "File operations that failed"},
    {.name = "sonde.stream.io", .unit = "By", .description = "Bytes moved by reads and writes of sockets and pipes"},
    {.name = "sonde.sched.switches", .unit = "{switch}", .description = "Context switches"},
    {.name = "sonde.tcp.io", .unit = "By", .description = "Payload of TCP connections"},
};
const MetricSpec kTime{.name = "sonde.file.operation.duration",
                       .unit = "s",
                       .instrument = Instrument::Histogram,
                       .description = "Duration of file operations",
                       .integer = false};

BatchPtr make(Kind kind, uint64_t round) {
  std::vector<AttributeSetPtr> shared;
  for (const char* value : {"read", "write", "fsync", "open", "close", "rename", "unlink", "stat", "other", "none"}) {
    shared.push_back(std::make_shared<AttributeSet>(AttributeSet{{"sonde.file.operation", std::string(value)}}));
  }
  auto batch = std::make_shared<Batch>();
  batch->time_ns = kStart + round * kPeriod;
  for (uint32_t c = 0; c < kContainers; c++) {
    Resource resource{.id = c + 1};
    resource.attributes = {{"container.id", fmt::format("{:064x}", c * 7919)},
                           {"k8s.container.name", std::string("postgres")},
                           {"k8s.namespace.name", fmt::format("team-{}", c % 20)},
                           {"k8s.node.name", std::string("node-17.example.internal")},
                           {"k8s.pod.name", fmt::format("postgres-{}", c)},
                           {"k8s.pod.uid", fmt::format("12345678-1234-1234-1234-{:012x}", c)},
                           {"service.instance.id", fmt::format("team-{}.postgres-{}.postgres", c % 20, c)},
                           {"service.name", std::string("sonde")}};
    resource.promoted = {{"k8s.container.name", std::string("postgres")},
                         {"k8s.namespace.name", fmt::format("team-{}", c % 20)},
                         {"k8s.pod.name", fmt::format("postgres-{}", c)}};
    batch->resources.push_back(
        {std::make_shared<const Resource>(std::move(resource)), static_cast<uint32_t>(batch->points.size()), kPoints});
    for (uint32_t i = 0; i < kPoints; i++) {
      Point& point = batch->points.emplace_back();
      point.metric = kind == Kind::Histograms ? &kTime : &kSums[i / 10];
      point.attributes = kind == Kind::OwnSums ? std::make_shared<AttributeSet>(*shared[i % 10]) : shared[i % 10];
      point.start_ns = kStart;
      point.time_ns = batch->time_ns;
      point.integer = static_cast<int64_t>(round * 1'000'003 * (c * kPoints + i));
      if (kind != Kind::Histograms) continue;
      point.bucket_begin = static_cast<uint32_t>(batch->buckets.size());
      point.bucket_length = 24;
      point.bucket_offset = -60;
      for (uint64_t b = 0; b < point.bucket_length; b++) {
        batch->buckets.push_back(b * round * (i + 1) * 17);
        point.count += batch->buckets.back();
      }
      point.real = static_cast<double>(point.count) * 1e-6;
    }
  }
  return batch;
}

struct Row {
  std::string what;
  double ns_per_point = 0;
  double bytes_per_point = 0;
};

class Bench {
 public:
  explicit Bench(double seconds) : seconds_(seconds) {}

  // `work` does all points once and returns the bytes it made. The fastest of the rounds counts: the others had company.
  void run(const std::string& what, const std::function<uint64_t()>& work) {
    constexpr double kAll = kContainers * kPoints;
    uint64_t bytes = work();
    uint64_t best = UINT64_MAX;
    const auto end = monotonic_ns() + static_cast<uint64_t>(seconds_ * 1e9);
    do {
      const uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
      bytes = work();
      best = std::min(best, clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin);
    } while (monotonic_ns() < end);
    rows_.push_back({what, static_cast<double>(best) / kAll, static_cast<double>(bytes) / kAll});
    const Row& row = rows_.back();
    fmt::print("{:<46} {:>8.1f} {:>12.2f} {:>10.1f}\n", row.what, row.ns_per_point, 1e3 / row.ns_per_point,
               row.bytes_per_point);
  }

  bool write_json(const char* path) const {
    std::ofstream file(path);
    file << "{\"benchmark\":\"encode\",\"containers\":" << kContainers << ",\"points\":" << kContainers * kPoints
         << ",\"rows\":[";
    for (size_t i = 0; i < rows_.size(); i++) {
      file << fmt::format(
          R"({}{{"what":"{}","ns_per_point":{:.2f},"million_points_per_second":{:.3f},"bytes_per_point":{:.2f}}})",
          i ? "," : "", rows_[i].what, rows_[i].ns_per_point, 1e3 / rows_[i].ns_per_point, rows_[i].bytes_per_point);
    }
    file << "]}\n";
    return file.good();
  }

 private:
  const double seconds_;
  std::vector<Row> rows_;
};

uint64_t encode(const Batch& batch, const EncodeOptions& options) {
  OtlpEncoder encoder(options);
  BatchCursor at;
  uint64_t bytes = 0;
  while (true) {
    const EncodedRequest request = encoder.encode(batch, at);
    if (request.points == 0) return bytes;
    bytes += request.bytes.size();
  }
}

uint64_t gzip(const std::string& text, int level) {
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) std::abort();
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  const uint64_t size = stream.total_out;
  deflateEnd(&stream);
  return size;
}

void run_all(Bench& bench) {
  using Request = opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest;
  const BatchPtr sums = make(Kind::SharedSums, 1), own = make(Kind::OwnSums, 1), histograms = make(Kind::Histograms, 1);
  bench.run("sums", [&] { return encode(*sums, {}); });
  bench.run("sums, attribute sets not shared", [&] { return encode(*own, {}); });
  bench.run("sums, promoted attributes", [&] { return encode(*sums, {.promote = true}); });
  bench.run("exponential histograms, 24 buckets", [&] { return encode(*histograms, {}); });
  bench.run("explicit histograms, 12 bounds",
            [&] { return encode(*histograms, {.histograms = OtlpHistograms::Explicit}); });
  bench.run("sums as JSON lines", [&] {
    BatchCursor at;
    uint64_t bytes = 0;
    while (true) {
      const EncodedRequest line = encode_otlp_json({}, *sums, at, 900'000);
      if (line.points == 0) return bytes;
      bytes += line.bytes.size();
    }
  });

  OtlpEncoder encoder({.max_bytes = 64 << 20});
  BatchCursor at;
  const std::string bytes = encoder.encode(*sums, at).bytes;
  Request decoded;
  if (!decoded.ParseFromString(bytes)) std::abort();
  bench.run("sums by generated classes (serialize only)", [&] { return decoded.SerializeAsString().size(); });
  bench.run("gzip of sums, level 6", [&] { return gzip(bytes, 6); });
  bench.run("gzip of sums, level 1", [&] { return gzip(bytes, 1); });

  const BatchPtr next = make(Kind::SharedSums, 2);
  DeltaConverter delta(true, true);
  const BatchCursor all{static_cast<uint32_t>(sums->resources.size()), 0};
  delta.commit(*sums, {}, all);
  bench.run("delta conversion of sums", [&] {
    const BatchPtr converted = delta.convert(*next);
    delta.commit(*next, {}, all);
    delta.commit(*sums, {}, all);
    return converted->points.size();
  });
  bench.run("merging two batches", [&] { return merge_batches(sums, next).superseded; });
}

}  // namespace
}  // namespace sonde

int main(int argc, char** argv) {
  const char* json = nullptr;
  double seconds = 1;
  for (int i = 1; i < argc; i++) {
    if (std::strcmp(argv[i], "--json") == 0 && i + 1 < argc) {
      json = argv[++i];
    } else if (std::strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
      seconds = std::atof(argv[++i]);
    } else {
      fmt::print(stderr, "usage: bench_encode [--json FILE] [--seconds N]\n");
      return 2;
    }
  }
  fmt::print("{:<46} {:>8} {:>12} {:>10}\n", "one thread", "ns/point", "M points/s", "bytes");
  sonde::Bench bench(seconds);
  sonde::run_all(bench);
  if (json != nullptr && !bench.write_json(json)) {
    fmt::print(stderr, "cannot write {}\n", json);
    return 1;
  }
  return 0;
}
