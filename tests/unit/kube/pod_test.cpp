// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/pod.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/base/json.h"
#include "agent/kube/pod_table.h"

namespace sonde::kube {
namespace {

// As it comes in a list or watch.
Result<Pod> parse_pod(const std::string& text) { return pod_of(parse_json<nlohmann::json>(text)); }

const std::string kIdA(64, 'a'), kIdB(64, 'b'), kIdC(64, 'c');

std::string pod_json(const std::string& metadata = "", const std::string& statuses = "") {
  return R"({"metadata": {"uid": "u1", "name": "web-5d9c7b-x2x", "namespace": "shop",
    "labels": {"app": "web", "pod-template-hash": "5d9c7b"}, "annotations": {"note": "n"})" +
         metadata + R"(},
    "spec": {"nodeName": "n1", "initContainers": [{"name": "prepare", "image": "i:1"},
               {"name": "proxy", "restartPolicy": "Always"}, {"name": "odd", "restartPolicy": "OnFailure"}],
             "containers": [{"name": "web", "image": "w:2"}, {"name": "log"}]},
    "status": {"initContainerStatuses": [{"name": "prepare", "containerID": "containerd://)" +
         kIdC + R"("}],
    "containerStatuses": [{"name": "web", "restartCount": 2, "containerID": "containerd://)" +
         kIdA + R"(", "lastState": {"terminated": {"containerID": "containerd://)" + kIdB + R"("}}})" + statuses +
         "]}}";
}

std::string owned_by(const std::string& kind, const std::string& name) {
  return R"(, "ownerReferences": [{"kind": ")" + kind + R"(", "name": ")" + name + R"(", "controller": true}])";
}

TEST(Pod, ReadsWhatThePathsDoNotTell) {
  const auto pod = parse_pod(pod_json(owned_by("ReplicaSet", "web-5d9c7b")));
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->uid, "u1");
  EXPECT_EQ(pod->namespace_name, "shop");
  EXPECT_EQ(pod->node_name, "n1");
  EXPECT_EQ(pod->labels.at("app"), "web");
  EXPECT_EQ(pod->owners, (std::vector<Owner>{{"ReplicaSet", "web-5d9c7b"}, {"Deployment", "web"}}));
  ASSERT_EQ(pod->containers.size(), 5u);
  EXPECT_EQ(pod->containers[0], (PodContainer{"web", "w:2", kIdA, kIdB, ContainerType::Regular, 2}));
  EXPECT_EQ(pod->containers[1].id, "");
  EXPECT_EQ(pod->containers[2].type, ContainerType::Init);
  EXPECT_EQ(pod->containers[3].type, ContainerType::Sidecar);
  EXPECT_EQ(pod->containers[4].type, ContainerType::Init);
}

TEST(Pod, OwnersThatFollowFromNames) {
  const auto owners = [](const std::string& kind, const std::string& name) {
    return parse_pod(pod_json(owned_by(kind, name)))->owners;
  };
  EXPECT_EQ(owners("Job", "backup-29012345"), (std::vector<Owner>{{"Job", "backup-29012345"}, {"CronJob", "backup"}}));
  EXPECT_EQ(owners("Job", "backup-once"), (std::vector<Owner>{{"Job", "backup-once"}}));
  EXPECT_EQ(owners("ReplicaSet", "web-other"), (std::vector<Owner>{{"ReplicaSet", "web-other"}}));
  EXPECT_EQ(owners("StatefulSet", "db-0"), (std::vector<Owner>{{"StatefulSet", "db-0"}}));
  EXPECT_TRUE(owners("Node", "n1").empty());
}

TEST(Pod, StaticPodsGoByTheKubeletsUid) {
  std::string text = pod_json();
  text.replace(text.find(R"("note": "n")"), 11, R"("kubernetes.io/config.mirror": "0123456789abcdef0123456789abcdef")");
  EXPECT_EQ(parse_pod(text)->uid, "0123456789abcdef0123456789abcdef");
}

TEST(Pod, TellsWhatIsNotStartedAgain) {
  const auto read = [](const std::string& phase, int exit_code) {
    const std::string ended = R"("state": {"terminated": {"exitCode": )" + std::to_string(exit_code) + "}}}]";
    return *parse_pod(R"({"metadata": {"uid": "u1", "name": "n", "namespace": "s"}, "spec": {
      "containers": [{"name": "main"}], "initContainers": [{"name": "init"}], "ephemeralContainers": [{"name": "debug"}]},
      "status": {"phase": ")" +
                      phase + R"(", "containerStatuses": [{"name": "main", )" + ended +
                      R"(, "initContainerStatuses": [{"name": "init", )" + ended +
                      R"(, "ephemeralContainerStatuses": [{"name": "debug", )" + ended + "}}");
  };
  const Pod good = read("Running", 0), bad = read("Pending", 1);
  EXPECT_FALSE(good.over || bad.over);
  EXPECT_TRUE(read("Succeeded", 0).over && read("Failed", 1).over);
  ASSERT_EQ(good.containers.size(), 3u);
  EXPECT_FALSE(good.containers[0].finished || bad.containers[0].finished) << "a crash loop may end well each time";
  EXPECT_TRUE(good.containers[1].finished);
  EXPECT_FALSE(bad.containers[1].finished) << "a failed init container is tried again";
  EXPECT_TRUE(good.containers[2].finished && bad.containers[2].finished);
}

TEST(Pod, BadOnesAreSentencesOrSkipped) {
  EXPECT_FALSE(parse_pod("nonsense"));
  EXPECT_FALSE(parse_pod("[]"));
  EXPECT_FALSE(parse_pod(R"({"metadata": {"uid": 7}})"));
  EXPECT_FALSE(parse_pod_list(R"({"kind": "Status", "code": 401})"));
  const auto list =
      parse_pod_list(R"({"kind": "PodList", "metadata": {"resourceVersion": "9"}, "items": [7, )" + pod_json() + "]}");
  ASSERT_TRUE(list);
  EXPECT_EQ(list->pods.size(), 1u);
  EXPECT_EQ(list->skipped, 1u);
  EXPECT_EQ(list->resource_version, "9");
  EXPECT_TRUE(parse_pod_list(R"({"kind": "PodList", "items": null})")->pods.empty());
}

Subject container(const std::string& id, const std::string& uid) {
  Subject subject;
  subject.kind = SubjectKind::Container;
  subject.container_id = id;
  subject.pod_uid = uid;
  return subject;
}

TEST(PodTable, NamesByContainerAndByPod) {
  PodTable table;
  Subject early = container(kIdA, "u1");
  table.enrich(early);
  EXPECT_EQ(early.pod_name, "");
  EXPECT_FALSE(table.complete(early));
  const uint64_t version = table.version();
  table.put(*parse_pod(pod_json()), 1);
  EXPECT_NE(table.version(), version);
  table.enrich(early);
  EXPECT_EQ(early.container_name, "web");
  EXPECT_EQ(early.restart_count, 2);
  EXPECT_FALSE(table.complete(early));  // its namespace's labels may decide
  table.set_namespace("shop", {{"tier", "prod"}});
  table.enrich(early);
  EXPECT_EQ(early.namespace_labels.at("tier"), "prod");
  EXPECT_TRUE(table.complete(early));

  Subject before = container(kIdB, "u1");  // the one that ran before the restart
  table.enrich(before);
  EXPECT_EQ(before.container_name, "web");
  EXPECT_EQ(before.restart_count, 1);
  Subject pause = container(std::string(64, 'd'), "u1");
  table.enrich(pause);
  EXPECT_EQ(pause.pod_name, "web-5d9c7b-x2x");
  EXPECT_EQ(pause.container_name, "");
  EXPECT_FALSE(table.complete(pause));
  Subject outside = container(kIdA, "");
  outside.container_id = std::string(64, 'e');
  EXPECT_TRUE(table.complete(outside));  // a container of no pod: there is nothing to wait for
}

TEST(PodTable, NoNewsIsNoVersion) {
  PodTable table;
  table.put(*parse_pod(pod_json()), 1);
  const uint64_t version = table.version();
  table.replace({*parse_pod(pod_json())}, 2);
  EXPECT_EQ(table.version(), version);
  EXPECT_EQ(table.updated_ns(), 2u);
}

TEST(PodTable, EndedPodsStayForAWhile) {
  PodTable table({.keep_ended_ns = 100, .keep_ended = 10});
  table.put(*parse_pod(pod_json()), 1);
  table.replace({}, 10);
  EXPECT_EQ(table.size(), 0u);
  EXPECT_TRUE(table.namespaces().empty());
  Subject late = container(kIdA, "u1");
  table.enrich(late);
  EXPECT_EQ(late.container_name, "web");
  table.replace({}, 111);
  Subject too_late = container(kIdA, "u1");
  table.enrich(too_late);
  EXPECT_EQ(too_late.pod_name, "");
}

TEST(PodTable, APodThatCameBackIsNotForgotten) {
  PodTable table({.keep_ended_ns = 100, .keep_ended = 10});
  table.put(*parse_pod(pod_json()), 1);
  table.replace({}, 10);
  table.put(*parse_pod(pod_json()), 20);
  table.replace({*parse_pod(pod_json())}, 500);
  EXPECT_EQ(table.size(), 1u);
  Subject subject = container(kIdA, "u1");
  table.enrich(subject);
  EXPECT_EQ(subject.container_name, "web");
}

}  // namespace
}  // namespace sonde::kube
