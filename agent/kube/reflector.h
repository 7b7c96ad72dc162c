// SPDX-License-Identifier: Apache-2.0
// Keeps a copy of a list of objects of the API server: list, then watch from there on, as
// https://kubernetes.io/docs/reference/using-api/api-concepts/ says. By a streamed list (WatchList) where the server has it.
// Bookmarks move the place to go on from; 410 (as an answer, or as an event) means a new list; other failures wait, each
// time longer.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "agent/base/backoff.h"
#include "agent/base/mutex.h"
#include "agent/base/worker.h"
#include "agent/kube/api_client.h"

namespace sonde::kube {

// Takes objects by "namespace/name", parsed; it keeps what it needs of them. Called on the reflector's thread.
class ObjectSink {
 public:
  virtual ~ObjectSink() = default;
  // A list: begin(), listed() for each of its objects, and replace() once it is complete: these are all there are. A list
  // that is interrupted ends with the next begin().
  virtual void begin() = 0;
  virtual void listed(const std::string& key, const nlohmann::json& object) = 0;
  virtual void replace() = 0;
  // One object was added or changed; one was deleted.
  virtual void put(const std::string& key, const nlohmann::json& object) = 0;
  virtual void remove(const std::string& key) = 0;
  virtual void heard() {}                                           // the server said something
  virtual void failed(const std::string& reason) { (void)reason; }  // and why it did not
};

struct ReflectorOptions {
  std::string path;             // /apis/sonde.dev/v1alpha1/monitorpolicies
  std::string query;            // fieldSelector=spec.nodeName%3Dn1; without ? and &
  uint64_t first_delay_ns = 0;  // spread over so much at the start: agents that start together must not list together
  uint64_t shortest_wait_ns = 800'000'000;
  uint64_t longest_wait_ns = 30'000'000'000;
  uint64_t healthy_after_ns = 120'000'000'000;  // then the delays start over
  std::size_t most_objects = 10'000;
};

struct ReflectorStats {
  uint64_t lists = 0;
  uint64_t watches = 0;
  uint64_t events = 0;
  uint64_t failures = 0;
  uint64_t expired = 0;    // 410
  uint64_t left_out = 0;   // objects beyond most_objects
  uint64_t fresh_ns = 0;   // CLOCK_BOOTTIME of the last word from the server; 0: never
  bool synced = false;     // a whole list was seen
  int last_status = 0;     // of the last failure
  std::string last_error;  // empty while all is well
};

class Reflector {
 public:
  Reflector(ApiClient& client, ReflectorOptions options, ObjectSink& sink);
  ~Reflector();  // stop() the client before, or this waits for it

  void start();
  ReflectorStats stats() const;

 private:
  enum class Next : uint8_t { Watch, List, Wait };
  void run();
  Next list();
  Next watch(bool with_list);
  Next ended(const ApiAnswer& answer, bool with_list);
  Next failed(const ApiAnswer& answer);
  void heard();
  std::string url(const std::string& more) const;

  ApiClient& client_;
  ReflectorOptions options_;
  ObjectSink& sink_;
  std::string version_;        // resourceVersion to go on from
  bool streams_lists_ = true;  // until the server says that it does not
  bool latest_ = false;        // the next list must not come from a cache that may be old: after 410
  uint64_t wait_ns_ = 0;
  uint64_t retry_after_ns_ = 0;
  Chance chance_;
  mutable Mutex mutex_;
  ReflectorStats stats_ SONDE_GUARDED_BY(mutex_);
  Worker worker_;
};

}  // namespace sonde::kube
