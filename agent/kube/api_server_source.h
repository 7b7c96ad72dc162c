// SPDX-License-Identifier: Apache-2.0
// The pods from the API server, those of this node only. Runs on many of today's clusters; asks more of the API server and
// of RBAC than the kubelet does, so it is the last choice.
#pragma once

#include <map>
#include <string>

#include "agent/kube/api_client.h"
#include "agent/kube/pod_source.h"
#include "agent/kube/reflector.h"

namespace sonde::kube {

class ApiServerSource final : public PodSource {
 public:
  ApiServerSource(ApiOptions api, const std::string& node_name, PodSink& sink);
  ~ApiServerSource() override;

 private:
  class Objects final : public ObjectSink {
   public:
    explicit Objects(PodSink& sink) : sink_(sink) {}
    void begin() override { listing_.clear(); }
    void listed(const std::string& key, const nlohmann::json& object) override;
    void replace() override;
    void put(const std::string& key, const nlohmann::json& object) override;
    void remove(const std::string& key) override;
    void heard() override { sink_.fresh(); }
    void failed(const std::string& reason) override { sink_.failed(reason); }

   private:
    PodSink& sink_;
    std::map<std::string, Pod> listing_;       // by key
    std::map<std::string, std::string> uids_;  // likewise
  };

  ApiClient client_;
  Objects objects_;
  Reflector reflector_;
};

}  // namespace sonde::kube
