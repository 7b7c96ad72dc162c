// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

using Labels = std::map<std::string, std::string>;

LabelSelector expression(std::string key, SelectorOperator op, std::vector<std::string> values = {}) {
  LabelSelector selector;
  selector.match_expressions.push_back({std::move(key), op, std::move(values)});
  return selector;
}

TEST(LabelSelector, FollowsKubernetes) {
  const Labels labels{{"app", "postgres"}, {"tier", "prod"}};
  EXPECT_TRUE(LabelSelector{}.matches(labels));
  EXPECT_TRUE(LabelSelector{}.matches({}));
  EXPECT_TRUE((LabelSelector{{{"app", "postgres"}}, {}}.matches(labels)));
  EXPECT_FALSE((LabelSelector{{{"app", "postgres"}, {"tier", "dev"}}, {}}.matches(labels)));
  EXPECT_TRUE(expression("tier", SelectorOperator::In, {"dev", "prod"}).matches(labels));
  EXPECT_FALSE(expression("zone", SelectorOperator::In, {"a"}).matches(labels));
  EXPECT_FALSE(expression("tier", SelectorOperator::NotIn, {"prod"}).matches(labels));
  EXPECT_TRUE(expression("zone", SelectorOperator::NotIn, {"a"}).matches(labels));
  EXPECT_TRUE(expression("app", SelectorOperator::Exists).matches(labels));
  EXPECT_FALSE(expression("zone", SelectorOperator::Exists).matches(labels));
  EXPECT_TRUE(expression("zone", SelectorOperator::DoesNotExist).matches(labels));
  EXPECT_FALSE(expression("app", SelectorOperator::DoesNotExist).matches(labels));
}

bool chosen(const Policy& policy, const Subject& subject, std::vector<std::string> commands = {}) {
  return selects(policy, subject, commands, made_up::context());
}

TEST(Selects, WithoutSelectorsEverything) {
  Policy policy = made_up::policy("p");
  EXPECT_TRUE(chosen(policy, made_up::container()));
  EXPECT_TRUE(chosen(policy, made_up::cgroup("/system.slice/sshd.service")));
  Subject unattributed;
  unattributed.kind = SubjectKind::Unattributed;
  EXPECT_TRUE(chosen(policy, unattributed));
  policy.cgroups = {"/x"};
  EXPECT_FALSE(chosen(policy, unattributed));
}

TEST(Selects, HostServicesInKubernetesOnlyWhereNamed) {
  auto context = made_up::context();
  context.cgroups_outside_containers = false;
  Policy policy = made_up::policy("p");
  Subject sshd = made_up::cgroup("/system.slice/sshd.service");
  EXPECT_FALSE(selects(policy, sshd, {}, context));
  policy.mode = Mode::Exclude;
  EXPECT_TRUE(selects(policy, sshd, {}, context));
  policy.mode = Mode::Monitor;
  policy.cgroups = {"/system.slice/*"};
  EXPECT_TRUE(selects(policy, sshd, {}, context));
}

TEST(Selects, NamespacedPoliciesOnlyTheirNamespace) {
  Policy policy = made_up::policy("p");
  policy.namespace_name = "shop";
  EXPECT_TRUE(chosen(policy, made_up::container("shop")));
  EXPECT_FALSE(chosen(policy, made_up::container("bank")));
  EXPECT_FALSE(chosen(policy, made_up::cgroup("/a")));
}

TEST(Selects, LabelsOfPodNamespaceAndNode) {
  Policy policy = made_up::policy("p");
  policy.pod_selector = LabelSelector{{{"app", "postgres"}}, {}};
  policy.namespace_selector = LabelSelector{{{"tier", "prod"}}, {}};
  EXPECT_TRUE(chosen(policy, made_up::container()));
  Subject other = made_up::container();
  other.namespace_labels["tier"] = "dev";
  EXPECT_FALSE(chosen(policy, other));
  EXPECT_FALSE(chosen(policy, made_up::cgroup("/a")));

  auto context = made_up::context();
  policy.node_selector = LabelSelector{{{"disk", "ssd"}}, {}};
  EXPECT_FALSE(selects(policy, made_up::container(), {}, context));
  context.node_labels["disk"] = "ssd";
  EXPECT_TRUE(selects(policy, made_up::container(), {}, context));
}

TEST(Selects, LabelsThatAreNotKnownYetMatchNothing) {
  Policy policy = made_up::policy("p");
  policy.pod_selector = expression("app", SelectorOperator::DoesNotExist);
  Subject subject = made_up::container();
  subject.pod_name.clear();
  subject.pod_labels.clear();
  EXPECT_FALSE(chosen(policy, subject));
  subject.pod_name = "pg-0";
  EXPECT_TRUE(chosen(policy, subject));
}

TEST(Selects, ContainersByNameIdAndType) {
  Policy policy = made_up::policy("p");
  policy.container_names = {"postgres"};
  EXPECT_TRUE(chosen(policy, made_up::container("shop", "postgres")));
  EXPECT_FALSE(chosen(policy, made_up::container("shop", "sidecar")));
  EXPECT_FALSE(chosen(policy, made_up::cgroup("/postgres")));
  policy.container_names = {std::string(12, 'a')};
  EXPECT_TRUE(chosen(policy, made_up::container("shop", "sidecar")));
  policy.container_names = {std::string(11, 'a')};
  EXPECT_FALSE(chosen(policy, made_up::container("shop", "sidecar")));

  policy.container_names.clear();
  policy.container_types = {"Init"};
  Subject subject = made_up::container();
  EXPECT_FALSE(chosen(policy, subject));
  subject.type = ContainerType::Init;
  EXPECT_TRUE(chosen(policy, subject));
  subject.type = ContainerType::Sidecar;
  EXPECT_FALSE(chosen(policy, subject)) << "it runs as long as the pod does";
  policy.container_types = {"Sidecar"};
  EXPECT_TRUE(chosen(policy, subject));
  // A container of plain Docker is a regular one; one of a pod that is not known yet is nothing.
  policy.container_types = {"Regular"};
  subject.type = ContainerType::Unknown;
  EXPECT_FALSE(chosen(policy, subject));
  subject.pod_uid.clear();
  EXPECT_TRUE(chosen(policy, subject));
}

TEST(Selects, CgroupPathsAndCommands) {
  Policy policy = made_up::policy("p");
  policy.cgroups = {"/batch/*", "/db?"};
  EXPECT_TRUE(chosen(policy, made_up::cgroup("/batch/a/b")));
  EXPECT_TRUE(chosen(policy, made_up::cgroup("/db1")));
  EXPECT_FALSE(chosen(policy, made_up::cgroup("/web")));
  policy.commands = {"postgres*"};
  EXPECT_FALSE(chosen(policy, made_up::cgroup("/db1")));
  EXPECT_FALSE(chosen(policy, made_up::cgroup("/db1"), {"bash"}));
  EXPECT_TRUE(chosen(policy, made_up::cgroup("/db1"), {"bash", "postgres: io"}));
}

// The patterns of docs/ops/pods.md.
TEST(Selects, NestedMachinesByOnePattern) {
  Policy policy = made_up::policy("p");
  policy.cgroups = {"/lxc.*.web*", "/machine.slice/*@web.service*"};
  for (const char* path : {"/lxc.payload.web", "/lxc.payload.web/system.slice/nginx.service", "/lxc.monitor.web",
                           "/machine.slice/systemd-nspawn@web.service/payload/init.scope",
                           "/machine.slice/systemd-nspawn@web.service/supervisor"}) {
    EXPECT_TRUE(chosen(policy, made_up::cgroup(path))) << path;
  }
  for (const char* path :
       {"/lxc.payload.db", "/machine.slice/systemd-nspawn@db.service/payload", "/system.slice/web.service"}) {
    EXPECT_FALSE(chosen(policy, made_up::cgroup(path))) << path;
  }
}

TEST(Expired, CountsFromTheLastChange) {
  Policy policy = made_up::policy("p");
  policy.created_ns = 5'000'000'000;
  EXPECT_FALSE(expired(policy, ~0ULL));
  policy.active_for_seconds = 10;
  EXPECT_FALSE(expired(policy, 14'999'999'999));
  EXPECT_TRUE(expired(policy, 15'000'000'000));
  EXPECT_FALSE(expired(policy, 1));  // a clock that was set back
}

}  // namespace
}  // namespace sonde
