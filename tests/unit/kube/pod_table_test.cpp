// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/pod_table.h"

#include <gtest/gtest.h>

namespace sonde::kube {
namespace {

const std::string kUid = "8dbc5577-d0e2-4706-8787-57d52c03ddf2";

std::string id(char digit) { return std::string(64, digit); }

Subject container(char digit, uint64_t cgroup_id, const std::string& uid = kUid) {
  Subject subject;
  subject.kind = SubjectKind::Container;
  subject.container_id = id(digit);
  subject.pod_uid = uid;
  subject.cgroup_id = cgroup_id;
  return subject;
}

Subject named(const PodTable& table, Subject subject) {
  table.enrich(subject);
  return subject;
}

Pod pod_with(const std::string& container_id, const std::string& previous = "", int restarts = 0) {
  Pod pod;
  pod.uid = kUid;
  pod.name = "cart-0";
  pod.namespace_name = "shop";
  PodContainer main;
  main.name = "main";
  main.id = container_id;
  main.previous_id = previous;
  main.restart_count = restarts;
  main.type = ContainerType::Regular;
  pod.containers.push_back(main);
  return pod;
}

TEST(PodTable, TheOldestOfAPodThatNoStatusNamesIsItsSandbox) {
  PodTable table({.namespaces = false});
  table.put(pod_with(""), 1);
  Subject pause = named(table, container('a', 10));
  EXPECT_EQ(pause.pod_name, "cart-0");
  EXPECT_EQ(pause.type, ContainerType::Unknown) << "nothing else runs yet: it may be anything";
  EXPECT_FALSE(table.complete(pause));
  table.put(pod_with(id('b')), 2);
  const uint64_t before = table.version();
  const Subject main = named(table, container('b', 11));
  EXPECT_EQ(main.container_name, "main");
  EXPECT_TRUE(table.complete(main));
  EXPECT_NE(table.version(), before) << "others are to be asked again";
  pause = named(table, pause);
  EXPECT_EQ(pause.type, ContainerType::Sandbox);
  EXPECT_TRUE(table.complete(pause));
}

TEST(PodTable, ARestartedContainerWhoseStatusIsLateIsNoSandbox) {
  PodTable table({.namespaces = false});
  table.put(pod_with(id('b')), 1);
  EXPECT_EQ(named(table, container('b', 11)).container_name, "main");
  Subject again = named(table, container('c', 12));
  EXPECT_EQ(again.type, ContainerType::Unknown);
  EXPECT_FALSE(table.complete(again));
  table.put(pod_with(id('c'), id('b'), 1), 2);
  again = named(table, again);
  EXPECT_EQ(again.container_name, "main");
  EXPECT_EQ(again.restart_count, 1);
  const Subject first = named(table, container('b', 11));
  EXPECT_EQ(first.container_name, "main");
  EXPECT_EQ(first.restart_count, 0);
}

TEST(PodTable, UnknownContainersAreLookedForForAWhile) {
  PodTable table({.namespaces = false, .look_for_ns = 1'000'000'000'000});
  int told = 0;
  table.set_unknown([&] { ++told; });
  Subject subject = named(table, container('b', 11));
  EXPECT_FALSE(table.complete(subject));
  EXPECT_EQ(told, 1);
  EXPECT_TRUE(table.looks_for_some(0));
  table.put(pod_with(id('b')), 1);
  subject = named(table, subject);
  EXPECT_TRUE(table.complete(subject));
  EXPECT_FALSE(table.looks_for_some(0)) << "found";
  EXPECT_FALSE(table.complete(named(table, container('c', 12, "00000000-0000-0000-0000-000000000001"))));
  EXPECT_TRUE(table.looks_for_some(0));
  EXPECT_FALSE(table.looks_for_some(~0ULL)) << "it will not be found any more";
}

TEST(PodTable, NamespacesAreWaitedForWhereSomebodyTellsThem) {
  PodTable table;
  table.put(pod_with(id('b')), 1);
  const Subject subject = named(table, container('b', 11));
  EXPECT_FALSE(table.complete(subject));
  table.set_namespace("shop", {{"tier", "prod"}});
  EXPECT_TRUE(table.complete(named(table, subject)));
}

// The kubelet tells a static pod with the hash as its UID, the API server its mirror, whose UID is another.
TEST(PodTable, StaticPodsByTheirHash) {
  const std::string hash = "0123456789abcdef0123456789abcdef";
  const std::vector<std::string> two{
      R"("uid":")" + hash + R"(","annotations":{"kubernetes.io/config.hash":")" + hash + R"("})",
      R"("uid":")" + kUid + R"(","annotations":{"kubernetes.io/config.hash":")" + hash +
          R"(","kubernetes.io/config.mirror":")" + hash + R"("})"};
  for (const std::string& metadata : two) {
    PodTable table({.namespaces = false});
    auto pod = parse_pod(R"({"metadata":{"name":"etcd-n1","namespace":"kube-system",)" + metadata +
                         R"(},"spec":{"containers":[{"name":"etcd"}]},"status":{"containerStatuses":[{"name":"etcd",)" +
                         R"("containerID":"containerd://)" + id('e') + R"("}]}})");
    ASSERT_TRUE(pod);
    EXPECT_EQ(pod->uid, hash);
    table.put(std::move(*pod), 1);
    EXPECT_EQ(named(table, container('e', 5, hash)).container_name, "etcd");
    EXPECT_EQ(named(table, container('f', 6, hash)).pod_name, "etcd-n1") << "by the UID in the path";
  }
}

}  // namespace
}  // namespace sonde::kube
