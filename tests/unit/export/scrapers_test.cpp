// SPDX-License-Identifier: Apache-2.0
// What each of several readers of /metrics sees: rule by rule, as a reader of last values would count it.
#include "agent/export/scrapers.h"

#include "agent/export/prometheus_exporter.h"
#include "tests/unit/export/prometheus_support.h"

namespace sonde::prometheus_test {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
const std::string kSeries = "sonde_file_io_bytes_total{job=\"sonde\",instance=\"shop.cart-0.app\","
                            "k8s_container_name=\"app\",k8s_namespace_name=\"shop\",k8s_pod_name=\"cart-0\"}";

// A reader with a connection of its own, and what sum(increase()) over all its samples is: differences, after a fall the value.
struct Reader {
  PrometheusExporter& exporter;
  std::string agent = "Prometheus/3.16.0";
  std::string timeout = "10";
  std::string address = "10.0.0.1";
  std::shared_ptr<int> connection = std::make_shared<int>();
  std::map<std::string, int64_t> last;
  int64_t increase = 0;

  std::string read(bool arrives = true, bool openmetrics = false) {
    const ScrapePeer peer{address, agent, timeout, connection};
    const Exposition got =
        exporter.render({openmetrics ? "application/openmetrics-text;version=1.0.0" : "", "", &peer});
    if (arrives) exporter.delivered(got.visit);
    return got.body;
  }
  // "" where the series is missing.
  std::string value(bool arrives = true) {
    const std::string body = read(arrives);
    if (body.empty()) return "";
    ExpositionReader reader(body, false);
    EXPECT_TRUE(reader.errors.empty()) << reader.errors[0];
    for (const auto& [series, text] : reader.samples) {
      if (!arrives || !series.starts_with("sonde_file_io_bytes_total")) continue;
      const int64_t now = std::stoll(text);
      if (const auto before = last.find(series); before != last.end()) {
        increase += now >= before->second ? now - before->second : now;
      }
      last[series] = now;
    }
    const auto found = reader.samples.find(kSeries);
    return found == reader.samples.end() ? "" : found->second;
  }
};

class ScrapersTest : public ::testing::Test {
 protected:
  void push(int64_t value, uint64_t start_ns = kStart, uint64_t id = 1, const std::string& pod = "cart-0") {
    BatchBuilder batch;
    batch.resource(container(id, pod, "app")).integer(kIo, attributes(), value);
    auto made = std::const_pointer_cast<Batch>(batch.take());
    for (Point& point : made->points) point.start_ns = start_ns;
    exporter_.push(made);
  }
  void end(uint64_t id = 1, const std::string& pod = "cart-0") {
    BatchBuilder batch;
    batch.resource(container(id, pod, "app")).ended(kIo, attributes());
    exporter_.push(batch.take());
  }
  // Something is there before, so that nobody takes the agent for a new one.
  void long_ago() {
    push(7, kStart, 99, "other");
    now_ += 600 * kSecond;
  }
  uint64_t unscraped() { return exporter_.stats().ended_unscraped; }

  uint64_t now_ = 1000 * kSecond;
  PrometheusExporter exporter_{{.clock = [this] { return now_; }}};
  Reader prometheus_{exporter_};
};

TEST_F(ScrapersTest, WithoutAScraperValuesAreThereAtOnceAndGoAtOnce) {
  long_ago();
  push(1000);
  Reader person{exporter_, "curl/8", ""};
  EXPECT_EQ(person.value(), "1000");
  end();
  EXPECT_EQ(person.value(), "");
  EXPECT_EQ(unscraped(), 0u);
}

TEST_F(ScrapersTest, ANewSeriesIsZeroOnce) {
  long_ago();
  EXPECT_EQ(prometheus_.value(), "");
  push(1000);
  EXPECT_EQ(prometheus_.value(), "0");
  EXPECT_EQ(prometheus_.value(), "1000");
  push(1500);
  EXPECT_EQ(prometheus_.value(), "1500");
  EXPECT_EQ(prometheus_.increase, 1500);
}

TEST_F(ScrapersTest, AnAnswerThatDidNotArriveWasNotSeen) {
  long_ago();
  prometheus_.value();
  push(1000);
  EXPECT_EQ(prometheus_.value(false), "0");
  EXPECT_EQ(prometheus_.value(false), "0");
  EXPECT_EQ(prometheus_.value(), "0");
  EXPECT_EQ(prometheus_.value(), "1000");
}

TEST_F(ScrapersTest, AScraperThatComesFirstWhenAllBeginsMissesNothing) {
  EXPECT_EQ(prometheus_.value(), "");  // before the first values
  push(1000);
  EXPECT_EQ(prometheus_.value(), "0");
  now_ += 60 * kSecond;
  Reader slow{exporter_, "vm_promscrape", "60", "10.0.0.2"};
  EXPECT_EQ(slow.value(), "0");
  EXPECT_EQ(slow.value(), "1000");
}

TEST_F(ScrapersTest, AScraperThatIsNewItselfSeesValues) {
  long_ago();
  push(1000);
  EXPECT_EQ(prometheus_.value(), "1000") << "0 would be a reset of what it may have from its own last life";
}

TEST_F(ScrapersTest, WhatEndedStaysUntilItsLastValueWasFetched) {
  long_ago();
  prometheus_.value();
  push(10);
  prometheus_.value();
  push(49);
  end();
  EXPECT_EQ(prometheus_.value(), "49");
  EXPECT_EQ(prometheus_.value(), "");
  EXPECT_EQ(prometheus_.increase, 49);
  EXPECT_EQ(unscraped(), 0u);
}

// A label that was changed and is changed back: the stream goes on with its earlier total.
TEST_F(ScrapersTest, WhatComesBackBeginsWithItsEarlierTotal) {
  long_ago();
  prometheus_.value();
  Reader slow{exporter_, "vm_promscrape", "60", "10.0.0.2"};
  slow.value();
  push(50);
  for (Reader* reader : {&prometheus_, &slow, &prometheus_, &slow}) reader->value();
  end();
  EXPECT_EQ(prometheus_.value(), "") << "both have had the last value";

  BatchBuilder batch;
  batch.resource(container(1, "cart-0", "app"))
      .integer(kIo, attributes(), 50)
      .histogram(kDuration, attributes(), -4, {1, 2}, 1.5)
      .resource(container(1, "cart-0", "app"))
      .integer(kIo, attributes(), 120)
      .histogram(kDuration, attributes(), -4, {1, 4}, 2.5);
  auto made = std::const_pointer_cast<Batch>(batch.take());
  made->points[0].begins = made->points[1].begins = true;
  exporter_.push(made);
  EXPECT_EQ(prometheus_.value(), "50");
  push(130);
  EXPECT_EQ(prometheus_.value(), "130");
  std::string body = slow.read();
  EXPECT_NE(body.find("\n" + kSeries + " 50\n"), std::string::npos) << body;
  EXPECT_NE(body.find("sonde_file_operation_duration_seconds_count"), std::string::npos);
  EXPECT_NE(body.find("} 3\n"), std::string::npos) << "the histogram's earlier count";
  body = slow.read();
  EXPECT_NE(body.find("\n" + kSeries + " 130\n"), std::string::npos) << body;
  EXPECT_NE(body.find("} 5\n"), std::string::npos);
  EXPECT_EQ(prometheus_.increase, 130);
  Reader person{exporter_, "curl/8", "", "10.0.0.3"};
  EXPECT_EQ(person.value(), "130");
}

TEST_F(ScrapersTest, ALifeBetweenTwoVisitsIsSeenWhole) {
  long_ago();
  prometheus_.value();
  push(49);
  end();
  EXPECT_EQ(prometheus_.value(), "0");
  EXPECT_EQ(prometheus_.value(), "49");
  EXPECT_EQ(prometheus_.value(), "");
  EXPECT_EQ(exporter_.snapshot().size(), 1u) << "for other readers it had ended at once";
}

TEST_F(ScrapersTest, TwoOfDifferentPaceAndAPersonEachSeeAll) {
  long_ago();
  Reader slow{exporter_};  // the same machine, the same program: only the connection is another
  Reader person{exporter_, "curl/8", ""};
  prometheus_.value();
  slow.value();
  int64_t truth = 0;
  for (int second = 0; second < 600; second += 5) {
    now_ += 5 * kSecond;
    if (second % 35 == 0 && second < 480) {  // a Job's pod comes, works and goes
      push(100 + second, kStart, 1000 + static_cast<uint64_t>(second), "job-" + std::to_string(second));
      end(1000 + static_cast<uint64_t>(second), "job-" + std::to_string(second));
      truth += 100 + second;
    }
    if (second % 15 == 0) prometheus_.value();
    if (second % 60 == 0) slow.value();
    if (second % 45 == 5) {
      person.value();
      person.connection = std::make_shared<int>();
    }
  }
  EXPECT_EQ(prometheus_.increase, truth);
  EXPECT_EQ(slow.increase, truth);
  EXPECT_EQ(unscraped(), 0u);
  EXPECT_EQ(exporter_.snapshot().size(), 1u);
}

TEST_F(ScrapersTest, LivesThatComeTooFastForTheScraperAreCounted) {
  long_ago();
  prometheus_.value();
  push(10);
  prometheus_.value();
  for (uint64_t life = 1; life <= 3; life++) push(100 * static_cast<int64_t>(life), kStart + life);
  EXPECT_EQ(unscraped(), 2u) << "one waits, and only one can";
  EXPECT_EQ(prometheus_.value(), "10");
  EXPECT_EQ(prometheus_.value(), "0");
  EXPECT_EQ(prometheus_.value(), "300");
}

TEST_F(ScrapersTest, ALaterLifeWaitsUntilTheEarlierOneWasFetched) {
  long_ago();
  prometheus_.value();
  push(10);
  prometheus_.value();
  push(1000);
  push(1000, kStart + kSecond);  // another life, no end mark between, the same value
  EXPECT_EQ(prometheus_.value(), "1000");
  EXPECT_EQ(prometheus_.value(), "0");
  push(1100, kStart + kSecond);
  EXPECT_EQ(prometheus_.value(), "1100");
  EXPECT_EQ(prometheus_.increase, 2100);
  // _created is not before the first life was served last.
  const std::string text = prometheus_.read(true, true);
  const std::size_t at = text.find("sonde_file_io_bytes_created{job=\"sonde\",instance=\"shop.cart-0.app\"");
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_GT(std::stod(text.substr(text.find("} ", at) + 2)), 1.75e9) << "the clock of the test's machine, not kStart";
}

TEST_F(ScrapersTest, AScraperThatIsGoneHoldsNothingForever) {
  long_ago();
  prometheus_.value();
  now_ += 15 * kSecond;
  push(10);
  prometheus_.value();
  push(49);
  end();
  now_ += 331 * kSecond;
  push(8, kStart, 99, "other");
  EXPECT_EQ(exporter_.stats().scrapers, 0u);
  Reader late{exporter_, "curl/8", ""};
  EXPECT_EQ(late.value(), "");
  EXPECT_EQ(unscraped(), 1u);
}

TEST_F(ScrapersTest, APersonBecomesAScraperByComingTwice) {
  long_ago();
  Reader person{exporter_, "curl/8", ""};
  person.value();
  EXPECT_EQ(exporter_.stats().scrapers, 0u);
  person.connection = std::make_shared<int>();
  person.value();
  EXPECT_EQ(exporter_.stats().scrapers, 1u);
  now_ += 301 * kSecond;
  EXPECT_EQ(exporter_.stats().scrapers, 0u);
}

TEST_F(ScrapersTest, TheListOfPeersIsBoundedAndKeepsScrapers) {
  long_ago();
  prometheus_.value();
  push(10);
  prometheus_.value();
  for (int i = 0; i < 100; i++) {
    Reader once{exporter_, "curl/" + std::to_string(i), ""};
    once.value();
  }
  EXPECT_EQ(exporter_.stats().scrapers, 1u);
  EXPECT_EQ(prometheus_.value(), "10");
}

TEST_F(ScrapersTest, HistogramsBeginEmptyAndGaugesAtTheirValue) {
  long_ago();
  prometheus_.value();
  BatchBuilder batch;
  batch.resource(container(1, "cart-0", "app"))
      .histogram(kDuration, attributes(), -4, {1, 2}, 1.5)
      .integer(kConnections, attributes(), 3);
  exporter_.push(batch.take());
  const auto has = [&](const std::string& body, const std::string& name, const std::string& value) {
    const std::size_t at = body.find("\n" + name);
    return at != std::string::npos && body.substr(body.find("} ", at) + 2).starts_with(value + "\n");
  };
  std::string body = prometheus_.read();
  EXPECT_TRUE(has(body, "sonde_file_operation_duration_seconds_count", "0")) << body;
  EXPECT_TRUE(has(body, "sonde_file_operation_duration_seconds_sum", "0"));
  EXPECT_TRUE(has(body, "sonde_tcp_active_connections", "3"));
  body = prometheus_.read();
  EXPECT_TRUE(has(body, "sonde_file_operation_duration_seconds_count", "3"));
  EXPECT_TRUE(has(body, "sonde_file_operation_duration_seconds_sum", "1.5"));
}

TEST_F(ScrapersTest, WhereThereIsNoRoomWhatIsOverGoesFirst) {
  PrometheusExporter small{{.max_series = 2, .clock = [this] { return now_; }}};
  Reader reader{small};
  const auto push_to = [&](uint64_t id, bool ends) {
    BatchBuilder batch;
    batch.resource(container(id, "cart-" + std::to_string(id), "app"));
    if (ends) {
      batch.ended(kIo, attributes());
    } else {
      batch.integer(kIo, attributes(), 5);
    }
    small.push(batch.take());
  };
  reader.value();
  push_to(1, false);
  push_to(2, false);
  reader.value();
  push_to(1, true);
  push_to(3, false);
  EXPECT_EQ(small.stats().points_dropped, 0u);
  EXPECT_EQ(small.stats().ended_unscraped, 1u);
  EXPECT_EQ(small.snapshot().size(), 2u);
}

}  // namespace
}  // namespace sonde::prometheus_test
