// SPDX-License-Identifier: Apache-2.0
// Which source is in use, and what of it reaches the table.
#include "agent/kube/pod_sources.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>

namespace sonde::kube {
namespace {

Pod pod(const std::string& uid, const std::string& name) {
  Pod out;
  out.uid = uid;
  out.name = name;
  out.namespace_name = "shop";
  return out;
}

// Sources that say what the test has them say.
class Stage {
 public:
  Stage() : table_({.namespaces = false}) {
    std::vector<PodSourceEntry> entries;
    for (const char* name : {"podsApi", "kubelet", "apiServer"}) entries.push_back({name, maker(name)});
    sources_ = std::make_unique<PodSources>(table_, std::move(entries), [this] { ++changes; });
    sources_->start();
  }

  // Of a source that runs; null until it does.
  PodSink* sink(const std::string& name) {
    const std::lock_guard lock(mutex_);
    const auto found = running_.find(name);
    return found == running_.end() ? nullptr : found->second;
  }
  bool runs(const std::string& name, bool wanted = true) {
    for (int i = 0; i < 20'000; ++i) {
      if ((sink(name) != nullptr) == wanted) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }
  SourceStatus status(const std::string& name) const {
    for (const SourceStatus& status : sources_->status()) {
      if (status.name == name) return status;
    }
    return {};
  }
  PodSources& sources() { return *sources_; }
  PodTable& table() { return table_; }
  std::atomic<int> changes{0};

 private:
  class Told final : public PodSource {
   public:
    Told(Stage& stage, std::string name) : stage_(stage), name_(std::move(name)) {}
    ~Told() override {
      const std::lock_guard lock(stage_.mutex_);
      stage_.running_.erase(name_);
    }

   private:
    Stage& stage_;
    const std::string name_;
  };
  std::function<std::unique_ptr<PodSource>(PodSink&)> maker(const std::string& name) {
    return [this, name](PodSink& sink) -> std::unique_ptr<PodSource> {
      const std::lock_guard lock(mutex_);
      running_[name] = &sink;
      return std::make_unique<Told>(*this, name);
    };
  }

  std::mutex mutex_;
  std::map<std::string, PodSink*> running_;
  PodTable table_;
  std::unique_ptr<PodSources> sources_;  // first to go
};

TEST(PodSources, TheBestThatWorksIsInUse) {
  Stage stage;
  ASSERT_TRUE(stage.runs("podsApi"));
  EXPECT_EQ(stage.sink("kubelet"), nullptr) << "not before the better one has failed";
  stage.sink("podsApi")->failed("there is no socket");
  ASSERT_TRUE(stage.runs("kubelet"));
  EXPECT_EQ(stage.sink("apiServer"), nullptr);
  EXPECT_EQ(stage.sources().in_use(), "");
  stage.sink("kubelet")->all({pod("1", "a")});
  EXPECT_EQ(stage.sources().in_use(), "kubelet");
  EXPECT_EQ(stage.table().size(), 1U);
  EXPECT_EQ(stage.status("podsApi").state, SourceState::Failed);
  EXPECT_EQ(stage.status("podsApi").reason, "there is no socket");
  EXPECT_EQ(stage.status("apiServer").state, SourceState::Resting);
  EXPECT_GT(stage.sources().fresh_ns(), 0U);
}

TEST(PodSources, FallsBackAfterThreeFailuresAndRecovers) {
  Stage stage;
  ASSERT_TRUE(stage.runs("podsApi"));
  stage.sink("podsApi")->failed("no socket");
  ASSERT_TRUE(stage.runs("kubelet"));
  PodSink* kubelet = stage.sink("kubelet");
  kubelet->all({pod("1", "a"), pod("2", "b")});
  for (int i = 0; i < 2; ++i) kubelet->failed("the kubelet answered 500");
  EXPECT_EQ(stage.sources().in_use(), "kubelet") << "two failures are an accident";
  kubelet->fresh();
  for (int i = 0; i < 2; ++i) kubelet->failed("the kubelet answered 500");
  EXPECT_EQ(stage.sources().in_use(), "kubelet") << "it had worked in between";
  kubelet->failed("the kubelet answered 500");
  EXPECT_EQ(stage.sources().in_use(), "");
  EXPECT_EQ(stage.sources().last_used(), "kubelet");
  EXPECT_EQ(stage.table().size(), 2U) << "the last snapshot serves";

  ASSERT_TRUE(stage.runs("apiServer"));
  stage.sink("apiServer")->all({pod("2", "b"), pod("3", "c"), pod("4", "d")});
  EXPECT_EQ(stage.sources().in_use(), "apiServer");
  EXPECT_EQ(stage.table().size(), 3U);
  EXPECT_EQ(stage.status("kubelet").reason, "the kubelet answered 500");
  kubelet->one(pod("9", "late"));
  EXPECT_EQ(stage.table().size(), 3U) << "one that is not in use says nothing";

  kubelet->all({pod("4", "d")});
  EXPECT_EQ(stage.sources().in_use(), "kubelet") << "the better one is back";
  EXPECT_EQ(stage.table().size(), 1U);
  EXPECT_TRUE(stage.runs("apiServer", false)) << "and the worse one rests";
  EXPECT_EQ(stage.sources().switches(), 3U);
}

TEST(PodSources, OneThatGoesOnWhereItWasNeedNotSayAllAgain) {
  Stage stage;
  ASSERT_TRUE(stage.runs("podsApi"));
  stage.sink("podsApi")->all({pod("1", "a")});
  for (int i = 0; i < 3; ++i) stage.sink("podsApi")->failed("ended");
  EXPECT_EQ(stage.sources().in_use(), "");
  ASSERT_TRUE(stage.runs("kubelet"));
  stage.sink("podsApi")->one(pod("2", "b"));
  EXPECT_EQ(stage.sources().in_use(), "podsApi");
  EXPECT_EQ(stage.table().size(), 2U);
  stage.sink("podsApi")->gone("1");
  EXPECT_EQ(stage.table().size(), 1U);
  EXPECT_TRUE(stage.runs("kubelet", false));
}

TEST(PodSources, WhatIsLeftOutSaysWhy) {
  PodTable table;
  std::vector<PodSourceEntry> entries;
  entries.push_back({"kubelet", {}, "kubelet.address is not set"});
  PodSources sources(table, std::move(entries), [] {});
  sources.start();
  const auto status = sources.status();
  ASSERT_EQ(status.size(), 1U);
  EXPECT_EQ(status[0].state, SourceState::Unused);
  EXPECT_EQ(status[0].reason, "kubelet.address is not set");
}

}  // namespace
}  // namespace sonde::kube
