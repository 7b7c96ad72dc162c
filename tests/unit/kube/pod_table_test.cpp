// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/pod_table.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/base/json.h"

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
  subject.started_ns = cgroup_id;  // made while the agent was there
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

// So long the last values of a container that has ended are repeated.
TEST(PodTable, SaysWhoMayBeStartedAgain) {
  PodTable table({.namespaces = false});
  const auto main = [&] { return named(table, container('b', 11)); };
  Pod pod = pod_with(id('b'));
  table.put(pod, 1);
  const Subject subject = main();
  EXPECT_TRUE(table.may_return(subject));
  pod.containers[0].finished = true;  // an init container that succeeded
  table.put(pod, 2);
  EXPECT_FALSE(table.may_return(subject));
  Subject sandbox = subject;
  sandbox.container_name.clear();
  EXPECT_TRUE(table.may_return(sandbox));
  pod.containers[0].finished = false;
  pod.over = true;
  table.put(pod, 3);
  EXPECT_FALSE(table.may_return(subject));
  EXPECT_FALSE(table.may_return(sandbox));
  pod.over = false;
  table.put(pod, 4);
  EXPECT_TRUE(table.may_return(subject));
  table.remove(kUid, 5);
  EXPECT_FALSE(table.may_return(subject)) << "though its name is known still";
  EXPECT_FALSE(table.may_return(Subject{}));
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

// The kubelet is asked now and then: of a container that was started again several times since, its status names two ids.
TEST(PodTable, StartedTwiceBetweenTwoLooksItIsKnownByElimination) {
  PodTable table({.namespaces = false});
  table.put(pod_with(id('b')), 1);
  const Subject pause = container('a', 10);
  EXPECT_EQ(named(table, container('b', 11)).container_name, "main");
  named(table, pause);
  const Subject missed = container('c', 12);
  EXPECT_FALSE(table.complete(named(table, missed)));
  table.put(pod_with(id('e'), id('d'), 3), 2);
  EXPECT_EQ(named(table, missed).type, ContainerType::Unknown) << "its successor's cgroup has not been seen yet";
  const uint64_t before = table.version();
  EXPECT_EQ(named(table, container('e', 14)).restart_count, 3);
  EXPECT_NE(table.version(), before) << "others are to be asked again";
  const Subject found = named(table, missed);
  EXPECT_EQ(found.container_name, "main");
  EXPECT_EQ(found.type, ContainerType::Regular);
  EXPECT_EQ(found.restart_count, 1);
  EXPECT_TRUE(table.complete(found));
  EXPECT_EQ(named(table, container('b', 11)).restart_count, 0) << "no longer in the status, but told once";
  EXPECT_EQ(named(table, container('d', 13)).restart_count, 2);
  EXPECT_EQ(named(table, pause).type, ContainerType::Sandbox);
}

TEST(PodTable, StartedTwiceBeforeTheFirstLookToo) {
  PodTable table({.namespaces = false});
  const Subject pause = container('a', 10), missed = container('b', 11);
  EXPECT_FALSE(table.complete(named(table, missed)));
  table.put(pod_with(id('d'), id('c'), 2), 1);
  named(table, pause);
  named(table, container('d', 13));
  EXPECT_EQ(named(table, pause).type, ContainerType::Sandbox);
  const Subject found = named(table, missed);
  EXPECT_EQ(found.container_name, "main");
  EXPECT_EQ(found.restart_count, 0);
}

TEST(PodTable, OfTwoThatMayBeMeantNoneIsNamed) {
  PodTable table({.namespaces = false});
  Pod pod = pod_with(id('d'), id('c'), 2);
  PodContainer side = pod.containers[0];
  side.name = "side";
  side.id = id('5');
  side.previous_id = id('4');
  pod.containers.push_back(side);
  table.put(pod, 1);
  named(table, container('a', 10));
  named(table, container('d', 20));
  named(table, container('5', 21));
  const Subject missed = named(table, container('b', 12));
  EXPECT_EQ(missed.pod_name, "cart-0");
  EXPECT_EQ(missed.namespace_name, "shop");
  EXPECT_EQ(missed.container_name, "");
  EXPECT_TRUE(table.complete(missed)) << "it counts as its pod";
}

// Made anew while the pod goes on (the kubelet found it dead): no start of a container is missing.
TEST(PodTable, ASandboxThatWasMadeAnewIsNoContainer) {
  for (const bool there_before : {false, true}) {
    PodTable table({.namespaces = false});
    Subject pause = container('a', 10);
    if (there_before) pause.started_ns = 0;
    named(table, pause);
    const int restarts = there_before ? 5 : 0;  // of which nothing was seen
    table.put(pod_with(id('b'), "", restarts), 1);
    named(table, pause);
    EXPECT_EQ(named(table, container('b', 11)).container_name, "main");
    table.put(pod_with(id('c'), id('b'), restarts + 1), 2);
    named(table, container('c', 21));
    const Subject again = named(table, container('f', 20));
    EXPECT_EQ(again.type, ContainerType::Sandbox) << there_before;
    EXPECT_EQ(again.container_name, "");
  }
}

// RestartAllContainers: one UID, and each container has another id than before, the init container and the sandbox too.
TEST(PodTable, AllContainersOfAPodStartedAgainTogetherKeepTheirNames) {
  PodTable table({.namespaces = false});
  Pod pod = pod_with(id('b'));
  PodContainer init = pod.containers[0];
  init.name = "init";
  init.type = ContainerType::Init;
  init.id = id('1');
  pod.containers.push_back(init);
  named(table, container('a', 10));
  table.put(pod, 1);
  const Subject first_init = named(table, container('1', 11)), first = named(table, container('b', 12));
  pod.containers[1].finished = true;
  table.put(pod, 2);
  EXPECT_FALSE(table.may_return(first_init));

  // None of them runs for a moment.
  for (PodContainer& one : pod.containers) {
    one.previous_id = one.id;
    one.id.clear();
    one.restart_count = 1;
    one.finished = false;
  }
  table.put(pod, 3);
  EXPECT_TRUE(table.may_return(first));
  EXPECT_TRUE(table.may_return(first_init));

  named(table, container('f', 20));
  pod.containers[1].id = id('2');
  table.put(pod, 4);
  const Subject again_init = named(table, container('2', 21));
  pod.containers[0].id = id('c');
  table.put(pod, 5);
  const Subject again = named(table, container('c', 22));
  EXPECT_EQ(again_init.container_name, "init");
  EXPECT_EQ(again_init.type, ContainerType::Init);
  EXPECT_EQ(again.container_name, "main");
  EXPECT_EQ(again.restart_count, 1);
  EXPECT_EQ(again.pod_uid, first.pod_uid);
  EXPECT_EQ(named(table, container('f', 20)).type, ContainerType::Sandbox);
  EXPECT_TRUE(table.may_return(again));
}

TEST(PodTable, AThousandStartsLeaveNothingBehind) {
  PodTable table({.namespaces = false});
  const auto numbered = [](int n) {
    std::string text = std::to_string(n);
    return std::string(64 - text.size(), '0') + text;
  };
  named(table, container('a', 1));
  for (int n = 1; n <= 1000; ++n) {
    table.put(pod_with(numbered(n), numbered(n - 1), n), static_cast<uint64_t>(n));
    Subject subject = container('x', static_cast<uint64_t>(n) + 10);
    subject.container_id = numbered(n);
    EXPECT_EQ(named(table, subject).container_name, "main") << n;
  }
  EXPECT_LT(table.container_ids(), 100U);
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
    auto pod = pod_of(parse_json<nlohmann::json>(
        R"({"metadata":{"name":"etcd-n1","namespace":"kube-system",)" + metadata +
        R"(},"spec":{"containers":[{"name":"etcd"}]},"status":{"containerStatuses":[{"name":"etcd",)" +
        R"("containerID":"containerd://)" + id('e') + R"("}]}})"));
    ASSERT_TRUE(pod);
    EXPECT_EQ(pod->uid, hash);
    table.put(std::move(*pod), 1);
    EXPECT_EQ(named(table, container('e', 5, hash)).container_name, "etcd");
    EXPECT_EQ(named(table, container('f', 6, hash)).pod_name, "etcd-n1") << "by the UID in the path";
  }
}

}  // namespace
}  // namespace sonde::kube
