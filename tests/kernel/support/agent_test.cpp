// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/support/agent_test.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "agent/base/clock.h"
#include "agent/base/json.h"

namespace sonde::test {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

std::string text_of(const Attribute& attribute) {
  if (const auto* text = std::get_if<std::string>(&attribute.value)) return attribute.key + "=" + *text;
  if (const auto* number = std::get_if<int64_t>(&attribute.value)) return attribute.key + "=" + std::to_string(*number);
  return attribute.key + (std::get<bool>(attribute.value) ? "=true" : "=false");
}

// Of all CPUs together, since boot.
double idle_seconds() {
  double up = 0, idle = 0;
  std::ifstream("/proc/uptime") >> up >> idle;
  return idle;
}

bool is_subject(std::string_view key) { return key == "sonde.cgroup.path" || key == "container.id"; }

std::string text_of(const Json& attribute) {
  const Json& value = attribute["value"];
  const std::string key = attribute["key"].get<std::string>() + "=";
  if (value.contains("stringValue")) return key + value["stringValue"].get<std::string>();
  if (value.contains("intValue")) return key + value["intValue"].get<std::string>();
  return key + json_text(value);
}

int64_t value_of(const Json& point) {
  if (point.contains("asInt")) return std::stoll(point["asInt"].get<std::string>());
  if (point.contains("count")) return std::stoll(point["count"].get<std::string>());
  return static_cast<int64_t>(point.value("asDouble", 0.0));
}

void add_points(const std::string& subject, const Json& metric, std::vector<Written>& out) {
  for (const char* kind : {"sum", "gauge", "histogram", "exponentialHistogram"}) {
    if (!metric.contains(kind)) continue;
    for (const Json& point : metric[kind]["dataPoints"]) {
      Written one;
      one.subject = subject;
      one.metric = metric["name"];
      std::vector<std::string> attributes;
      for (const Json& attribute : point.value("attributes", Json::array())) attributes.push_back(text_of(attribute));
      std::ranges::sort(attributes);
      for (const auto& text : attributes) one.attributes += (one.attributes.empty() ? "" : ",") + text;
      one.start_ns = std::stoull(point.value("startTimeUnixNano", "0"));
      one.time_ns = std::stoull(point["timeUnixNano"].get<std::string>());
      one.ended = point.value("flags", 0) & 1;
      one.value = one.ended ? 0 : value_of(point);
      out.push_back(std::move(one));
    }
  }
}

}  // namespace

void read_bytes(uint64_t bytes, uint64_t chunk) {
  std::vector<char> buffer(chunk);
  const int fd = ::open("/dev/zero", O_RDONLY | O_CLOEXEC);
  const int file = ::open("/dev/shm", O_TMPFILE | O_RDWR, 0600);
  if (fd < 0 || file < 0 || ftruncate(file, static_cast<off_t>(chunk))) _exit(97);
  for (uint64_t done = 0; done < bytes; done += chunk) {
    if (pread(file, buffer.data(), chunk, 0) != static_cast<ssize_t>(chunk)) _exit(97);
  }
  ::close(file);
  ::close(fd);
}

void AgentTest::SetUp() {
  if (geteuid() != 0) GTEST_SKIP() << "BPF programs can only be loaded by root";
  std::string pattern = fs::temp_directory_path() / "sonde_agent_XXXXXX";
  ASSERT_NE(mkdtemp(pattern.data()), nullptr);
  directory_ = pattern;
  fs::create_directory(directory_ + "/policies");
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  prefix_ = "/sonde-agent-" + std::to_string(getpid()) + "-" + info->name();
  std::ranges::replace(prefix_.begin() + 1, prefix_.end(), '/', '-');
}

void AgentTest::TearDown() {
  stop();
  process_.reset();
  cgroups_.clear();
  if (!directory_.empty()) fs::remove_all(directory_);
}

void AgentTest::load(const std::map<std::string, std::string>& more) {
  AgentOptions options;
  options.inputs.env = [](std::string_view) { return std::nullopt; };
  options.inputs.flags = {{"policies", directory_ + "/policies"},
                          {"default-policy", "false"},
                          {"interval", "100ms"},
                          {"export", "file"},
                          {"file", directory_ + "/out.jsonl"}};
  if (Pod::wanted()) options.inputs.flags["cgroup-root"] = cgroup_root();
  for (const auto& [flag, value] : more) (flag == "config" ? options.inputs.file : options.inputs.flags[flag]) = value;
  if (Pod::wanted()) {
    options.inputs.flags["proc-root"] = Pod::get().proc_root();
    options.inputs.flags["cgroup-root"] = Pod::get().inside(options.inputs.flags["cgroup-root"]);
    if (!process_) process_ = std::make_unique<PodProcess>();
  }
  options.servers = false;
  options.greet = false;
  options.alternative = "tracepoints";  // every kernel has them, and they load soon
  options.break_program = break_program_;
  if (!only_.empty()) options.disabled_modules = only(only_).disabled_modules;
  options.may_leave = may_leave_;
  options.span_sinks = span_sinks_;
  options.fault = fault_;
  options.backoff.first_ns = 2'000'000'000;
  as_agent([&] {
    auto loaded = load_config(options.inputs);
    ASSERT_TRUE(loaded) << loaded.error().message();
    options.loaded = std::move(*loaded);
    auto agent = Agent::start(std::move(options));
    ASSERT_TRUE(agent) << agent.error().message();
    agent_ = std::move(*agent);
  });
}

void AgentTest::as_agent(const std::function<void()>& work) {
  if (process_) {
    process_->call(work);
  } else {
    work();
  }
}

void AgentTest::turn() {
  as_agent([this] { loop_ = std::thread([this] { left_ = agent_->run() == Agent::End::Excluded; }); });
}

void AgentTest::start(const std::map<std::string, std::string>& more) {
  load(more);
  if (agent_) turn();
}

void AgentTest::stop() {
  if (agent_) agent_->stop();
  as_agent([this] {
    if (loop_.joinable()) loop_.join();
    agent_.reset();
  });
}

Cgroup& AgentTest::cgroup(const std::string& name) {
  cgroups_.push_back(std::make_unique<Cgroup>(prefix_ + "-" + name));
  return *cgroups_.back();
}

void AgentTest::policy(const std::string& name, const std::string& spec) {
  policy_text(name, "apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: " + name +
                        "}\nspec:\n  " + spec + "\n");
}

void AgentTest::policy_text(const std::string& name, const std::string& text) {
  const std::string path = directory_ + "/policies/" + name + ".yaml";
  std::ofstream(path + ".new") << text;
  fs::rename(path + ".new", path);
}

void AgentTest::remove_policy(const std::string& name) { fs::remove(directory_ + "/policies/" + name + ".yaml"); }

std::string AgentTest::io_of(const std::string& path, const std::string& more) {
  return "cgroups: ['" + path + "']\n  preset: None\n  probes: [{name: io, level: Standard}]" +
         (more.empty() ? "" : "\n  " + more);
}

AgentTest::Shown AgentTest::shown(const std::string& subject, const std::string& metric,
                                  const std::vector<std::string>& attributes) const {
  Shown sum;
  for (const ResourceSeriesPtr& series : agent_->newest()) {
    const auto& of = series->resource->attributes;
    const bool ours = subject.empty() ? std::ranges::none_of(of, [](const Attribute& a) { return is_subject(a.key); })
                                      : std::ranges::any_of(of, [&](const Attribute& a) {
                                          return is_subject(a.key) && text_of(a) == a.key + "=" + subject;
                                        });
    if (!ours) continue;
    for (const Point& point : series->points) {
      if (point.metric->name != metric) continue;
      const auto has = [&](const std::string& wanted) {
        return std::ranges::any_of(*point.attributes, [&](const Attribute& a) { return text_of(a) == wanted; });
      };
      if (!std::ranges::all_of(attributes, has)) continue;
      sum.value += point.metric->instrument == Instrument::Histogram ? static_cast<int64_t>(point.count)
                   : point.metric->integer                           ? point.integer
                                                                     : static_cast<int64_t>(point.real);
      ++sum.series;
    }
  }
  return sum;
}

bool AgentTest::measured(const std::string& path) const {
  const auto identity = agent_->identity();
  return identity && std::ranges::any_of(identity->slots, [&](const auto& slot) {
           return slot.second.subject->cgroup_path == path && !slot.second.ended;
         });
}

bool AgentTest::measured(const Cgroup& cgroup) const {
  const auto identity = agent_->identity();
  return identity && std::ranges::any_of(identity->slots, [&](const auto& slot) {
           return slot.second.subject->cgroup_id == cgroup.id() && !slot.second.ended;
         });
}

std::vector<Written> AgentTest::written() const {
  std::vector<Written> all;
  std::ifstream file(directory_ + "/out.jsonl");
  for (std::string line; std::getline(file, line);) {
    const Json json = parse_json<Json>(line);
    if (!json.is_object()) continue;
    for (const Json& resource : json["resourceMetrics"]) {
      std::string subject;
      for (const Json& attribute : resource["resource"]["attributes"]) {
        const std::string key = attribute["key"];
        if (is_subject(key)) subject = text_of(attribute).substr(key.size() + 1);
      }
      for (const Json& scope : resource["scopeMetrics"]) {
        for (const Json& metric : scope["metrics"]) add_points(subject, metric, all);
      }
    }
  }
  return all;
}

std::vector<std::string> AgentTest::fallen() const {
  std::map<std::string, std::pair<uint64_t, int64_t>> last;
  std::vector<std::string> bad;
  for (const Written& point : written()) {
    if (point.ended || !point.start_ns || !point.metric.starts_with("sonde.file")) continue;
    const std::string name = point.subject + " " + point.metric + " " + point.attributes;
    auto& [start, value] = last[name];
    if (start == point.start_ns && point.value < value) bad.push_back(name);
    if (start > point.start_ns) bad.push_back(name + " starts earlier than before");
    start = point.start_ns;
    value = point.value;
  }
  return bad;
}

bool AgentTest::await(const std::function<bool()>& condition, double seconds) {
  const uint64_t end = monotonic_ns() + static_cast<uint64_t>(seconds * 1e9);
  while (!condition()) {
    if (monotonic_ns() > end) return false;
    usleep(10'000);
  }
  return true;
}

bool AgentTest::await_promised(const std::function<bool()>& condition, double promised) {
  const uint64_t begin = monotonic_ns();
  const double idle_before = idle_seconds();
  if (!await(condition)) return false;
  const double took = static_cast<double>(monotonic_ns() - begin) / 1e9;
  const bool had_time = idle_seconds() - idle_before > took / 2;
  EXPECT_TRUE(took <= promised || !had_time) << "took " << took << " s on a machine with time to spare";
  return true;
}

}  // namespace sonde::test
