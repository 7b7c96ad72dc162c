// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/pods_api_source.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "agent/kube/pod_proto.h"

namespace sonde::kube {

PodsApiSource::PodsApiSource(PodsApiSourceOptions options, PodSink& sink)
    : options_(std::move(options)),
      sink_(sink),
      client_(options_.api),
      backoff_({.initial_ns = options_.shortest_wait_ns, .max_ns = options_.longest_wait_ns}) {
  worker_.start([this] { run(); });
}

PodsApiSource::~PodsApiSource() {
  worker_.stop();
  client_.stop();
}

void PodsApiSource::run() {
  for (;;) {
    const Error ended = follow();
    if (worker_.stopping()) return;
    sink_.failed(ended.message());
    if (worked_) backoff_.reset();
    if (worker_.pause(backoff_.next())) return;
  }
}

Error PodsApiSource::follow() {
  worked_ = false;
  struct stat info {};
  if (::stat(options_.api.socket.c_str(), &info) != 0) {
    return Error("there is no socket " + options_.api.socket +
                 " (kubelets have it since 1.36 with the feature gate PodsAPI; "
                 "the agent's pod must mount its directory)");
  }
  return client_.watch([this](PodsApiEvent event, std::string_view bytes) { take(event, bytes); },
                       [this] { sink_.fresh(); });
}

void PodsApiSource::take(PodsApiEvent event, std::string_view bytes) {
  if (event == PodsApiEvent::Listing) {
    listed_.clear();
    synced_ = false;
    return;
  }
  if (event == PodsApiEvent::Synced) {
    std::vector<Pod> pods;
    for (auto& [uid, pod] : listed_) pods.push_back(std::move(pod));
    listed_.clear();
    synced_ = worked_ = true;
    return sink_.all(std::move(pods));
  }
  if (event == PodsApiEvent::Deleted) {
    const std::string uid = uid_of_pod_proto(bytes);
    if (synced_)
      sink_.gone(uid);
    else
      listed_.erase(uid);
    return;
  }
  auto pod = parse_pod_proto(bytes);
  if (!pod || (!synced_ && listed_.size() >= kMostPods)) {
    if (skipped_++ == 0)
      spdlog::warn("a pod from the kubelet's socket is skipped: {}", pod ? "too many" : pod.error().message());
    return;
  }
  if (synced_)
    sink_.one(std::move(*pod));
  else
    listed_[pod->uid] = std::move(*pod);
}

}  // namespace sonde::kube
