// SPDX-License-Identifier: Apache-2.0
// Against a gRPC server of the same protocol: pods from the kubelet's socket.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <deque>

#include "agent/kube/pod_proto.h"
#include "agent/kube/pods_api_source.h"
#include "kubelet/pods.grpc.pb.h"
#include "kubernetes/pod.pb.h"
#include "tests/unit/api/certificate_support.h"
#include "tests/unit/kube/told.h"

namespace sonde::kube {
namespace {

const std::string kIdA(64, 'a'), kIdB(64, 'b'), kIdC(64, 'c');

kubernetes::Pod pod(const std::string& uid) {
  kubernetes::Pod pod;
  pod.mutable_metadata()->set_uid(uid);
  pod.mutable_metadata()->set_name("web-5d9c7b-" + uid);
  pod.mutable_metadata()->set_namespace_("shop");
  return pod;
}

TEST(PodProto, ReadsWhatJsonWouldHave) {
  kubernetes::Pod from = pod("u1");
  auto& metadata = *from.mutable_metadata();
  (*metadata.mutable_labels())["pod-template-hash"] = "5d9c7b";
  (*metadata.mutable_annotations())["large"] = std::string(kMostAnnotationBytes + 1, 'x');
  auto& owner = *metadata.add_owner_references();
  owner.set_kind("ReplicaSet");
  owner.set_name("web-5d9c7b");
  owner.set_controller(true);
  from.mutable_spec()->set_node_name("n1");
  from.mutable_spec()->add_containers()->set_name("web");
  from.mutable_spec()->add_init_containers()->set_name("prepare");
  auto& proxy = *from.mutable_spec()->add_init_containers();
  proxy.set_name("proxy");
  proxy.set_restart_policy("Always");
  from.mutable_spec()->add_ephemeral_containers()->mutable_container()->set_name("debug");
  auto& web = *from.mutable_status()->add_container_statuses();
  web.set_name("web");
  web.set_container_id("containerd://" + kIdA);
  web.set_restart_count(2);
  web.mutable_last_state()->mutable_terminated()->set_container_id("containerd://" + kIdB);
  auto& debug = *from.mutable_status()->add_ephemeral_container_statuses();
  debug.set_name("debug");
  debug.set_container_id("cri-o://" + kIdC);
  debug.mutable_state()->mutable_terminated()->set_exit_code(1);
  from.mutable_status()->set_phase("Failed");

  const auto read = parse_pod_proto(from.SerializeAsString());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->uid, "u1");
  EXPECT_EQ(read->node_name, "n1");
  EXPECT_EQ(read->owners, (std::vector<Owner>{{"ReplicaSet", "web-5d9c7b"}, {"Deployment", "web"}}));
  EXPECT_TRUE(read->annotations.empty());
  ASSERT_EQ(read->containers.size(), 4U);
  EXPECT_EQ(read->containers[0], (PodContainer{"web", "", kIdA, kIdB, ContainerType::Regular, 2}));
  EXPECT_EQ(read->containers[1], (PodContainer{"prepare", "", "", "", ContainerType::Init, 0}));
  EXPECT_EQ(read->containers[2], (PodContainer{"proxy", "", "", "", ContainerType::Sidecar, 0}));
  EXPECT_EQ(read->containers[3], (PodContainer{"debug", "", kIdC, "", ContainerType::Ephemeral, 0, true}));
  EXPECT_TRUE(read->over);
  EXPECT_EQ(uid_of_pod_proto(from.SerializeAsString()), "u1");
}

// The bytes of a pod as a kubelet's code writes them, by hand: field numbers are the contract.
TEST(PodProto, FieldNumbers) {
  const std::string bytes = std::string("\x0a\x0b") + "\x0a\x01n" + "\x1a\x02ns" +
                            "\x2a\x02u1" +                                                    // name, namespace, uid
                            "\x12\x0d" + "\x12\x05\x0a\x03web" + "\x52\x02n1" + "\x18\x01" +  // containers, nodeName
                            "\x1a\x1c" + "\x0a\x06" + "Failed" +                              // phase
                            "\x42\x12\x0a\x03web" + "\x12\x04\x1a\x02\x08\x07" +  // containerStatuses, state
                            "\x42\x05x://y";
  const auto read = parse_pod_proto(bytes);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->name + "/" + read->namespace_name + "/" + read->uid + "/" + read->node_name, "n/ns/u1/n1");
  EXPECT_TRUE(read->over);
  kubernetes::Pod raw;
  ASSERT_TRUE(raw.ParseFromString(bytes));
  EXPECT_EQ(raw.status().container_statuses(0).state().terminated().exit_code(), 7);
  ASSERT_EQ(read->containers.size(), 1U);
  EXPECT_EQ(read->containers[0].name + "=" + read->containers[0].id, "web=y");
}

// As the api.proto of k8s.io/kubelet 0.36 has it; earlier alphas counted from zero and had no end of the list.
TEST(PodsApi, IsThatOfKubernetes) {
  EXPECT_STREQ(v1alpha1::Pods::service_full_name(), "v1alpha1.Pods");
  const std::pair<std::string, v1alpha1::EventType> types[] = {{"\x08\x01", v1alpha1::ADDED},
                                                               {"\x08\x02", v1alpha1::MODIFIED},
                                                               {"\x08\x03", v1alpha1::DELETED},
                                                               {"\x08\x04", v1alpha1::INITIAL_SYNC_COMPLETE}};
  for (const auto& [bytes, type] : types) {
    v1alpha1::WatchPodsEvent event;
    ASSERT_TRUE(event.ParseFromString(bytes + "\x12\x03pod"));
    EXPECT_EQ(event.type(), type);
    EXPECT_EQ(event.pod(), "pod");
  }
  EXPECT_EQ(v1alpha1::WatchPodsRequest().SerializeAsString(), "");
}

TEST(PodProto, BadOnesAreSentences) {
  EXPECT_FALSE(parse_pod_proto("\xff\xff\xff"));
  EXPECT_FALSE(parse_pod_proto(""));
  EXPECT_EQ(uid_of_pod_proto("\xff\xff"), "");
}

// Says its script, then waits for more until the client goes.
class Kubelet final : public v1alpha1::Pods::Service {
 public:
  explicit Kubelet(std::string socket) : socket_(std::move(socket)) { start(); }
  ~Kubelet() override { stop(); }
  void start() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix:" + socket_, grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void stop() {
    if (!server_) return;
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    said_.notify_all();
    server_->Shutdown();
    server_.reset();
    ending_ = false;
  }
  void say(v1alpha1::EventType type, const std::string& bytes = "") {
    v1alpha1::WatchPodsEvent event;
    event.set_type(type);
    event.set_pod(bytes);
    {
      const std::lock_guard lock(mutex_);
      script_.push_back(event);
    }
    said_.notify_all();
  }
  void refuse(grpc::Status status) {
    const std::lock_guard lock(mutex_);
    refusal_ = std::move(status);
  }

  // What ListPods answers from now on; `after`: once that long has gone by.
  void list(std::vector<std::string> pods, std::chrono::milliseconds after = {}) {
    const std::lock_guard lock(mutex_);
    list_ = std::move(pods);
    list_after_ = after;
  }
  int lists() {
    const std::lock_guard lock(mutex_);
    return lists_;
  }
  grpc::Status ListPods(grpc::ServerContext*, const v1alpha1::ListPodsRequest*,
                        v1alpha1::ListPodsResponse* out) override {
    std::unique_lock lock(mutex_);
    ++lists_;
    said_.wait_for(lock, list_after_, [this] { return ending_; });
    for (const std::string& pod : list_) out->add_pods(pod);
    return grpc::Status::OK;
  }

  grpc::Status WatchPods(grpc::ServerContext* context, const v1alpha1::WatchPodsRequest*,
                         grpc::ServerWriter<v1alpha1::WatchPodsEvent>* out) override {
    std::unique_lock lock(mutex_);
    if (!refusal_.ok()) return refusal_;
    for (std::size_t next = 0; !ending_ && !context->IsCancelled();) {
      if (next == script_.size()) {
        said_.wait_for(lock, std::chrono::milliseconds(10));
        continue;
      }
      const v1alpha1::WatchPodsEvent event = script_[next++];
      lock.unlock();
      out->Write(event);
      lock.lock();
    }
    return grpc::Status::OK;
  }

 private:
  const std::string socket_;
  std::unique_ptr<grpc::Server> server_;
  std::mutex mutex_;
  std::condition_variable said_;
  std::vector<v1alpha1::WatchPodsEvent> script_;
  std::vector<std::string> list_;
  std::chrono::milliseconds list_after_{0};
  int lists_ = 0;
  grpc::Status refusal_;
  bool ending_ = false;
};

PodsApiSourceOptions options(const std::string& socket) {
  PodsApiSourceOptions options;
  options.api.socket = socket;
  options.api.tick_ns = 20'000'000;
  options.shortest_wait_ns = options.longest_wait_ns = 20'000'000;
  return options;
}

TEST(PodsApiSource, ListsThenFollows) {
  api_test::TemporaryDirectory directory;
  Kubelet kubelet(directory.file("s"));
  kubelet.say(v1alpha1::ADDED, pod("u1").SerializeAsString());
  kubelet.say(v1alpha1::ADDED, pod("u2").SerializeAsString());
  Told told;
  const PodsApiSource source(options(directory.file("s")), told);
  kubelet.say(v1alpha1::INITIAL_SYNC_COMPLETE);
  ASSERT_TRUE(told.wait_for([](const Told& t) { return t.alls() == 1; })) << told.last();
  EXPECT_EQ(told.pods().size(), 2U);
  EXPECT_TRUE(told.wait_for([](const Told& t) { return t.freshes() > 1; })) << "while the stream stands";
  kubelet.say(v1alpha1::MODIFIED, pod("u2").SerializeAsString());
  kubelet.say(v1alpha1::ADDED, "\xff\xff");  // one that makes no sense ends nothing
  kubelet.say(v1alpha1::DELETED, pod("u1").SerializeAsString());
  ASSERT_TRUE(told.wait_for([](const Told& t) { return !t.all_gone().empty(); }));
  EXPECT_EQ(told.all_gone().at(0), "u1");
  ASSERT_EQ(told.ones().size(), 1U);
  EXPECT_EQ(told.ones()[0].uid, "u2");
  EXPECT_EQ(told.failures(), 0);
}

TEST(PodsApiSource, AKubeletThatIsStartedAgainIsListedAnew) {
  api_test::TemporaryDirectory directory;
  Told told;
  const PodsApiSource source(options(directory.file("s")), told);
  ASSERT_TRUE(told.wait_for([](const Told& t) { return t.failures() > 0; }));
  EXPECT_NE(told.last().find("there is no socket"), std::string::npos) << told.last();
  Kubelet kubelet(directory.file("s"));
  kubelet.say(v1alpha1::ADDED, pod("u1").SerializeAsString());
  kubelet.say(v1alpha1::INITIAL_SYNC_COMPLETE);
  ASSERT_TRUE(told.wait_for([](const Told& t) { return t.alls() == 1; })) << told.last();
  const int before = told.failures();
  kubelet.stop();
  ASSERT_TRUE(told.wait_for([&](const Told& t) { return t.failures() > before; }));
  kubelet.start();
  EXPECT_TRUE(told.wait_for([](const Told& t) { return t.alls() == 2; })) << told.last();
}

// The stream is silent of a label that changes while the status does not.
TEST(PodsApiSource, ListsAgainBesideTheStream) {
  api_test::TemporaryDirectory directory;
  Kubelet kubelet(directory.file("s"));
  kubelet.say(v1alpha1::ADDED, pod("u1").SerializeAsString());
  kubelet.say(v1alpha1::INITIAL_SYNC_COMPLETE);
  kubernetes::Pod changed = pod("u1");
  (*changed.mutable_metadata()->mutable_labels())["app"] = "new";
  kubelet.list({changed.SerializeAsString(), pod("u2").SerializeAsString()});
  PodsApiSourceOptions often = options(directory.file("s"));
  often.api.list_every_ns = 50'000'000;
  Told told;
  const PodsApiSource source(often, told);
  ASSERT_TRUE(told.wait_for([](const Told& t) { return t.alls() >= 2; })) << told.last();
  ASSERT_EQ(told.pods().size(), 2U);
  EXPECT_EQ(told.pods()[0].labels.at("app"), "new");
  kubelet.say(v1alpha1::MODIFIED, pod("u2").SerializeAsString());
  EXPECT_TRUE(told.wait_for([](const Told& t) { return t.ones().size() == 1; })) << "the stream goes on beside it";
  const int before = kubelet.lists();
  EXPECT_TRUE(told.wait_for([&](const Told&) { return kubelet.lists() > before + 1; }));
  EXPECT_EQ(told.failures(), 0);
}

TEST(PodsApiSource, AListThatDoesNotComeEndsTheStream) {
  api_test::TemporaryDirectory directory;
  Kubelet kubelet(directory.file("s"));
  kubelet.say(v1alpha1::ADDED, pod("u1").SerializeAsString());
  kubelet.say(v1alpha1::INITIAL_SYNC_COMPLETE);
  kubelet.list({}, std::chrono::minutes(10));
  PodsApiSourceOptions often = options(directory.file("s"));
  often.api.list_every_ns = 50'000'000;
  often.api.list_timeout_ns = 500'000'000;
  Told told;
  const PodsApiSource source(often, told);
  ASSERT_TRUE(told.wait_for([](const Told& t) { return t.failures() > 0; })) << told.last();
  EXPECT_EQ(told.pods().size(), 1U) << "no list is not an empty one";
  kubelet.list({pod("u1").SerializeAsString(), pod("u2").SerializeAsString()});
  EXPECT_TRUE(told.wait_for([](const Told& t) { return t.pods().size() == 2; })) << told.last();
}

TEST(PodsApiSource, EndsWhileAListIsAwaited) {
  api_test::TemporaryDirectory directory;
  Kubelet kubelet(directory.file("s"));
  kubelet.say(v1alpha1::INITIAL_SYNC_COMPLETE);
  kubelet.list({}, std::chrono::minutes(10));
  PodsApiSourceOptions often = options(directory.file("s"));
  often.api.list_every_ns = 1'000'000;
  often.api.list_timeout_ns = 3'600'000'000'000;
  Told told;
  {
    const PodsApiSource source(often, told);
    ASSERT_TRUE(told.wait_for([&](const Told&) { return kubelet.lists() == 1; }));
  }
  EXPECT_EQ(told.alls(), 1);
}

TEST(PodsApiSource, RefusalsAreSentences) {
  api_test::TemporaryDirectory directory;
  Kubelet kubelet(directory.file("s"));
  const auto reason = [&](grpc::StatusCode code) {
    kubelet.refuse(grpc::Status(code, "because"));
    Told told;
    const PodsApiSource source(options(directory.file("s")), told);
    told.wait_for([](const Told& t) { return t.failures() > 0; });
    return told.last();
  };
  EXPECT_EQ(reason(grpc::StatusCode::FAILED_PRECONDITION), "the kubelet does not know its pods yet: because");
  EXPECT_NE(reason(grpc::StatusCode::RESOURCE_EXHAUSTED).find("too slowly"), std::string::npos);
  EXPECT_NE(reason(grpc::StatusCode::UNIMPLEMENTED).find("does not speak the Pods API"), std::string::npos);
}

TEST(PodsApiSource, OneThatNeverListsIsGivenUp) {
  api_test::TemporaryDirectory directory;
  Kubelet kubelet(directory.file("s"));
  kubelet.say(v1alpha1::ADDED, pod("u1").SerializeAsString());
  PodsApiSourceOptions impatient = options(directory.file("s"));
  impatient.api.list_timeout_ns = 200'000'000;
  Told told;
  const PodsApiSource source(impatient, told);
  ASSERT_TRUE(told.wait_for([](const Told& t) { return t.failures() > 0; }));
  EXPECT_NE(told.last().find("did not list its pods in time"), std::string::npos) << told.last();
  EXPECT_EQ(told.alls(), 0);
}

}  // namespace
}  // namespace sonde::kube
