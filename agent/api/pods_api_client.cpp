// SPDX-License-Identifier: Apache-2.0
#include "agent/api/pods_api_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include "kubelet/pods.grpc.pb.h"

namespace sonde {
namespace {

using Clock = std::chrono::system_clock;  // gRPC's deadlines are of this one

constexpr int kMostMessage = 4 << 20;
constexpr int kNoBackoff = 100;  // ms: who calls watch() again waits by itself

PodsApiEvent event_of(v1alpha1::EventType type) {
  switch (type) {
    case v1alpha1::INITIAL_SYNC_COMPLETE: return PodsApiEvent::Synced;
    case v1alpha1::DELETED: return PodsApiEvent::Deleted;
    case v1alpha1::MODIFIED: return PodsApiEvent::Modified;
    default: return PodsApiEvent::Added;
  }
}

std::string sentence_of(const grpc::Status& status) {
  const std::string said = status.error_message().substr(0, 256);
  switch (status.error_code()) {
    case grpc::StatusCode::OK: return "the kubelet ended the stream of pods";
    case grpc::StatusCode::FAILED_PRECONDITION: return "the kubelet does not know its pods yet: " + said;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "the kubelet ended the stream of pods, which was read too slowly or opened too often: " + said;
    case grpc::StatusCode::UNIMPLEMENTED: return "the kubelet's socket does not speak the Pods API v1alpha1: " + said;
    case grpc::StatusCode::UNAVAILABLE: return "the kubelet does not answer on its socket: " + said;
    default: return "the kubelet's stream of pods failed: " + said;
  }
}

}  // namespace

class PodsApiClient::Impl {
 public:
  explicit Impl(PodsApiOptions options) : options_(std::move(options)) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(kMostMessage);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kNoBackoff);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kNoBackoff);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    stub_ = v1alpha1::Pods::NewStub(
        grpc::CreateCustomChannel("unix:" + options_.socket, grpc::InsecureChannelCredentials(), arguments));
  }

  Error watch(const std::function<void(PodsApiEvent, std::string_view)>& take, const std::function<void()>& tick);

  void stop() {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    if (context_) context_->TryCancel();
  }

 private:
  enum class Next : uint8_t { Done, Failed, TimedOut };
  Next next(grpc::CompletionQueue& queue, uint64_t timeout_ns) {
    void* tag = nullptr;
    bool ok = false;
    const auto deadline = Clock::now() + std::chrono::nanoseconds(timeout_ns);
    if (queue.AsyncNext(&tag, &ok, deadline) == grpc::CompletionQueue::TIMEOUT) return Next::TimedOut;
    return ok ? Next::Done : Next::Failed;
  }
  bool begin(grpc::ClientContext& context) {
    const std::lock_guard lock(mutex_);
    context_ = &context;
    return !stopped_;
  }
  void finish() {
    const std::lock_guard lock(mutex_);
    context_ = nullptr;
  }

  const PodsApiOptions options_;
  std::unique_ptr<v1alpha1::Pods::Stub> stub_;
  std::mutex mutex_;
  grpc::ClientContext* context_ = nullptr;
  bool stopped_ = false;
};

Error PodsApiClient::Impl::watch(const std::function<void(PodsApiEvent, std::string_view)>& take,
                                 const std::function<void()>& tick) {
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  if (!begin(context)) return Error("stopped");
  const auto give_up = Clock::now() + std::chrono::nanoseconds(options_.first_timeout_ns);
  bool synced = false, late = false;
  // One operation at a time, so the queue has one tag at most.
  const auto wait = [&] {
    for (;;) {
      const Next what = next(queue, synced ? options_.tick_ns : std::min(options_.tick_ns, options_.first_timeout_ns));
      if (what != Next::TimedOut) return what == Next::Done;
      if (synced) tick();
      if (!synced && !late && Clock::now() >= give_up) {
        late = true;
        context.TryCancel();
      }
    }
  };
  auto reader = stub_->AsyncWatchPods(&context, v1alpha1::WatchPodsRequest(), &queue, this);
  v1alpha1::WatchPodsEvent event;
  bool going = wait();
  while (going) {
    reader->Read(&event, this);
    going = wait();
    if (!going) break;
    const PodsApiEvent kind = event_of(event.type());
    synced = synced || kind == PodsApiEvent::Synced;
    take(kind, event.pod());
  }
  grpc::Status status;
  reader->Finish(&status, this);
  wait();
  finish();
  queue.Shutdown();
  if (late) return Error("the kubelet did not list its pods in time on its socket");
  return Error(sentence_of(status));
}

PodsApiClient::PodsApiClient(PodsApiOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
PodsApiClient::~PodsApiClient() = default;

Error PodsApiClient::watch(const std::function<void(PodsApiEvent, std::string_view)>& take,
                           const std::function<void()>& tick) {
  return impl_->watch(take, tick);
}

void PodsApiClient::stop() { impl_->stop(); }

}  // namespace sonde
