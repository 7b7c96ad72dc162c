// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/pipeline/support.h"

#include <algorithm>
#include <set>

#include "agent/module/intern.h"

namespace sonde::testing {
namespace {

constexpr AttributeSpec kDirection[] = {{"direction", "read, write"}};
constexpr AttributeSpec kCause[] = {{"cause", "wakeup, preemption"}};
constexpr AttributeSpec kError[] = {{"operation", "read"}, {"error.type", "errno name"}};
constexpr AttributeSpec kDevice[] = {{"device", "any"}};
constexpr AttributeSpec kNumber[] = {{"number", "0 .. 39"}};

constexpr MetricSpec kMetrics[] = {
    {.name = "t.io", .unit = "By", .level = Level::Minimal, .attributes = kDirection},
    {.name = "t.wait", .unit = "s", .instrument = Instrument::Histogram, .level = Level::Minimal, .attributes = kCause},
    {.name = "t.errors", .unit = "{operation}", .attributes = kError},
    {.name = "t.kills", .unit = "{kill}", .level = Level::Minimal, .from_zero = true},
    {.name = "t.time", .unit = "s", .level = Level::Standard, .integer = false},
    {.name = "t.open", .unit = "{file}", .instrument = Instrument::UpDownCounter, .level = Level::Detailed},
    {.name = "t.node", .unit = "{event}", .node = true},
    {.name = "t.rare", .unit = "{event}", .level = Level::OptIn},
    {.name = "t.many", .unit = "{event}", .level = Level::Standard, .attributes = kNumber},
    {.name = "t.disk", .unit = "s", .instrument = Instrument::Histogram, .attributes = kDevice},
    {.name = "t.limit", .unit = "1", .instrument = Instrument::Gauge, .level = Level::Detailed},
};

std::vector<SeriesSpec> make_series() {
  std::vector<SeriesSpec> series = {
      {.metric = 0, .values = {"read"}, .level = Level::Minimal},
      {.metric = 0, .values = {"write"}, .level = Level::Minimal},
      {.metric = 1, .source = Source::Histogram, .level = Level::Minimal, .scale = 1e-9},
      {.metric = 1, .source = Source::Histogram, .values = {"wakeup"}, .level = Level::Detailed, .scale = 1e-9},
      {.metric = 1, .source = Source::Histogram, .values = {"preemption"}, .level = Level::Detailed, .scale = 1e-9},
      {.metric = 2, .source = Source::Cells},
      {.metric = 3, .level = Level::Minimal},
      {.metric = 4, .scale = 1e-9},
      {.metric = 5, .source = Source::Gauge, .level = Level::Detailed},
      {.metric = 6},
      {.metric = 7, .level = Level::OptIn},
  };
  static std::vector<std::string> numbers;
  for (int i = 0; i < kManySeries; ++i) numbers.push_back(std::to_string(i));
  for (int i = 0; i < kManySeries; ++i) series.push_back({.metric = 8, .values = {numbers[i]}});
  series.push_back({.metric = 9, .source = Source::Histogram, .flag = 1, .scale = 1e-9});
  series.push_back({.metric = 9, .source = Source::KeyedHistogram, .level = Level::Detailed, .flag = 2, .scale = 1e-9});
  series.push_back({.metric = 10, .source = Source::Gauge, .level = Level::Detailed});
  return series;
}

class TestModule final : public Module {
 public:
  const ModuleInfo& info() const override {
    static const std::vector<SeriesSpec> series = make_series();
    static const ModuleInfo info{.name = "test", .metrics = kMetrics, .series = series, .samples_histograms = true};
    return info;
  }
  CellSeries decode_cell(uint32_t key) const override {
    static const std::vector<std::string> names = [] {
      std::vector<std::string> made;
      for (int i = 0; i < 4096; ++i) made.push_back("E" + std::to_string(i));
      return made;
    }();
    if (key == kOtherCells || key >= names.size()) return {2, {"read", "_OTHER"}};
    return {2, {"read", names[key]}};
  }
  CellSeries decode_keyed(uint32_t key) const override {
    if (key == kOtherCells) return {9, {"other"}};
    return {9, {intern("disk\xff" + std::to_string(key))}};  // such a name is no UTF-8
  }
};

}  // namespace

const std::vector<ModuleEntry>& test_modules() {
  static const TestModule module;
  static const std::vector<ModuleEntry> entries = {{&module, {}}};
  return entries;
}

namespace {

AggregatorOptions complete(AggregatorOptions options) {
  if (options.modules.empty()) options.modules = test_modules();
  if (options.node_period_ms == 30'000) options.node_period_ms = 10'000;
  options.resource.host_name = "host1";
  options.resource.node_name = "node1";
  return options;
}

}  // namespace

World::World(AggregatorOptions options) : aggregator(complete(std::move(options))) {}

Subject World::container(uint64_t cgroup, const std::string& name, uint64_t started_ns) {
  Subject subject;
  subject.kind = SubjectKind::Container;
  subject.cgroup_id = cgroup;
  subject.cgroup_path = "/kubepods/pod1/" + std::to_string(cgroup);
  subject.container_id = "id" + std::to_string(cgroup);
  subject.started_ns = started_ns;
  subject.pod_uid = "uid1";
  subject.namespace_name = "shop";
  subject.pod_name = "web";
  subject.container_name = name;
  subject.type = ContainerType::Regular;
  return subject;
}

Decision World::decision(Level level, uint32_t period_ms) {
  Decision decision;
  decision.selected = true;
  decision.period_ms = period_ms;
  decision.probes.resize(1);
  decision.probes[0].level = level;
  for (std::size_t i = 0; i < std::size(kMetrics); ++i) {
    if (kMetrics[i].level <= level) decision.probes[0].metrics |= uint64_t{1} << i;
  }
  return decision;
}

void World::put(uint32_t slot, Subject subject, uint32_t tgid, const std::string& comm) {
  owners_[slot] = {std::make_shared<Subject>(std::move(subject)), tgid, comm, false};
}
void World::decide(uint32_t slot, Decision decided) {
  decisions_[slot] = std::make_shared<Decision>(std::move(decided));
}
void World::add(uint32_t slot, Subject subject, Decision decided) {
  put(slot, std::move(subject));
  decide(slot, std::move(decided));
}
void World::end(uint32_t slot) { owners_.at(slot).ended = true; }
void World::remove(uint32_t slot) {
  owners_.erase(slot);
  decisions_.erase(slot);
}

void World::pass(uint64_t ns) {
  now.boot_ns += ns;
  now.real_ns += ns;
}
void World::step_clock(int64_t ns) { now.real_ns += static_cast<uint64_t>(ns); }

void World::publish() {
  auto identity = std::make_shared<IdentitySnapshot>();
  auto policy = std::make_shared<PolicySnapshot>();
  identity->slots.insert(owners_.begin(), owners_.end());
  policy->slots.insert(decisions_.begin(), decisions_.end());
  identity->made_ns = policy->made_ns = now.boot_ns;
  identity_ = identity;
  policy_ = policy;
}

void World::begin() { aggregator.begin_collection(identity_, policy_, now); }

std::string text(const AttributeSet& attributes) {
  std::string out;
  for (const Attribute& attribute : attributes) {
    if (!out.empty()) out += " ";
    out += attribute.key + "=";
    if (const auto* s = std::get_if<std::string>(&attribute.value)) out += *s;
    if (const auto* i = std::get_if<int64_t>(&attribute.value)) out += std::to_string(*i);
    if (const auto* b = std::get_if<bool>(&attribute.value)) out += *b ? "true" : "false";
  }
  return out;
}

std::string attribute(const Resource& resource, const std::string& key) {
  for (const Attribute& attribute : resource.attributes) {
    if (attribute.key == key) return std::get<std::string>(attribute.value);
  }
  return "(none)";
}

std::vector<const Point*> points(const BatchPtr& batch, const std::string& metric, const std::string& attributes) {
  std::vector<const Point*> found;
  if (!batch) return found;
  for (const Point& point : batch->points) {
    if (!point.begins && point.metric->name == metric && (attributes == "*" || text(*point.attributes) == attributes)) {
      found.push_back(&point);
    }
  }
  return found;
}

const Point* point(const BatchPtr& batch, const std::string& metric, const std::string& attributes) {
  const auto found = points(batch, metric, attributes);
  EXPECT_LE(found.size(), 1u) << metric << " {" << attributes << "} is there more than once";
  return found.empty() ? nullptr : found.front();
}

const Point* beginning(const BatchPtr& batch, const std::string& metric, const std::string& attributes) {
  if (!batch) return nullptr;
  const auto found = std::ranges::find_if(batch->points, [&](const Point& point) {
    return point.begins && point.metric->name == metric && text(*point.attributes) == attributes;
  });
  return found == batch->points.end() ? nullptr : &*found;
}

std::vector<const Point*> values(const std::vector<const Point*>& points) {
  std::vector<const Point*> found;
  std::ranges::copy_if(points, std::back_inserter(found), [](const Point* each) { return !each->no_recorded_value; });
  return found;
}

std::vector<const Point*> marks(const std::vector<const Point*>& points) {
  std::vector<const Point*> found;
  std::ranges::copy_if(points, std::back_inserter(found), [](const Point* each) { return each->no_recorded_value; });
  return found;
}

ResourcePtr resource_of(const BatchPtr& batch, const Point* point) {
  const auto index = static_cast<std::size_t>(point - batch->points.data());
  for (const ResourcePoints& resource : batch->resources) {
    if (index >= resource.begin && index < resource.begin + resource.length) return resource.resource;
  }
  return nullptr;
}

void check_structure(const Batch& batch) {
  std::size_t next = 0;
  for (const ResourcePoints& resource : batch.resources) {
    ASSERT_EQ(resource.begin, next);
    ASSERT_GT(resource.length, 0u);
    next += resource.length;
    std::set<const MetricSpec*> seen;
    std::set<std::string> series;
    const MetricSpec* metric = nullptr;
    for (std::size_t i = resource.begin; i < next; ++i) {
      const Point& point = batch.points.at(i);
      if (point.metric != metric) {
        metric = point.metric;
        ASSERT_TRUE(seen.insert(metric).second) << metric->name << " stands in two places";
        series.clear();
      }
      const Point* after = i + 1 < next ? &batch.points[i + 1] : nullptr;
      if (point.begins && after && after->metric == metric && after->attributes == point.attributes) {
        ASSERT_LE(point.time_ns + kPointStep, after->time_ns) << metric->name;
        continue;
      }
      ASSERT_TRUE(series.insert(text(*point.attributes)).second) << metric->name << " " << text(*point.attributes);
      ASSERT_TRUE(std::ranges::is_sorted(*point.attributes, {}, &Attribute::key));
      ASSERT_LT(point.start_ns, point.time_ns) << metric->name;
      ASSERT_LE(point.bucket_begin + point.bucket_length, batch.buckets.size());
    }
  }
  ASSERT_EQ(next, batch.points.size());
}

HistogramDelta histogram_of(uint64_t count, uint64_t sum, const std::vector<BucketDelta>& buckets) {
  return {count, sum, buckets};
}

}  // namespace sonde::testing
