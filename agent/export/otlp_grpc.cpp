// SPDX-License-Identifier: Apache-2.0
#include <grpc/support/log.h>
#include <grpcpp/channel.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <mutex>

#include "agent/base/mutex.h"
#include "agent/export/otlp_sender.h"
#include "agent/export/proxy.h"
#include "agent/export/tls_files.h"

namespace sonde {
namespace {

const char* method_of(OtlpSignal signal) {
  return signal == OtlpSignal::Metrics ? "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
                                       : "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
}

// Shares the request with gRPC, whose transport may hold it longer than the call lasts.
grpc::ByteBuffer shared_buffer(const std::shared_ptr<const std::string>& request) {
  auto* owner = new std::shared_ptr<const std::string>(request);
  grpc::Slice slice(
      const_cast<char*>(request->data()), request->size(),
      [](void* held) { delete static_cast<std::shared_ptr<const std::string>*>(held); }, owner);
  return {&slice, 1};
}

std::string text_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!buffer.Dump(&slices).ok()) return text;
  for (const grpc::Slice& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

// gRPC tells failed handshakes on standard error; what matters of it is in the status of the call.
void quiet_grpc() {
  static std::once_flag once;
  std::call_once(
      once, [] { gpr_set_log_function([](gpr_log_func_args* line) { spdlog::debug("gRPC: {}", line->message); }); });
}

class GrpcSender final : public OtlpSender {
 public:
  GrpcSender(const OtlpOptions& options, OtlpSignal signal, std::optional<Proxy> proxy)
      : options_(options), method_(method_of(signal)), proxy_(std::move(proxy)), watch_(options.tls) {}

  Result<void> connect() {
    if (!options_.uses_tls()) {
      channel_ = grpc::CreateCustomChannel(target(), grpc::InsecureChannelCredentials(), arguments());
      return {};
    }
    watch_.changed();
    auto material = read_tls_files(options_.tls);
    if (!material) return material.error();
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = std::move(material->ca);
    tls.pem_cert_chain = std::move(material->certificate);
    tls.pem_private_key = std::move(material->key);
    channel_ = grpc::CreateCustomChannel(target(), grpc::SslCredentials(tls), arguments());
    return {};
  }

  SendResult send(const std::shared_ptr<const std::string>& request) override {
    if (options_.uses_tls() && watch_.changed()) channel_.reset();
    if (!channel_) {
      if (auto connected = connect(); !connected) {
        return {.verdict = SendResult::Verdict::Retry, .code = "tls", .message = connected.error().message()};
      }
    }
    grpc::Status status;
    grpc::ByteBuffer answer;
    call(request, status, answer);
    SendResult result = status.ok() ? judge_response(text_of(answer))
                                    : judge_grpc(status.error_code(), status.error_message(), status.error_details());
    result.sent_bytes = request->size();
    if (proxy_ && !status.ok()) result.message += ", through " + proxy_->text();
    // A channel that lost its connection waits by itself before it tries again; ours is to decide when.
    if (!status.ok() && channel_->GetState(false) != GRPC_CHANNEL_READY) channel_.reset();
    return result;
  }

  void cancel() override {
    const MutexLock lock(mutex_);
    cancelled_ = true;
    if (running_ != nullptr) running_->TryCancel();
  }

 private:
  std::string target() const { return proxy_ ? "dns:///" + proxy_->authority() : options_.grpc_target(); }

  std::string receiver_authority() const {
    const std::string target = options_.grpc_target();
    return target.substr(target.starts_with("dns:///") ? 7 : target.rfind('/') + 1);
  }

  grpc::ChannelArguments arguments() const {
    grpc::ChannelArguments arguments;
    arguments.SetUserAgentPrefix(std::string(kOtlpUserAgent));
    arguments.SetLoadBalancingPolicyName("round_robin");
    arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // its own reading of the environment knows no ranges of addresses
    if (proxy_) {
      // What gRPC's proxy mapper would set: connected to the proxy, but speaking with the receiver.
      const std::string receiver = receiver_authority();
      arguments.SetString("grpc.http_connect_server", receiver);
      if (!proxy_->authorization.empty()) {
        arguments.SetString("grpc.http_connect_headers", "Proxy-Authorization:" + proxy_->authorization);
      }
      arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, receiver);
    }
    if (options_.keepalive_ns > 0) {
      arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(options_.keepalive_ns / 1'000'000));
      arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
    }
    return arguments;
  }

  void call(const std::shared_ptr<const std::string>& request, grpc::Status& status, grpc::ByteBuffer& answer) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::nanoseconds(options_.timeout_ns));
    for (const auto& [name, value] : options_.headers) context.AddMetadata(name, value);
    if (options_.compression == OtlpCompression::Gzip) context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
    {
      const MutexLock lock(mutex_);
      if (cancelled_) {
        status = grpc::Status(grpc::CANCELLED, "the agent is stopping");
        return;
      }
      running_ = &context;
    }
    grpc::GenericStub stub(channel_);
    grpc::CompletionQueue queue;
    auto rpc = stub.PrepareUnaryCall(&context, method_, shared_buffer(request), &queue);
    rpc->StartCall();
    rpc->Finish(&answer, &status, this);
    void* what = nullptr;
    bool ok = false;
    queue.Next(&what, &ok);
    queue.Shutdown();
    while (queue.Next(&what, &ok)) {
    }
    const MutexLock lock(mutex_);
    running_ = nullptr;
  }

  const OtlpOptions options_;
  const char* const method_;
  const std::optional<Proxy> proxy_;
  TlsFilesWatch watch_;
  std::shared_ptr<grpc::Channel> channel_;
  Mutex mutex_;
  grpc::ClientContext* running_ SONDE_GUARDED_BY(mutex_) = nullptr;
  bool cancelled_ SONDE_GUARDED_BY(mutex_) = false;
};

}  // namespace

Result<std::unique_ptr<OtlpSender>> make_grpc_sender(const OtlpOptions& options, OtlpSignal signal) {
  quiet_grpc();
  auto proxy = proxy_for(options, process_environment());
  if (!proxy) return proxy.error();
  auto sender = std::make_unique<GrpcSender>(options, signal, std::move(*proxy));
  if (auto connected = sender->connect(); !connected) return connected.error();
  return std::unique_ptr<OtlpSender>(std::move(sender));
}

}  // namespace sonde
