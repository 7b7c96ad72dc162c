// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/identity.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

const std::string kA(64, 'a');
const std::string kB(64, 'b');
const std::string kPod = "/kubepods/burstable/pod8dbc5577-d0e2-4706-8787-57d52c03ddf2";

SlotRecord cgroup(uint32_t slot, uint64_t id, uint64_t parent, const std::string& path, uint64_t created = 100) {
  SlotRecord record;
  record.slot = slot;
  record.cgroup_id = id;
  record.parent_id = parent;
  record.path = path;
  record.created_ns = created;
  return record;
}

SlotRecord process(uint32_t slot, uint64_t cgroup_id, uint32_t tgid, const std::string& comm) {
  SlotRecord record;
  record.slot = slot;
  record.cgroup_id = cgroup_id;
  record.parent_id = cgroup_id;
  record.tgid = tgid;
  record.comm = comm;
  record.path = "/left/over/from/before";
  record.kind = SONDE_KIND_INSIDE;
  record.created_ns = 300;
  return record;
}

TEST(Subject, Keys) {
  const Subject service = subject_of("/system.slice/web.service", 7, 0);
  const Subject again = subject_of("/system.slice/web.service", 8, 0);
  EXPECT_NE(service.key(), again.key()) << "the same path made again is somebody else";
  const Subject first = subject_of("/docker/" + kA, 7, 0);
  const Subject restarted = subject_of("/docker/" + kA, 9, 0);
  EXPECT_EQ(first.key(), restarted.key()) << "a container started again goes on";
  EXPECT_NE(first.key(), subject_of("/docker/" + kB, 7, 0).key());
  EXPECT_EQ(first.kind, SubjectKind::Container);
  EXPECT_EQ(service.kind, SubjectKind::Cgroup);
  Subject none;
  none.kind = SubjectKind::Unattributed;
  EXPECT_EQ(none.key(), "unattributed");
}

TEST(Subject, InsideAContainerIsTheContainer) {
  const Subject subject = subject_of(kPod + "/" + kA + "/init.scope", 3, 55);
  EXPECT_EQ(subject.cgroup_path, kPod + "/" + kA);
  EXPECT_EQ(subject.container_id, kA);
  EXPECT_EQ(subject.pod_uid, "8dbc5577-d0e2-4706-8787-57d52c03ddf2");
  EXPECT_EQ(subject.qos, "burstable");
  EXPECT_EQ(subject.started_ns, 55U);
}

TEST(Identity, StartsWithTheUnattributed) {
  Identity identity;
  const auto snapshot = identity.snapshot();
  ASSERT_EQ(snapshot->slots.size(), 1U);
  EXPECT_EQ(snapshot->slots.at(0).subject->kind, SubjectKind::Unattributed);
}

TEST(Identity, LifeOfASlot) {
  Identity identity;
  std::vector<SlotRecord> live{cgroup(12, 10, 1, "/system.slice"), cgroup(3, 11, 10, "/system.slice/web.service")};
  const auto first = identity.update(live, 1000);
  ASSERT_EQ(first->slots.size(), 3U);
  const SubjectPtr web = first->slots.at(3).subject;
  EXPECT_EQ(web->cgroup_path, "/system.slice/web.service");
  EXPECT_FALSE(first->slots.at(3).ended);

  EXPECT_EQ(identity.update(live, 2000), first) << "nothing new, nothing published";

  live[1].removed_ns = 2500;
  const auto ended = identity.update(live, 3000);
  EXPECT_TRUE(ended->slots.at(3).ended);
  EXPECT_EQ(ended->slots.at(3).subject, web);
  EXPECT_EQ(identity.find_path("/system.slice/web.service"), ended->slots.at(12).subject) << "no longer there";

  live.pop_back();
  const auto freed = identity.update(live, 4000);
  EXPECT_FALSE(freed->slots.contains(3));
  EXPECT_EQ(identity.find(11), web) << "still resolvable";
  identity.update(live, 4000 + 200'000'000'000);
  EXPECT_EQ(identity.find(11), nullptr);
  EXPECT_EQ(first->slots.size(), 3U) << "a snapshot never changes";
}

TEST(Identity, SlotUsedAgain) {
  Identity identity;
  const SlotRecord old_one = cgroup(5, 20, 1, "/docker/" + kA, 100);
  const SlotRecord new_one = cgroup(5, 21, 1, "/docker/" + kB, 900);
  identity.apply({{old_one}}, 1);
  const auto snapshot = identity.apply({{new_one}}, 2);
  EXPECT_EQ(snapshot->slots.at(5).subject->container_id, kB);
  EXPECT_EQ(identity.find(20)->container_id, kA);
}

TEST(Identity, PathUsedAgainWhileTheOldOneLingers) {
  Identity identity;
  SlotRecord old_one = cgroup(5, 20, 1, "/job");
  identity.apply({{old_one}}, 1);
  old_one.removed_ns = 500;
  const auto snapshot = identity.apply({{old_one, cgroup(6, 21, 1, "/job", 600)}}, 2);
  EXPECT_TRUE(snapshot->slots.at(5).ended);
  EXPECT_FALSE(snapshot->slots.at(6).ended);
  EXPECT_NE(snapshot->slots.at(5).subject->key(), snapshot->slots.at(6).subject->key());
  EXPECT_EQ(identity.find_path("/job")->cgroup_id, 21U);
  // The old one's end must not take the new one's path away, in whichever order they come.
  SlotRecord freed;
  freed.slot = 5;
  identity.apply({{freed}}, 3);
  EXPECT_EQ(identity.find_path("/job/deeper")->cgroup_id, 21U);
}

TEST(Identity, NestedFoldIntoTheContainer) {
  Identity identity;
  const std::string path = kPod + "/" + kA;
  const auto snapshot = identity.update(
      {{cgroup(12, 10, 1, path), cgroup(3, 11, 10, path + "/init.scope"), cgroup(4, 12, 11, path + "/docker/" + kB),
        cgroup(5, 13, 999, path + "/unknown/parent"), cgroup(6, 14, 1, "/elsewhere")}},
      1);
  const SubjectPtr container = snapshot->slots.at(12).subject;
  for (const uint32_t slot : {3U, 4U, 5U}) EXPECT_EQ(snapshot->slots.at(slot).subject, container) << slot;
  EXPECT_NE(snapshot->slots.at(6).subject, container);
  EXPECT_EQ(identity.find_path(path + "/init.scope/x")->key(), container->key());
}

TEST(Identity, ProcessesOfACgroup) {
  Identity identity;
  const auto snapshot = identity.update({{process(7, 10, 4711, "postgres"), cgroup(12, 10, 1, "/docker/" + kA)}}, 1);
  const SlotOwner& owner = snapshot->slots.at(7);
  EXPECT_EQ(owner.subject, snapshot->slots.at(12).subject);
  EXPECT_EQ(owner.tgid, 4711U);
  EXPECT_EQ(owner.comm, "postgres");
  const auto lonely = identity.update({{process(8, 99, 5, "x")}}, 2);
  EXPECT_EQ(lonely->slots.at(8).subject->cgroup_path, "") << "what the slot's path said before is not believed";
}

TEST(Identity, FixedSlotsAreNotSubjects) {
  Identity identity;
  const auto snapshot = identity.update({{cgroup(SONDE_SLOT_IGNORED, 5, 1, "/x")}}, 1);
  EXPECT_EQ(snapshot->slots.size(), 1U);
}

TEST(Identity, APodIsNotPartOfTheContainerThatItsNodeIs) {
  const std::string node = "/system.slice/docker-" + kB + ".scope";
  const std::string pod = node + "/kubelet.slice/kubelet-kubepods-pod8dbc5577_d0e2_4706_8787_57d52c03ddf2.slice";
  Identity identity;
  const auto snapshot = identity.update(
      {{cgroup(12, 10, 1, node), cgroup(3, 11, 10, node + "/init.scope"), cgroup(4, 12, 10, pod),
        cgroup(5, 13, 12, pod + "/cri-containerd-" + kA + ".scope"),
        cgroup(6, 14, 10, node + "/kubepods-pod8dbc5577_d0e2_4706_8787_57d52c03ddf2.slice:cri-containerd:" + kA)}},
      1);
  EXPECT_EQ(snapshot->slots.at(3).subject, snapshot->slots.at(12).subject);
  EXPECT_EQ(snapshot->slots.at(4).subject->kind, SubjectKind::Cgroup);
  for (const uint32_t slot : {5U, 6U}) {
    EXPECT_EQ(snapshot->slots.at(slot).subject->container_id, kA) << slot;
    EXPECT_EQ(snapshot->slots.at(slot).subject->pod_uid, "8dbc5577-d0e2-4706-8787-57d52c03ddf2") << slot;
  }
}

TEST(Identity, EndedOnesAreBounded) {
  IdentityOptions options;
  options.keep_ended = 3;
  Identity identity(options);
  for (uint32_t i = 0; i < 10; ++i) {
    identity.update({{cgroup(12, 100 + i, 1, "/job" + std::to_string(i), i)}}, i);
  }
  EXPECT_EQ(identity.find(100), nullptr);
  EXPECT_NE(identity.find(108), nullptr);
  EXPECT_EQ(identity.stats().forgotten, 6U);
  EXPECT_EQ(identity.stats().subjects_made, 10U);
}

class Pods : public Enricher {
 public:
  void enrich(Subject& subject) const override {
    if (subject.container_id.empty() || name.empty()) return;
    subject.pod_name = name;
    subject.namespace_name = "shop";
  }
  bool complete(const Subject& subject) const override { return !subject.pod_name.empty(); }
  bool may_return(const Subject&) const override { return true; }
  uint64_t version() const override { return version_; }
  void set(const std::string& pod) {
    name = pod;
    ++version_;
  }

 private:
  std::string name;
  uint64_t version_ = 0;
};

TEST(Identity, NamesThatComeLater) {
  Pods pods;
  Identity identity({}, &pods);
  const std::string path = kPod + "/" + kA;
  const std::vector<SlotRecord> live{cgroup(12, 10, 1, path), cgroup(3, 11, 10, path + "/x"),
                                     cgroup(4, 12, 1, "/host")};
  const auto before = identity.update(live, 1);
  const std::string key = before->slots.at(12).subject->key();
  EXPECT_EQ(before->slots.at(12).subject->pod_name, "");
  pods.set("cart-0");
  const auto named = identity.update(live, 2);
  EXPECT_EQ(named->slots.at(12).subject->pod_name, "cart-0");
  EXPECT_EQ(named->slots.at(3).subject, named->slots.at(12).subject) << "still one subject";
  EXPECT_EQ(named->slots.at(4).subject, before->slots.at(4).subject);
  EXPECT_EQ(named->slots.at(12).subject->key(), key);
  pods.set("");  // the pod is gone from the list
  EXPECT_EQ(identity.update(live, 3), named) << "what was known stays known";
}

}  // namespace
}  // namespace sonde
