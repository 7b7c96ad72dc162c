// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/idle.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "agent/api/http_client.h"
#include "agent/base/json.h"
#include "agent/runtime/idle_reports.h"
#include "tests/support/json_schema.h"

namespace sonde {
namespace {

using Json = nlohmann::json;

const Obstacle kNoBtf{"NoBtf", "/sys/kernel/btf/vmlinux is missing"};

Config quiet_config() {
  Config config;
  config.listen = {"127.0.0.1:0", "127.0.0.1:0", "", ""};
  config.kubernetes.api_server = "none";
  return config;
}

IdleOptions idle_options(std::function<std::optional<Obstacle>(const Config&)> look) {
  IdleOptions options;
  options.config = quiet_config();
  options.obstacle = kNoBtf;
  options.env = [](std::string_view) { return std::nullopt; };
  options.look = std::move(look);
  return options;
}

HttpResponse get(const Idle& idle, std::size_t listener, const std::string& path) {
  const std::string address = idle.addresses().at(listener);
  HttpRequest request;
  request.url = address.substr(0, address.find(' ')) + path;
  request.timeout_ns = 5'000'000'000;
  return HttpClient(1 << 20).get(request);
}

TEST(Idle, LivesIsNotReadyAndSaysWhy) {
  auto idle = Idle::start(idle_options([](const Config&) { return kNoBtf; }));
  ASSERT_TRUE(idle) << idle.error().message();
  EXPECT_EQ(get(**idle, 0, "/livez").status, 200);
  const HttpResponse ready = get(**idle, 0, "/readyz");
  EXPECT_EQ(ready.status, 500);
  EXPECT_NE(ready.body.find("NoBtf"), std::string::npos) << ready.body;
  EXPECT_NE(ready.body.find(kNoBtf.message), std::string::npos) << ready.body;
  const Json status = parse_json<Json>(get(**idle, 1, "/statusz").body);
  EXPECT_EQ(status["idle"]["reason"], "NoBtf");
  for (const Json& module : status["modules"]) EXPECT_EQ(module["health"], "failed") << module;
  EXPECT_EQ(get(**idle, 1, "/metrics").status, 200);
  EXPECT_EQ(parse_json<Json>(get(**idle, 1, "/explain?pod=a/b").body)["containers"], Json::array());
  ASSERT_EQ(parse_json<Json>(get(**idle, 1, "/policies").body).size(), 1U) << "the default policy";
}

TEST(Idle, StatusHasThePublishedForm) {
  auto idle = Idle::start(idle_options([](const Config&) { return kNoBtf; }));
  ASSERT_TRUE(idle);
  std::vector<std::string> wrong;
  test::validate_json(test::published_schema("status"), parse_json<Json>((*idle)->status_json()), "status", wrong);
  EXPECT_EQ(wrong, std::vector<std::string>());
}

TEST(Idle, EndsWhenAsked) {
  auto idle = Idle::start(idle_options([](const Config&) { return kNoBtf; }));
  ASSERT_TRUE(idle);
  Idle::End end = Idle::End::CanMeasure;
  std::thread loop([&] { end = (*idle)->run(); });
  (*idle)->stop();
  loop.join();
  EXPECT_EQ(end, Idle::End::Stopped);
}

TEST(Idle, EndsAfterTheDuration) {
  IdleOptions options = idle_options([](const Config&) { return kNoBtf; });
  options.config.duration_ns = 1'000'000;
  auto idle = Idle::start(std::move(options));
  ASSERT_TRUE(idle);
  EXPECT_EQ((*idle)->run(), Idle::End::Stopped);
}

// The reason changes, then nothing is in the way.
TEST(Idle, LooksAgainUntilTheNodeIsMended) {
  const Obstacle other{"MissingCapability", "run it as root"};
  int looks = 0;
  Idle* self = nullptr;
  IdleOptions options = idle_options([&](const Config&) -> std::optional<Obstacle> {
    EXPECT_NE(self->status_json().find(looks == 0 ? "NoBtf" : "MissingCapability"), std::string::npos) << looks;
    if (++looks > 2) return {};
    return other;
  });
  options.look_every_ns = 1'000'000;
  auto idle = Idle::start(std::move(options));
  ASSERT_TRUE(idle);
  self = idle->get();
  EXPECT_EQ((*idle)->run(), Idle::End::CanMeasure);
  EXPECT_EQ(looks, 3);
}

TEST(Idle, LooksAtOnceWhenHurried) {
  auto idle = Idle::start(idle_options([](const Config&) -> std::optional<Obstacle> { return {}; }));
  ASSERT_TRUE(idle);
  std::thread loop([&] { EXPECT_EQ((*idle)->run(), Idle::End::CanMeasure); });
  (*idle)->hurry();
  loop.join();
}

// A directory of policies that exclude everything, until they are gone.
TEST(Idle, WaitsWhileAPolicyExcludesEverythingAndIsReady) {
  std::string directory = "/tmp/sonde-idle-XXXXXX";
  ASSERT_TRUE(mkdtemp(directory.data()));
  const std::string file = directory + "/nothing.yaml";
  std::ofstream(file) << "apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {name: nothing}\n"
                         "spec: {mode: Exclude}\n";
  IdleOptions options = idle_options([](const Config&) -> std::optional<Obstacle> { return {}; });
  options.config.policies = directory;
  options.obstacle = exclusion("nothing");
  options.look_every_ns = 1'000'000;  // looking again and again finds the same
  auto idle = Idle::start(std::move(options));
  ASSERT_TRUE(idle) << idle.error().message();
  std::thread loop([&] { EXPECT_EQ((*idle)->run(), Idle::End::CanMeasure); });
  EXPECT_EQ(get(**idle, 0, "/readyz").status, 200);
  const Json status = parse_json<Json>((*idle)->status_json());
  EXPECT_EQ(status["idle"]["reason"], "Excluded");
  for (const Json& module : status["modules"]) EXPECT_EQ(module["health"], "disabled") << module;
  for (const Json& policy : status["policies"]) {
    EXPECT_EQ(policy["failures"], Json::array());
    EXPECT_EQ(policy["conditions"], policy["name"] == "nothing" ? Json::array() : Json::array({"Overridden"}));
  }
  std::remove(file.c_str());
  loop.join();
  std::remove(directory.c_str());
}

std::string policy_object(const std::string& kind, const std::string& name, const std::string& spec) {
  const std::string ns = kind == "MonitorPolicy" ? R"("namespace":"shop",)" : "";
  return R"({"apiVersion":"sonde.dev/v1alpha1","kind":")" + kind + R"(","metadata":{)" + ns + R"("name":")" + name +
         R"(","uid":"u-)" + name + R"(","generation":4},"spec":)" + spec + "}";
}

TEST(Idle, SondeNodeCountsItsPoliciesAsFailed) {
  auto policies = Policies::open(quiet_config());
  ASSERT_TRUE(policies);
  (*policies)->set_objects(
      {policy_object("ClusterMonitorPolicy", "all", R"({"preset":"Standard"})"),
       policy_object("ClusterMonitorPolicy", "not-these", R"({"mode":"Exclude"})"),
       policy_object("ClusterMonitorPolicy", "ssd", R"({"nodeSelector":{"matchLabels":{"disk":"ssd"}}})"),
       policy_object("ClusterMonitorPolicy", "newer", R"({"surprise":1})"),
       policy_object("MonitorPolicy", "theirs", R"({"preset":"Standard"})")});
  const kube::NodeReport report = idle_report(kNoBtf, **policies, {{"disk", "hdd"}});
  EXPECT_EQ(report.probes_ok, 0U);
  EXPECT_GT(report.probes_degraded, 5U);
  ASSERT_EQ(report.probes.size(), 1U);
  EXPECT_EQ(report.probes[0].state, "Failed");
  EXPECT_EQ(report.probes[0].reason, "NoBtf");
  std::map<std::string, std::string> states;
  for (const kube::PolicyEntry& entry : report.policies) {
    EXPECT_EQ(entry.generation, 4);
    states[entry.name] = entry.state + (entry.failures.empty() ? "" : " " + entry.failures[0].reason);
  }
  EXPECT_EQ(states, (std::map<std::string, std::string>{
                        {"all", "Failed NoBtf"}, {"not-these", "Applied"}, {"newer", "Failed NotUnderstood"}}));
  EXPECT_LE(kube::status_json(report).size(), kube::room_for(report.policies.size()));
}

// --- Obstacles ---

TEST(Obstacle, WithoutCgroupV2) {
  Config config;
  config.cgroup_root = "/usr";
  const auto found = find_obstacle(config);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->reason, "NoCgroupV2");
  EXPECT_NE(found->message.find("/usr"), std::string::npos);
}

TEST(Obstacle, WhoMayAndIsRefusedHasASeccompProfile) {
  const std::string refused = "the kernel refused the core BPF object: Operation not permitted";
  EXPECT_NE(core_remedy(true, refused).find("seccomp"), std::string::npos);
  EXPECT_EQ(core_remedy(false, refused).find("seccomp"), std::string::npos);
  EXPECT_EQ(core_remedy(true, "no BTF").find("seccomp"), std::string::npos);
}

TEST(Obstacle, WhoIsStartedAgain) {
  Config config;
  std::string host;
  const GetEnv env = [&](std::string_view name) -> std::optional<std::string> {
    return name == "KUBERNETES_SERVICE_HOST" ? std::optional(host) : std::nullopt;
  };
  EXPECT_FALSE(is_kept_running(config, env));
  config.kubernetes.api_server = "none";
  EXPECT_FALSE(is_kept_running(config, env));
  host = "10.0.0.1";
  EXPECT_TRUE(is_kept_running(config, env)) << "a sidecar in a pod";
  host.clear();
  config.kubernetes.api_server = "https://cluster.example:6443";
  EXPECT_TRUE(is_kept_running(config, env));
}

}  // namespace
}  // namespace sonde
