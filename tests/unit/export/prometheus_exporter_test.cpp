// SPDX-License-Identifier: Apache-2.0
#include "agent/export/prometheus_exporter.h"

#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/text_format.h>
#include <google/protobuf/util/delimited_message_util.h>
#include <zlib.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <thread>

#include "agent/base/clock.h"
#include "agent/export/prometheus_family.h"
#include "io/prometheus/client/metrics.pb.h"
#include "tests/unit/export/prometheus_support.h"

namespace sonde::prometheus_test {
namespace {

constexpr const char* kOpenMetrics = "application/openmetrics-text;version=1.0.0";
constexpr const char* kProtobuf =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

BatchPtr two_containers() {
  auto read = attributes({{"disk.io.direction", "read"}});
  auto write = attributes({{"disk.io.direction", "write"}});
  auto fsync = attributes({{"sonde.file.operation", "fsync"}});
  auto node = std::make_shared<Resource>();
  node->id = 9;
  node->attributes = {{"host.name", "n1"}, {"service.instance.id", "n1"}, {"service.name", "sonde-agent"}};
  BatchBuilder batch;
  batch.resource(container(1, "cart-0", "app"))
      .integer(kIo, read, 40960000)
      .integer(kIo, write, 4096)
      // 2^-20: index -81 ends at 2^-20; index 0 holds (1, 2^(1/4)]; 24 lies above the last classic bound.
      .histogram(kDuration, fsync, -81, {3, 0, 0, 0, 0, 7}, 0.125)
      .real(kTime, attributes({{"sonde.thread.state", "running"}}), 1.5)
      .integer(kConnections, attributes(), 3);
  batch.resource(container(2, "cart-1", "app"))
      .integer(kIo, read, 7)
      .histogram(kDuration, fsync, 0, {1, 0, 0, 0, 0, 2}, 17.25)
      .histogram(kDuration, attributes({{"sonde.file.operation", "read"}}), 0, {}, 0);
  batch.resource(node).integer(kFrequency, attributes({{"cpu.logical_number", int64_t{0}}}), 2'400'000'000);
  return batch.take();
}

std::string protobuf_as_text(const std::string& body) {
  google::protobuf::io::ArrayInputStream stream(body.data(), static_cast<int>(body.size()));
  std::string out;
  for (;;) {
    io::prometheus::client::MetricFamily family;
    bool clean_eof = false;
    if (!google::protobuf::util::ParseDelimitedFromZeroCopyStream(&family, &stream, &clean_eof)) {
      EXPECT_TRUE(clean_eof);
      return out;
    }
    std::string text;
    google::protobuf::TextFormat::PrintToString(family, &text);
    out += text + "\n";
  }
}

TEST(PrometheusExporter, TextGolden) {
  PrometheusExporter exporter;
  exporter.push(two_containers());
  Exposition got = exporter.render({"", ""});
  EXPECT_EQ(got.content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(got.content_encoding, "");
  ExpositionReader reader(got.body, false);
  EXPECT_TRUE(reader.errors.empty()) << reader.errors[0];
  EXPECT_EQ(reader.types["sonde_file_io_bytes_total"], "counter");
  expect_golden("prometheus_text.txt", got.body);
}

TEST(PrometheusExporter, OpenMetricsGolden) {
  PrometheusExporter exporter;
  exporter.push(two_containers());
  Exposition got = exporter.render({kOpenMetrics, ""});
  EXPECT_TRUE(got.content_type.starts_with("application/openmetrics-text; version=1.0.0; charset=utf-8"));
  ExpositionReader reader(got.body, true);
  EXPECT_TRUE(reader.errors.empty()) << reader.errors[0];
  EXPECT_EQ(reader.types["target"], "info");
  expect_golden("prometheus_openmetrics.txt", got.body);
}

TEST(PrometheusExporter, ProtobufGolden) {
  PrometheusExporter exporter;
  exporter.push(two_containers());
  Exposition got = exporter.render({kProtobuf, ""});
  EXPECT_TRUE(got.content_type.starts_with("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily"));
  expect_golden("prometheus_protobuf.textproto", protobuf_as_text(got.body));
}

TEST(PrometheusExporter, CreatedCanBeLeftOut) {
  PrometheusExporter exporter({.created = false});
  exporter.push(two_containers());
  std::string body = exporter.render({kOpenMetrics, ""}).body;
  EXPECT_EQ(body.find("_created"), std::string::npos);
  EXPECT_TRUE(body.ends_with("# EOF\n"));
}

TEST(PrometheusExporter, NothingYetIsAValidAnswer) {
  PrometheusExporter exporter;
  EXPECT_EQ(exporter.render({"", ""}).body, "");
  EXPECT_EQ(exporter.render({kOpenMetrics, ""}).body, "# EOF\n");
  EXPECT_EQ(exporter.render({kProtobuf, ""}).body, "");
}

TEST(PrometheusExporter, GzipIsTheSameText) {
  PrometheusExporter exporter;
  exporter.push(two_containers());
  Exposition plain = exporter.render({"", ""});
  Exposition packed = exporter.render({"", "deflate, gzip;q=0.5"});
  ASSERT_EQ(packed.content_encoding, "gzip");
  EXPECT_LT(packed.body.size(), plain.body.size());
  std::string unpacked(plain.body.size() + 1, '\0');
  z_stream stream{};
  ASSERT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(packed.body.data());
  stream.avail_in = static_cast<uInt>(packed.body.size());
  stream.next_out = reinterpret_cast<Bytef*>(unpacked.data());
  stream.avail_out = static_cast<uInt>(unpacked.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  unpacked.resize(stream.total_out);
  inflateEnd(&stream);
  EXPECT_EQ(unpacked, plain.body);
}

TEST(PrometheusExporter, EqualLabelsAreExportedOnceAndCounted) {
  auto first = std::make_shared<Resource>();
  first->id = 1;
  auto second = std::make_shared<Resource>();
  second->id = 2;
  PrometheusExporter exporter;
  BatchBuilder batch;
  batch.resource(first).integer(kIo, attributes(), 1).resource(second).integer(kIo, attributes(), 2);
  exporter.push(batch.take());
  ExpositionReader reader(exporter.render({"", ""}).body, false);
  EXPECT_TRUE(reader.errors.empty()) << reader.errors[0];
  EXPECT_EQ(reader.samples.size(), 1u);
  EXPECT_EQ(exporter.stats().failures.at("duplicate"), 1u);
  EXPECT_EQ(exporter.stats().points_sent, 1u);
}

TEST(PrometheusExporter, OwnAttributeWinsOverPromotedAndCollidingKeysAreJoined) {
  auto resource = std::make_shared<Resource>();
  resource->id = 1;
  resource->promoted = {{"zone", "promoted"}};
  PrometheusExporter exporter;
  BatchBuilder batch;
  batch.resource(resource).integer(
      kIo, attributes({{"a.b", "1"}, {"a_b", "2"}, {"le", "x"}, {"none", ""}, {"zone", "own"}}), 5);
  exporter.push(batch.take());
  EXPECT_NE(exporter.render({"", ""}).body.find(
                "\nsonde_file_io_bytes_total{a_b=\"1;2\",exported_le=\"x\",zone=\"own\"} 5\n"),
            std::string::npos)
      << exporter.render({"", ""}).body;
}

TEST(PrometheusExporter, EqualValuesThatMeetInOneLabelAreSaidOnce) {
  const auto labels_of = [](const std::vector<std::pair<std::string, std::string>>& pairs, std::string* joined) {
    auto resource = std::make_shared<Resource>();
    resource->id = 1;
    for (const auto& [key, value] : pairs) resource->attributes.push_back({key, value});
    resource->attributes.push_back({"service.instance.id", std::string("i")});
    ResourceSeries series;
    series.resource = resource;
    const std::vector<ResourceSeriesPtr> state{std::make_shared<ResourceSeries>(series)};
    for (const auto& [label, values] : joined_labels(state)) *joined += label + "=" + values + " ";
    const PrometheusFamilies families(state, false);
    return families.families().at("target").samples.at(0).own->text;
  };
  std::string joined;
  EXPECT_EQ(labels_of({{"app.name", "web"}, {"app/name", "web"}, {"app_name", "web"}}, &joined), "app_name=\"web\"");
  EXPECT_EQ(joined, "");
  EXPECT_EQ(labels_of({{"app.name", "web"}, {"app/name", "db"}, {"app_name", "web"}}, &joined), "app_name=\"web;db\"");
  EXPECT_EQ(joined, "app_name=web;db ") << "different ones are told in status";
}

TEST(PrometheusExporter, HostileNamesStayOneSample) {
  auto resource = std::make_shared<Resource>();
  resource->id = 1;
  resource->attributes = {{"service.instance.id", "a\"} 1\nevil_total{x=\"\\"}, {"service.name", "sonde"}};
  PrometheusExporter exporter;
  BatchBuilder batch;
  batch.resource(resource).integer(kIo, attributes({{"0bad\nkey\"", std::string("\xff\xc0\x80ok")}}), 5);
  exporter.push(batch.take());
  for (const char* accept : {"", kOpenMetrics}) {
    std::string body = exporter.render({accept, ""}).body;
    ExpositionReader reader(body, *accept != 0);
    EXPECT_TRUE(reader.errors.empty()) << reader.errors[0];
    EXPECT_EQ(body.find("\nevil"), std::string::npos);
    EXPECT_EQ(body.find('\xff'), std::string::npos);
  }
}

TEST(PrometheusExporter, ScrapesWhileBatchesArrive) {
  PrometheusExporter exporter;
  std::atomic<bool> stop{false};
  std::thread pusher([&] {
    for (int round = 0; !stop; round++) {
      BatchBuilder batch;
      for (uint64_t id = 1; id <= 20; id++)
        batch.resource(container(id, "p" + std::to_string(id), "c"))
            .integer(kIo, attributes({{"disk.io.direction", "read"}}), round)
            .histogram(kDuration, attributes(), -8, {1, 2, 3}, 1);
      exporter.push(batch.take());
    }
  });
  for (int i = 0; i < 50; i++) {
    ExpositionReader reader(exporter.render({"", ""}).body + "", false);
    if (!exporter.snapshot().empty()) {
      for (const std::string& error : reader.errors)
        if (error != "the last line has no end") ADD_FAILURE() << error;
    }
  }
  stop = true;
  pusher.join();
}

// Not a timed test: prints how long one scrape takes, for docs/ops/overhead.md.
TEST(PrometheusExporter, FortyThousandSeries) {
  PrometheusExporter exporter;
  BatchBuilder batch;
  std::vector<AttributeSetPtr> sets;
  for (int i = 0; i < 50; i++)
    sets.push_back(attributes({{"disk.io.direction", i % 2 ? "read" : "write"}, {"n", int64_t{i}}}));
  for (uint64_t id = 0; id < 800; id++) {
    batch.resource(container(id + 1, "pod-" + std::to_string(id), "main"));
    for (int i = 0; i < 40; i++) batch.integer(kIo, sets[static_cast<std::size_t>(i)], i);
    for (int i = 40; i < 50; i++)
      batch.histogram(kDuration, sets[static_cast<std::size_t>(i)], -60, std::vector<uint64_t>(40, 3), 1);
  }
  BatchPtr made = batch.take();
  ASSERT_EQ(made->points.size(), 40'000u);
  auto timed = [](const std::string& what, const auto& work) {
    uint64_t begin = monotonic_ns();
    std::size_t bytes = work();
    std::printf("prometheus 40000 series: %-12s %6.1f ms, %zu bytes\n", what.c_str(),
                static_cast<double>(monotonic_ns() - begin) / 1e6, bytes);
    return bytes;
  };
  timed("first batch", [&] {
    exporter.push(made);
    return made->points.size() * sizeof(Point);
  });
  timed("next batch", [&] {
    exporter.push(made);
    return made->points.size() * sizeof(Point);
  });
  EXPECT_GT(timed("text", [&] { return exporter.render({"", ""}).body.size(); }), 1'000'000u);
  EXPECT_GT(timed("openmetrics", [&] { return exporter.render({kOpenMetrics, ""}).body.size(); }), 1'000'000u);
  EXPECT_GT(timed("protobuf", [&] { return exporter.render({kProtobuf, ""}).body.size(); }), 1'000'000u);
  EXPECT_GT(timed("text, gzip", [&] { return exporter.render({"", "gzip"}).body.size(); }), 10'000u);
}

}  // namespace
}  // namespace sonde::prometheus_test
