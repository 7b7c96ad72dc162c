// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/kubelet_source.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include "agent/base/file.h"
#include "agent/base/host_port.h"
#include "agent/base/text.h"

namespace sonde::kube {
namespace {

constexpr std::string_view kPort = "10250";
constexpr std::size_t kMostToken = 64 << 10;
constexpr double kJitter = 0.1;  // nodes that began together must not go on together

bool is_there(const std::string& file) { return !file.empty() && access(file.c_str(), R_OK) == 0; }

// What there is to verify the kubelet by.
Result<TlsFiles> tls_of(const KubeletOptions& options) {
  TlsFiles files;
  const bool any = options.tls == KubeletTls::Auto;
  if (options.tls == KubeletTls::Insecure) {
    files.trust = TlsTrust::Anyone;
    return files;
  }
  const bool ca = options.tls == KubeletTls::Ca || (any && is_there(options.ca_file));
  const bool pin = options.tls == KubeletTls::Pin || (any && is_there(options.pin_file));
  if (!ca && !pin) {
    return Error(
        "there is no way to verify the kubelet: set kubelet.caFile (the CA of its serving certificate) or "
        "kubelet.pinFile (the certificate itself)");
  }
  if (ca) files.ca = options.ca_file;
  if (pin) files.pin = options.pin_file;
  files.trust = ca && pin ? TlsTrust::CaOrPin : ca ? TlsTrust::Ca : TlsTrust::Pin;
  return files;
}

}  // namespace

std::string kubelet_url(const std::string& address) {
  const auto parsed = parse_host_port(address);  // a bare IPv6 address is how the downward API gives status.hostIP
  if (!parsed || parsed->host.empty()) return {};
  const std::string port = parsed->port.value_or(std::string(kPort));
  if (!parse_integer(port, 1, 65535)) return {};
  return "https://" + host_port_text(parsed->host, port);
}

KubeletSource::KubeletSource(KubeletOptions options, PodSink& sink)
    : options_(std::move(options)),
      sink_(sink),
      backoff_({.initial_ns = options_.shortest_gap_ns, .max_ns = options_.longest_wait_ns, .jitter = kJitter}),
      thread_([this] { run(); }) {}

KubeletSource::~KubeletSource() {
  {
    const MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void KubeletSource::hurry() {
  {
    const MutexLock lock(mutex_);
    hurried_ = true;
  }
  wake_.notify_all();
}

void KubeletSource::run() {
  using std::chrono::nanoseconds;
  for (;;) {
    auto asked = ask();
    const bool ok = static_cast<bool>(asked);
    if (!ok) {
      last_answer_ = 0;  // what comes next is told whole
      sink_.failed(asked.error().message());
    }
    MutexLock lock(mutex_);
    hurried_ = false;
    if (ok) backoff_.reset();
    // Never closer than this, whoever hurries.
    if (wake_.wait_for(mutex_, nanoseconds(ok ? chance_.around(options_.shortest_gap_ns, kJitter) : backoff_.next()),
                       [this]() SONDE_REQUIRES(mutex_) { return stopping_; }))
      return;
    if (!ok) continue;
    lock.unlock();
    const bool again = options_.looks_for_some();
    lock.lock();
    if (again) continue;
    const uint64_t rest = std::max(options_.period_ns, options_.shortest_gap_ns) - options_.shortest_gap_ns;
    wake_.wait_for(mutex_, nanoseconds(chance_.around(rest, kJitter)),
                   [this]() SONDE_REQUIRES(mutex_) { return stopping_ || hurried_; });
    if (stopping_) return;
  }
}

bool KubeletSource::sends_token() const {
  return !options_.token_file.empty() && (options_.tls != KubeletTls::Insecure || options_.send_token_unverified);
}

Result<HttpRequest> KubeletSource::request() const {
  HttpRequest request;
  request.url = options_.url + "/pods";
  request.timeout_ns = options_.timeout_ns;
  request.headers = {{"Accept", "application/json"}};
  auto tls = tls_of(options_);
  if (!tls) return tls.error();
  request.tls = std::move(*tls);
  if (sends_token()) {
    auto token = read_small_file(options_.token_file, kMostToken);
    if (!token) return token.error().with("cannot read the token for the kubelet");
    request.headers.emplace_back("Authorization", "Bearer " + std::string(trim(*token)));
  }
  return request;
}

std::string KubeletSource::refusal(const HttpResponse& response) const {
  switch (response.status) {
    case 401:
      if (sends_token())
        return "the kubelet does not accept the token (401): does it have authentication.webhook enabled?";
      return "the kubelet requires a token (401), and none was sent because kubelet.tls is insecure: set "
             "kubelet.caFile or kubelet.pinFile, or kubelet.sendTokenUnverified";
    case 403:
      return "the kubelet forbids it (403): grant `get` of nodes/pods (kubelets before 1.33 only support "
             "nodes/proxy, which the agent does not use: use apiServer there)";
    default: return "the kubelet answered " + std::to_string(response.status);
  }
}

Result<void> KubeletSource::ask() {
  const auto wanted = request();
  if (!wanted) return wanted.error();
  const HttpResponse response = client_.get(*wanted);
  if (response.failure != HttpFailure::None) return Error(response.error);
  if (response.status != 200) return Error(refusal(response));
  // A quiet node answers with the same bytes each time: reading them again is most of what this costs.
  const uint64_t answer = std::hash<std::string>()(response.body);
  if (last_answer_ != 0 && answer == last_answer_) {
    sink_.fresh();
    return {};
  }
  auto list = parse_pod_list(response.body);
  if (!list) return list.error().with("the kubelet's answer makes no sense");
  last_answer_ = answer;
  sink_.all(std::move(list->pods));
  return {};
}

}  // namespace sonde::kube
