// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/resource.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tests/unit/pipeline/support.h"

namespace sonde {
namespace {

using namespace sonde::testing;

TEST(CleanText, KeepsWhatIsUtf8) {
  for (const std::string good :
       {"", "plain", "gr\xC3\xBC\xC3\x9F", "\xE2\x82\xAC", "\xF0\x9F\x90\x9D", "\xEF\xBF\xBD"}) {
    EXPECT_EQ(clean_text(good), good);
  }
}

TEST(CleanText, ReplacesWhatIsNot) {
  const std::string u = "\xEF\xBF\xBD";
  EXPECT_EQ(clean_text("a\xff"
                       "b"),
            "a" + u + "b");
  EXPECT_EQ(clean_text("\xC0\xAF"), u + u) << "overlong";
  EXPECT_EQ(clean_text("\xED\xA0\x80"), u + u + u) << "surrogate";
  EXPECT_EQ(clean_text("\xF5\x80\x80\x80"), u + u + u + u) << "beyond U+10FFFF";
  EXPECT_EQ(clean_text("\xE2\x82"), u + u) << "cut";
}

TEST(CleanText, CutsAtACharacter) {
  EXPECT_EQ(clean_text("0123456789", 10), "0123456789");
  EXPECT_EQ(clean_text("0123456789x", 10), "0123456...");
  EXPECT_EQ(clean_text("012345\xC3\xBC\xC3\xBC\xC3\xBC", 10), "012345...");
  EXPECT_LE(clean_text(std::string(5000, '\xff')).size(), kMaxValueBytes);
}

ResourceOptions options() {
  ResourceOptions options;
  options.host_name = "host1";
  options.node_name = "node1";
  options.cluster_name = "prod";
  return options;
}

TEST(Resource, OfAContainerInKubernetes) {
  Subject subject = World::container(50);
  subject.owners = {{"ReplicaSet", "web-7f"}, {"Deployment", "web"}};
  subject.pod_labels = {{"team", "red"}, {"secret", "no"}, {"empty", ""}};
  subject.pod_annotations = {{"note", "hello"}};
  Decision decision = World::decision();
  decision.pod_labels = {"team", "absent", "empty"};
  decision.pod_annotations = {"note"};
  const Resource resource = ResourceRules(options()).of(subject, decision, StreamScope::Container);
  const std::string instance = attribute(resource, "service.instance.id");
  EXPECT_EQ(text(resource.attributes),
            "k8s.cluster.name=prod k8s.container.name=app k8s.deployment.name=web k8s.namespace.name=shop "
            "k8s.node.name=node1 k8s.pod.annotation.note=hello k8s.pod.label.empty= k8s.pod.label.team=red "
            "k8s.pod.name=web k8s.pod.uid=uid1 k8s.replicaset.name=web-7f service.instance.id=" +
                instance + " service.name=sonde sonde.workload.kind=Deployment sonde.workload.name=web");
  ASSERT_EQ(instance.size(), std::string("shop.web.app.").size() + 8);
  EXPECT_TRUE(instance.starts_with("shop.web.app."));
  EXPECT_EQ(instance.find_first_not_of("0123456789abcdef", std::string("shop.web.app.").size()), std::string::npos);
  EXPECT_EQ(text(resource.promoted),
            "k8s.cluster.name=prod k8s.container.name=app k8s.namespace.name=shop k8s.node.name=node1 "
            "k8s.pod.annotation.note=hello k8s.pod.label.empty= k8s.pod.label.team=red k8s.pod.name=web "
            "sonde.workload.kind=Deployment sonde.workload.name=web");
}

TEST(Resource, TheWorkloadIsTheTopmostOwnerOfWhateverKind) {
  Subject subject = World::container(50);
  const ResourceRules rules(options());
  EXPECT_EQ(attribute(rules.of(subject, World::decision(), StreamScope::Container), "sonde.workload.kind"), "(none)");
  subject.owners = {{"ReplicaSet", "web-7f"}, {"Rollout", "web"}};
  const Resource resource = rules.of(subject, World::decision(), StreamScope::Container);
  EXPECT_EQ(attribute(resource, "sonde.workload.kind"), "Rollout");
  EXPECT_EQ(attribute(resource, "sonde.workload.name"), "web");
  EXPECT_EQ(attribute(resource, "k8s.rollout.name"), "(none)") << "not in the conventions";
  subject.owners = {{"Node", "node1"}};
  EXPECT_EQ(workload_of(subject), nullptr);
}

TEST(Resource, TheNodeIsOnTheAgentsOwnSeriesToo) {
  const Resource node = ResourceRules(options()).of_node();
  EXPECT_EQ(text(node.promoted), "k8s.cluster.name=prod k8s.node.name=node1");
}

TEST(Resource, WhatChangesUnderTheSameIdentityIsOptIn) {
  Subject subject = World::container(50);
  subject.image = "nginx:1";
  subject.restart_count = 3;
  ResourceOptions more = options();
  more.container_id = more.image = more.restart_count = true;
  const Resource resource = ResourceRules(more).of(subject, World::decision(), StreamScope::Container);
  EXPECT_EQ(attribute(resource, "container.id"), "id50");
  const Resource plain = ResourceRules(options()).of(subject, World::decision(), StreamScope::Container);
  EXPECT_NE(attribute(resource, "service.instance.id"), attribute(plain, "service.instance.id"));
  EXPECT_EQ(attribute(resource, "container.image.name"), "nginx:1");
  EXPECT_NE(text(resource.attributes).find("k8s.container.restart_count=3"), std::string::npos);
}

// One service.instance.id stands for one Resource, for ever: also after a restart of the agent, in another version of it.
TEST(Resource, TheIdFollowsWhateverMayChange) {
  Subject subject = World::container(50);
  subject.pod_labels["team"] = "red";
  Decision decision = World::decision();
  decision.pod_labels = {"team"};
  const auto id_of = [&](const Subject& of) {
    return attribute(ResourceRules(options()).of(of, decision, StreamScope::Container), "service.instance.id");
  };
  const std::string red = id_of(subject);
  EXPECT_EQ(red, "shop.web.app.1cbd7ff4");
  std::set<std::string> ids{red};
  Subject other = subject;
  other.pod_labels["team"] = "blue";
  ids.insert(id_of(other));
  other = subject;
  other.pod_uid = "uid2";
  ids.insert(id_of(other));
  other = subject;
  other.owners = {{"StatefulSet", "web"}};
  ids.insert(id_of(other));
  EXPECT_EQ(ids.size(), 4u);
  other = subject;
  other.pod_labels["pod-template-hash"] = "not chosen";
  other.container_id = "another life";
  other.restart_count = 7;
  other.cgroup_id = 99;
  EXPECT_EQ(id_of(other), red);
}

TEST(Resource, OutsideKubernetes) {
  const ResourceRules rules{ResourceOptions{.host_name = "host1"}};
  Subject subject;
  subject.cgroup_path = "/system.slice/sshd.service";
  EXPECT_EQ(text(rules.of(subject, World::decision(), StreamScope::Container).attributes),
            "host.name=host1 service.instance.id=host1:/system.slice/sshd.service service.name=sonde "
            "sonde.cgroup.path=/system.slice/sshd.service");
  subject.container_id = std::string(64, 'a');
  subject.pod_uid = "uid1";
  const Resource container = rules.of(subject, World::decision(), StreamScope::Container);
  EXPECT_EQ(attribute(container, "container.id"), subject.container_id);
  EXPECT_EQ(attribute(container, "k8s.pod.uid"), "uid1");
  EXPECT_EQ(attribute(container, "sonde.cgroup.path"), "(none)");
  EXPECT_FALSE(container.promoted.empty()) << "or two containers would be one series on /metrics";
  subject.pod_uid.clear();
  EXPECT_EQ(attribute(rules.of(subject, World::decision(), StreamScope::Container), "sonde.cgroup.path"),
            subject.cgroup_path)
      << "64 digits are all that is known of it";
  subject.runtime = "docker";
  EXPECT_EQ(attribute(rules.of(subject, World::decision(), StreamScope::Container), "sonde.cgroup.path"), "(none)");
}

TEST(Resource, ExtraAttributesNeverMakeAllContainersOne) {
  ResourceOptions more = options();
  add_attribute(more.extra, "service.name", std::string("mine"));
  add_attribute(more.extra, "deployment.environment.name", std::string("prod"));
  add_attribute(more.extra, "k8s.pod.name", std::string("forged"));
  const ResourceRules rules(more);
  const Resource container = rules.of(World::container(50), World::decision(), StreamScope::Container);
  EXPECT_EQ(attribute(container, "service.name"), "sonde");
  EXPECT_EQ(attribute(container, "deployment.environment.name"), "prod");
  EXPECT_EQ(attribute(container, "k8s.pod.name"), "web");
  const Resource node = rules.of_node();
  EXPECT_EQ(attribute(node, "service.name"), "mine");
  EXPECT_EQ(attribute(node, "k8s.node.name"), "node1");
  EXPECT_TRUE(std::ranges::is_sorted(node.attributes, {}, &Attribute::key));
}

TEST(Resource, HostileNamesAreTamed) {
  Subject subject = World::container(50);
  subject.pod_name = "a\xff\n";
  subject.pod_labels["team"] = std::string(1 << 20, 'x');
  Decision decision = World::decision();
  decision.pod_labels = {"team"};
  const Resource resource = ResourceRules(options()).of(subject, decision, StreamScope::Container);
  EXPECT_EQ(attribute(resource, "k8s.pod.name"), "a\xEF\xBF\xBD\n");
  EXPECT_EQ(attribute(resource, "k8s.pod.label.team").size(), kMaxValueBytes);
}

// The rule of docs/non-normative/k8s-attributes.md of OpenTelemetry's conventions, from the strongest to the weakest.
TEST(Resource, OfSpansHasTheServiceOfTheApplication) {
  Subject subject = World::container(50);
  subject.owners = {{"ReplicaSet", "web-7f"}, {"Deployment", "web"}};
  subject.pod_labels = {{"app.kubernetes.io/instance", "shop-web"}, {"app.kubernetes.io/name", "nginx"}, {"team", "red"}};
  subject.pod_annotations = {{"resource.opentelemetry.io/service.name", "frontend"}};
  Decision decision = World::decision();
  decision.pod_labels = {"team"};
  const ResourceRules rules(options());
  const auto name = [&] { return attribute(rules.of_spans(subject, decision), "service.name"); };
  EXPECT_EQ(name(), "frontend");
  const Resource resource = rules.of_spans(subject, decision);
  EXPECT_EQ(attribute(resource, "service.namespace"), "shop");
  EXPECT_EQ(attribute(resource, "service.instance.id"), "shop." + subject.pod_name + ".app");
  // All else is as on the metrics of the same container.
  for (const Attribute& of_metrics : rules.of(subject, decision, StreamScope::Container).attributes) {
    if (of_metrics.key.starts_with("service.")) continue;
    EXPECT_EQ(attribute(resource, of_metrics.key), std::get<std::string>(of_metrics.value)) << of_metrics.key;
  }
  EXPECT_EQ(attribute(resource, "k8s.pod.label.team"), "red");
  subject.pod_annotations.clear();
  EXPECT_EQ(name(), "shop-web");
  subject.pod_labels.erase("app.kubernetes.io/instance");
  EXPECT_EQ(name(), "nginx");
  subject.pod_labels.clear();
  EXPECT_EQ(name(), "web");
  subject.owners.clear();
  EXPECT_EQ(name(), subject.pod_name);
}

TEST(Resource, OfSpansOutsideKubernetes) {
  const ResourceRules rules(options());
  Subject subject;
  const auto name = [&] { return attribute(rules.of_spans(subject, World::decision()), "service.name"); };
  subject.cgroup_path = "/system.slice/sshd.service";
  EXPECT_EQ(name(), "sshd.service");
  subject.cgroup_path = "/";
  EXPECT_EQ(name(), "unknown_service");
  subject.kind = SubjectKind::Container;
  subject.container_id = std::string(64, 'a');
  EXPECT_EQ(name(), subject.container_id);
  subject.container_name = "postgres";
  EXPECT_EQ(name(), "postgres");
}

}  // namespace
}  // namespace sonde
