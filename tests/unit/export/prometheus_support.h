// SPDX-License-Identifier: Apache-2.0
// Batches by hand, golden files, and a strict reader of both text formats.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/pipeline/batch.h"

namespace sonde::prometheus_test {

inline constexpr MetricSpec kIo{
    .name = "sonde.file.io", .unit = "By", .description = "Bytes moved between a process and files"};
inline constexpr MetricSpec kDuration{.name = "sonde.file.operation.duration",
                                      .unit = "s",
                                      .instrument = Instrument::Histogram,
                                      .description = "How long file operations took"};
inline constexpr MetricSpec kTime{
    .name = "sonde.thread.time", .unit = "s", .description = "Thread time by \"state\"\nand \\ more", .integer = false};
inline constexpr MetricSpec kConnections{.name = "sonde.tcp.active_connections",
                                         .unit = "{connection}",
                                         .instrument = Instrument::UpDownCounter,
                                         .description = "Open connections"};
inline constexpr MetricSpec kFrequency{
    .name = "sonde.cpu.frequency", .unit = "Hz", .instrument = Instrument::Gauge, .description = "Clock of a CPU"};

inline constexpr uint64_t kStart = 1'700'000'000'250'000'000;
inline constexpr uint64_t kNow = 1'700'000'060'000'000'000;

inline AttributeSetPtr attributes(AttributeSet set = {}) {
  return std::make_shared<const AttributeSet>(std::move(set));
}

inline ResourcePtr container(uint64_t id, const std::string& pod, const std::string& name) {
  auto made = std::make_shared<Resource>();
  made->id = id;
  made->attributes = {{"k8s.container.name", name},
                      {"k8s.namespace.name", "shop"},
                      {"k8s.pod.label.app.kubernetes.io/name", "cart \"v2\"\n\\"},
                      {"k8s.pod.name", pod},
                      {"service.instance.id", "shop." + pod + "." + name},
                      {"service.name", "sonde"}};
  made->promoted = {{"k8s.container.name", name}, {"k8s.namespace.name", "shop"}, {"k8s.pod.name", pod}};
  return made;
}

class BatchBuilder {
 public:
  explicit BatchBuilder(uint64_t time_ns = kNow) { batch_->time_ns = time_ns; }

  BatchBuilder& resource(ResourcePtr resource) {
    batch_->resources.push_back({std::move(resource), static_cast<uint32_t>(batch_->points.size()), 0});
    return *this;
  }
  BatchBuilder& integer(const MetricSpec& metric, AttributeSetPtr set, int64_t value) {
    Point& point = add(metric, std::move(set));
    point.integer = value;
    return *this;
  }
  BatchBuilder& real(const MetricSpec& metric, AttributeSetPtr set, double value) {
    Point& point = add(metric, std::move(set));
    point.real = value;
    return *this;
  }
  BatchBuilder& histogram(const MetricSpec& metric, AttributeSetPtr set, int32_t offset, std::vector<uint64_t> counts,
                          double sum) {
    Point& point = add(metric, std::move(set));
    point.real = sum;
    point.bucket_offset = offset;
    point.bucket_begin = static_cast<uint32_t>(batch_->buckets.size());
    point.bucket_length = static_cast<uint32_t>(counts.size());
    for (uint64_t count : counts) point.count += count;
    batch_->buckets.insert(batch_->buckets.end(), counts.begin(), counts.end());
    return *this;
  }
  BatchBuilder& ended(const MetricSpec& metric, AttributeSetPtr set) {
    add(metric, std::move(set)).no_recorded_value = true;
    return *this;
  }
  BatchPtr take() { return std::move(batch_); }

 private:
  Point& add(const MetricSpec& metric, AttributeSetPtr set) {
    Point point;
    point.metric = &metric;
    point.attributes = std::move(set);
    point.start_ns = kStart;
    point.time_ns = batch_->time_ns;
    batch_->resources.back().length++;
    return batch_->points.emplace_back(std::move(point));
  }
  std::shared_ptr<Batch> batch_ = std::make_shared<Batch>();
};

// SONDE_UPDATE_GOLDEN=1 writes the file instead; look at the difference before committing it.
inline void expect_golden(const std::string& name, const std::string& got) {
  std::filesystem::path path = std::filesystem::path(SONDE_SOURCE_DIR) / "tests/golden" / name;
  if (std::getenv("SONDE_UPDATE_GOLDEN")) {
    std::ofstream(path, std::ios::binary) << got;
    return;
  }
  std::ifstream file(path, std::ios::binary);
  ASSERT_TRUE(file) << path;
  std::stringstream content;
  content << file.rdbuf();
  EXPECT_EQ(content.str(), got) << path;
}

// Reads an exposition as strictly as the two specifications allow and collects what is wrong in `errors`.
class ExpositionReader {
 public:
  ExpositionReader(std::string_view text, bool openmetrics) : openmetrics_(openmetrics) { read(text); }

  std::vector<std::string> errors;
  std::map<std::string, std::string> samples;  // "name{labels}" → value
  std::map<std::string, std::string> types;

 private:
  static bool name_char(char c, bool first, bool colon) {
    return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || (colon && c == ':') ||
           (!first && std::isdigit(static_cast<unsigned char>(c)));
  }
  void fail(const std::string& what) { errors.push_back(what + " in line: " + std::string(line_)); }

  void read(std::string_view text) {
    if (text.empty() || text.back() != '\n') errors.push_back("the last line has no end");
    bool eof = false;
    while (!text.empty()) {
      std::size_t end = text.find('\n');
      line_ = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (eof) fail("text after # EOF");
      if (openmetrics_ && line_ == "# EOF") {
        eof = true;
        continue;
      }
      if (line_.starts_with("# "))
        comment();
      else
        sample();
    }
    if (openmetrics_ && !eof) errors.push_back("no # EOF");
  }

  void comment() {
    std::istringstream words{std::string(line_.substr(2))};
    std::string keyword, name, rest;
    words >> keyword >> name;
    std::getline(words, rest);
    if (keyword == "HELP") {
      start(name);
      for (std::size_t i = 0; i < rest.size(); i++) {
        if (rest[i] == '"' && openmetrics_) fail("bare quote in HELP");
        if (rest[i] != '\\') continue;
        char next = i + 1 < rest.size() ? rest[++i] : ' ';
        if (next != '\\' && next != 'n' && !(openmetrics_ && next == '"')) fail("bad escape in HELP");
      }
    } else if (keyword == "TYPE") {
      start(name);
      std::string type = rest.empty() ? "" : rest.substr(1);
      std::set<std::string> known{"counter", "gauge", "histogram"};
      if (openmetrics_) known.insert("info");
      if (!known.contains(type)) fail("unknown type");
      types[name] = type;
    } else if (keyword == "UNIT") {
      if (!openmetrics_) fail("UNIT in text 0.0.4");
      if (!name.ends_with("_" + rest.substr(1))) fail("the unit is not the end of the name");
    } else {
      fail("unknown comment");
    }
  }

  void start(const std::string& name) {
    if (name == family_) return;
    if (!families_.insert(name).second) fail("the family appears twice");
    family_ = name;
  }

  // Which suffixes a sample of this family may have.
  bool suffix_allowed(const std::string& suffix) const {
    auto type = types.find(family_);
    if (type == types.end()) return false;
    if (type->second == "histogram")
      return suffix == "_bucket" || suffix == "_sum" || suffix == "_count" || (openmetrics_ && suffix == "_created");
    if (type->second == "counter" && openmetrics_) return suffix == "_total" || suffix == "_created";
    if (type->second == "info") return suffix == "_info";
    return suffix.empty();
  }

  void sample() {
    std::size_t i = 0;
    while (i < line_.size() && name_char(line_[i], i == 0, true)) i++;
    std::string name(line_.substr(0, i));
    if (name.empty()) return fail("no name");
    if (!name.starts_with(family_) || !suffix_allowed(name.substr(family_.size()))) fail("not of family " + family_);
    std::set<std::string> seen;
    if (i < line_.size() && line_[i] == '{') {
      i++;
      while (i < line_.size() && line_[i] != '}') {
        std::size_t begin = i;
        while (i < line_.size() && name_char(line_[i], i == begin, false)) i++;
        std::string label(line_.substr(begin, i - begin));
        if (label.empty() || label.starts_with("__")) return fail("bad label name");
        if (!seen.insert(label).second) fail("label twice");
        if (line_.substr(i, 2) != "=\"") return fail("no =\" after a label");
        for (i += 2; i < line_.size() && line_[i] != '"'; i++) {
          if (line_[i] != '\\') continue;
          char next = i + 1 < line_.size() ? line_[++i] : ' ';
          if (next != '\\' && next != 'n' && next != '"') fail("bad escape");
        }
        if (i >= line_.size()) return fail("value without end");
        i++;
        if (i < line_.size() && line_[i] == ',') i++;
      }
      if (i >= line_.size()) return fail("no }");
      i++;
    }
    std::string key(line_.substr(0, i));
    if (i >= line_.size() || line_[i] != ' ') return fail("no value");
    std::string value(line_.substr(i + 1));
    char* end = nullptr;
    double number = std::strtod(value.c_str(), &end);
    if (value.empty() || *end != '\0') fail("the value is no number");
    if (!samples.emplace(key, value).second) fail("sample twice");
    if (name.ends_with("_bucket")) {
      if (!seen.contains("le")) fail("bucket without le");
      bool same_series = key.substr(0, key.find("le=\"")) == bucket_series_;
      if (same_series && number < bucket_count_) fail("buckets fall");
      bucket_series_ = key.substr(0, key.find("le=\""));
      bucket_count_ = number;
    }
  }

  const bool openmetrics_;
  std::string_view line_;
  std::string family_;
  std::set<std::string> families_;
  std::string bucket_series_;
  double bucket_count_ = 0;
};

}  // namespace sonde::prometheus_test
