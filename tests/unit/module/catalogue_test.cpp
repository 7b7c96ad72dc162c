// SPDX-License-Identifier: Apache-2.0
#include "agent/module/catalogue.h"

#include <gtest/gtest.h>
#include <sonde/spans.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include "agent/module/losses.h"
#include "agent/module/module.h"

namespace sonde {
namespace {

TEST(Catalogue, TheDocumentIsWhatTheTablesSay) {
  const std::string path = std::string(SONDE_SOURCE_DIR) + "/docs/ops/metrics.md";
  if (std::getenv("SONDE_UPDATE_DOCS")) std::ofstream(path) << metrics_markdown();
  std::stringstream written;
  written << std::ifstream(path).rdbuf();
  EXPECT_EQ(written.str(), metrics_markdown()) << "run `make generate`";
}

// Every table of every module, so that a new probe is checked without a test of its own.
class Tables : public ::testing::TestWithParam<std::size_t> {
 protected:
  const ModuleInfo& info() const { return modules()[GetParam()].module->info(); }
  // Of the row that a series of this source stands in.
  uint16_t length(Source source) const {
    switch (source) {
      case Source::Counter: return info().counters;
      case Source::Histogram: return info().histograms;
      case Source::Gauge: return info().gauges;
      case Source::Read: return info().reads;
      case Source::Cells: return info().cells ? 1 : 0;
      case Source::KeyedHistogram: return info().keyed_histograms ? 1 : 0;
      case Source::ReadKeyed: return 1;
    }
    return 0;
  }
};

TEST_P(Tables, EverySeriesHasItsPlace) {
  std::set<std::pair<Source, uint16_t>> places;
  for (const SeriesSpec& series : info().series) {
    ASSERT_LT(series.metric, info().metrics.size());
    const MetricSpec& metric = info().metrics[series.metric];
    EXPECT_NE(series.flag, 0) << metric.name << " could never be asked for";
    EXPECT_LT(series.index, length(series.source)) << metric.name;
    EXPECT_EQ(is_histogram(series.source), metric.instrument == Instrument::Histogram) << metric.name;
    if (!is_keyed(series.source)) {
      EXPECT_TRUE(places.insert({series.source, series.index}).second) << metric.name << " shares a place";
    }
  }
}

TEST_P(Tables, EveryMetricHasASeriesAndANameOfItsOwn) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < info().metrics.size(); ++i) {
    const MetricSpec& metric = info().metrics[i];
    EXPECT_TRUE(metric.name.starts_with("sonde.")) << metric.name;
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name;
    EXPECT_FALSE(metric.description.empty()) << metric.name;
    EXPECT_FALSE(metric.unit.empty()) << metric.name;
    EXPECT_LE(metric.attributes.size(), kMaxAttributes) << metric.name;
    bool found = false;
    for (const SeriesSpec& series : info().series) found = found || series.metric == i;
    EXPECT_TRUE(found) << metric.name << " has no series";
  }
}

TEST_P(Tables, EveryFlagOfASeriesAttachesAProgram) {
  uint8_t attached = 0;
  for (const ProgramSpec& program : info().programs) attached |= program.flags;
  for (const SeriesSpec& series : info().series) {
    if (series.source == Source::Read || series.source == Source::ReadKeyed) continue;
    EXPECT_NE(series.flag & attached, 0) << info().metrics[series.metric].name << ": nobody counts it";
  }
}

TEST_P(Tables, OwnLossesHavePlacesAndNamesOfTheirOwn) {
  std::set<uint8_t> places;
  std::set<std::string_view> names;
  for (std::size_t reason = 0; reason < SONDE_LOSS_OWN; ++reason) {
    EXPECT_TRUE(names.insert(loss_name(info().name, reason)).second) << reason;
  }
  EXPECT_FALSE(names.contains("other")) << "a reason of enum sonde_loss has no name";
  for (const LossSpec& own : info().losses) {
    EXPECT_TRUE(own.reason >= SONDE_LOSS_OWN && own.reason < SONDE_LOSSES) << own.name;
    EXPECT_TRUE(places.insert(own.reason).second) << own.name << " shares a place";
    EXPECT_TRUE(names.insert(own.name).second) << own.name << " is there twice";
    EXPECT_EQ(own.name.find_first_not_of("abcdefghijklmnopqrstuvwxyz_"), std::string_view::npos) << own.name;
    EXPECT_EQ(loss_name(info().name, own.reason), own.name);
    EXPECT_EQ(loss_name("core", own.reason), "other");
    EXPECT_NE((", " + loss_names() + ", ").find(", " + std::string(own.name) + ", "), std::string::npos) << own.name;
  }
}

TEST_P(Tables, EverySpanIsOfAnOperationThatIsTimed) {
  uint8_t attached = 0;
  std::set<uint8_t> operations;
  for (const ProgramSpec& program : info().programs) attached |= program.flags;
  for (const SpanSpec& span : info().spans) {
    EXPECT_LT(span.operation, SONDE_SPAN_OPERATIONS);
    EXPECT_TRUE(operations.insert(span.operation).second) << int{span.operation};
    EXPECT_NE(span.flags, 0);
    EXPECT_EQ(span.flags & attached, span.flags) << int{span.operation};
    for (const ModuleEntry& other : modules()) {
      if (&other.module->info() == &info()) continue;
      EXPECT_EQ(std::ranges::find(other.module->info().spans, span.operation, &SpanSpec::operation),
                other.module->info().spans.end())
          << int{span.operation} << " is " << other.module->info().name << "'s, too";
    }
  }
}

TEST_P(Tables, APartIsOfAProbeThatIsNoneAndHasNoOtherNames) {
  if (info().part_of.empty()) return;
  const int whole = find_module(info().part_of);
  ASSERT_GE(whole, 0) << info().part_of;
  EXPECT_EQ(modules()[static_cast<std::size_t>(whole)].module->info().name, info().part_of) << "not by an alias";
  EXPECT_TRUE(modules()[static_cast<std::size_t>(whole)].module->info().part_of.empty()) << info().part_of;
  EXPECT_TRUE(info().aliases.empty());
}

TEST_P(Tables, EveryMeasureHasAMetric) {
  std::set<std::string_view> words;
  for (const MeasureSpec& measure : info().measures) {
    EXPECT_LT(measure.metric, info().metrics.size()) << measure.word;
    EXPECT_TRUE(words.insert(measure.word).second) << measure.word;
  }
  if (!info().measures.empty()) {
    EXPECT_EQ(&modules()[static_cast<std::size_t>(function_module(modules()))].module->info(), &info())
        << "two modules measure declared functions";
  }
}

// Over all probes: what one name means and how it is shown is said in one way.
TEST(Shown, NamesAreUniqueAndContributionsAgree) {
  std::set<std::string_view> names{"name"}, fields{"name"};
  std::set<char> keys{'n', 'q', '<', '>'};
  int first = 0;
  std::map<std::string_view, const LegacyName*> legacy;
  for (const ModuleEntry& entry : modules()) {
    for (const MetricSpec& metric : entry.module->info().metrics) {
      for (const TopSpec& top : metric.top) {
        EXPECT_TRUE(names.insert(top.name).second) << top.name;
        EXPECT_TRUE(fields.insert(top.field).second) << top.field;
        EXPECT_TRUE(keys.insert(top.key).second) << top.key;
        EXPECT_TRUE(!top.p99 || metric.instrument == Instrument::Histogram) << metric.name;
        first += top.first;
      }
      for (const LegacySpec& one : metric.legacy) {
        const auto [known, fresh] = legacy.emplace(one.to.name, &one.to);
        EXPECT_TRUE(fresh || *known->second == one.to) << one.to.name << " is described in two ways";
        EXPECT_TRUE(one.label.empty() || !one.key.empty()) << one.to.name << ": a label without an attribute";
        EXPECT_TRUE(one.whole == 0 || one.to.kind == LegacyKind::Percent) << one.to.name;
        EXPECT_TRUE(!one.to.pages || metric.unit == "By") << one.to.name;
      }
    }
  }
  EXPECT_EQ(first, 1);
}

// What the tests that count in a kernel say.
const std::string& kernel_tests() {
  static const std::string all = [] {
    const std::filesystem::path top = SONDE_SOURCE_DIR;
    std::stringstream text;
    const auto add = [&text](const std::filesystem::path& file) { text << std::ifstream(file).rdbuf(); };
    for (const auto& entry : std::filesystem::recursive_directory_iterator(top / "tests/kernel")) {
      if (entry.is_regular_file()) add(entry.path());
    }
    for (const ModuleEntry& entry : modules()) {
      const std::string name(entry.module->info().name);
      for (const auto& file : std::filesystem::directory_iterator(top / "bpf/modules" / name)) {
        if (file.path().filename().string().ends_with("_kernel_test.cpp")) add(file.path());
      }
    }
    return text.str();
  }();
  return all;
}

TEST_P(Tables, EveryMetricIsCountedInAKernelTest) {
  for (const MetricSpec& metric : info().metrics) {
    const std::string name = '"' + std::string(metric.name);  // with its attributes behind it or without
    EXPECT_TRUE(kernel_tests().find(name + '"') != std::string::npos ||
                kernel_tests().find(name + '|') != std::string::npos)
        << metric.name << ": no test that knows the truth asks for it";
  }
}

INSTANTIATE_TEST_SUITE_P(Modules, Tables, ::testing::Range<std::size_t>(0, modules().size()),
                         [](const auto& parameter) {
                           return std::string(modules()[parameter.param].module->info().name);
                         });

}  // namespace
}  // namespace sonde
