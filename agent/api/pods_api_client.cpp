// SPDX-License-Identifier: Apache-2.0
#include "agent/api/pods_api_client.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <set>
#include <utility>

#include "agent/base/mutex.h"
#include "kubelet/pods.grpc.pb.h"

namespace sonde {
namespace {

using GrpcClock = std::chrono::system_clock;  // gRPC's deadlines are of this one

constexpr int kMostMessage = 32 << 20;  // all pods of a node
constexpr int kNoBackoff = 100;         // ms: who calls watch() again waits by itself

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
    case grpc::StatusCode::OK: return "the kubelet closed the pod stream";
    case grpc::StatusCode::FAILED_PRECONDITION: return "the kubelet does not know its pods yet: " + said;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return "the kubelet closed the pod stream, because it was read too slowly or opened too often: " + said;
    case grpc::StatusCode::UNIMPLEMENTED: return "the kubelet's socket does not speak the Pods API v1alpha1: " + said;
    case grpc::StatusCode::UNAVAILABLE: return "the kubelet does not answer on its socket: " + said;
    case grpc::StatusCode::DEADLINE_EXCEEDED: return "the kubelet did not list its pods in time on its socket";
    default: return "the kubelet's pod stream failed: " + said;
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

  using Take = std::function<void(PodsApiEvent, std::string_view)>;
  Error watch(const Take& take, const std::function<void()>& tick);

  void stop() {
    const MutexLock lock(mutex_);
    stopped_ = true;
    for (grpc::ClientContext* context : calls_) context->TryCancel();
  }

 private:
  // A call that stop() ends.
  class Call {
   public:
    explicit Call(Impl& impl) : impl_(impl) {
      const MutexLock lock(impl_.mutex_);
      impl_.calls_.insert(&context);
      if (impl_.stopped_) context.TryCancel();
    }
    ~Call() {
      const MutexLock lock(impl_.mutex_);
      impl_.calls_.erase(&context);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;
    grpc::ClientContext context;

   private:
    Impl& impl_;
  };

  enum class Next : uint8_t { Done, Failed, TimedOut };
  static Next next(grpc::CompletionQueue& queue, GrpcClock::time_point deadline) {
    void* tag = nullptr;
    bool ok = false;
    if (queue.AsyncNext(&tag, &ok, deadline) == grpc::CompletionQueue::TIMEOUT) return Next::TimedOut;
    return ok ? Next::Done : Next::Failed;
  }
  grpc::Status list(const Take& take);

  const PodsApiOptions options_;
  std::unique_ptr<v1alpha1::Pods::Stub> stub_;
  Mutex mutex_;
  std::set<grpc::ClientContext*> calls_ SONDE_GUARDED_BY(mutex_);
  bool stopped_ SONDE_GUARDED_BY(mutex_) = false;
};

// While it runs nothing is read from the stream, so what the stream says next is not older than the list or is said again.
grpc::Status PodsApiClient::Impl::list(const Take& take) {
  Call call(*this);
  call.context.set_deadline(GrpcClock::now() + std::chrono::nanoseconds(options_.list_timeout_ns));
  v1alpha1::ListPodsResponse list;
  grpc::Status status = stub_->ListPods(&call.context, v1alpha1::ListPodsRequest(), &list);
  if (!status.ok()) return status;
  take(PodsApiEvent::Listing, {});
  for (const std::string& pod : list.pods()) take(PodsApiEvent::Added, pod);
  take(PodsApiEvent::Synced, {});
  return status;
}

Error PodsApiClient::Impl::watch(const Take& take, const std::function<void()>& tick) {
  grpc::CompletionQueue queue;
  Call call(*this);
  bool synced = false;
  grpc::Status failure;  // of a list; the stream is ended for it
  auto list_by = GrpcClock::now() + std::chrono::nanoseconds(options_.list_timeout_ns);
  const auto look = [&] {
    if (!failure.ok() || GrpcClock::now() < list_by) return;
    failure = synced ? list(take) : grpc::Status(grpc::StatusCode::DEADLINE_EXCEEDED, "");
    if (!failure.ok()) call.context.TryCancel();
    list_by = GrpcClock::now() + std::chrono::nanoseconds(options_.list_every_ns);
  };
  // One operation at a time, so the queue has one tag at most.
  const auto wait = [&] {
    for (;;) {
      const auto next_tick = GrpcClock::now() + std::chrono::nanoseconds(options_.tick_ns);
      const Next what = next(queue, std::min(next_tick, list_by));
      if (what != Next::TimedOut) return what == Next::Done;
      if (synced && failure.ok()) tick();
      look();
    }
  };
  auto reader = stub_->AsyncWatchPods(&call.context, v1alpha1::WatchPodsRequest(), &queue, this);
  v1alpha1::WatchPodsEvent event;
  bool going = wait();
  take(PodsApiEvent::Listing, {});
  while (going) {
    reader->Read(&event, this);
    going = wait();
    if (!going) break;
    const PodsApiEvent kind = event_of(event.type());
    if (!synced && kind == PodsApiEvent::Synced) {
      synced = true;
      list_by = GrpcClock::now() + std::chrono::nanoseconds(options_.list_every_ns);
    }
    take(kind, event.pod());
    if (synced) look();
  }
  grpc::Status status;
  reader->Finish(&status, this);
  wait();
  queue.Shutdown();
  return Error(sentence_of(failure.ok() ? status : failure));
}

PodsApiClient::PodsApiClient(PodsApiOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
PodsApiClient::~PodsApiClient() = default;

Error PodsApiClient::watch(const std::function<void(PodsApiEvent, std::string_view)>& take,
                           const std::function<void()>& tick) {
  return impl_->watch(take, tick);
}

void PodsApiClient::stop() { impl_->stop(); }

}  // namespace sonde
