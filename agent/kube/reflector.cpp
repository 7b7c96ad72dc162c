// SPDX-License-Identifier: Apache-2.0
#include "agent/kube/reflector.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "agent/base/clock.h"
#include "agent/base/duration.h"
#include "agent/base/json.h"

namespace sonde::kube {
namespace {

using Json = nlohmann::json;

constexpr uint64_t kListTimeout = 60 * kSecond;
constexpr uint64_t kWatchIdle = 150 * kSecond;  // bookmarks come about once a minute
constexpr uint64_t kShortestWatch = 300;        // seconds; as long again at most, so that watches do not end together
constexpr int kGone = 410;

const Json& metadata(const Json& object) { return member(object, "metadata"); }

std::string key_of(const Json& object) {
  const std::string name = text_in(metadata(object), "name");
  return name.empty() ? name : text_in(metadata(object), "namespace") + "/" + name;
}

bool ends_initial_events(const Json& object) {
  return text_in(member(metadata(object), "annotations"), "k8s.io/initial-events-end") == "true";
}

// One line of a watch: {"type": …, "object": …}.
struct Event {
  std::string type;
  Json object;
};

std::optional<Event> parse_event(std::string_view line) {
  Json json = parse_json<Json>(line);
  if (!json.is_object() || !json.contains("object") || !json["object"].is_object()) return {};
  return Event{text_in(json, "type"), std::move(json["object"])};
}

int code_of(const Json& status) {
  const auto code = status.find("code");
  return code != status.end() && code->is_number_integer() ? code->get<int>() : 0;
}

}  // namespace

Reflector::Reflector(ApiClient& client, ReflectorOptions options, ObjectSink& sink)
    : client_(client), options_(std::move(options)), sink_(sink), wait_ns_(options_.shortest_wait_ns) {}

Reflector::~Reflector() = default;

void Reflector::start() {
  worker_.start([this] { run(); });
}

ReflectorStats Reflector::stats() const {
  const MutexLock lock(mutex_);
  return stats_;
}

void Reflector::run() {
  if (options_.first_delay_ns && worker_.pause(chance_.between(0, options_.first_delay_ns))) return;
  Next next = Next::List;
  uint64_t since = boottime_ns();
  while (!client_.stopped()) {
    if (next == Next::List) {
      next = streams_lists_ ? watch(true) : list();
    } else {
      next = watch(false);
    }
    if (next != Next::Wait) continue;
    if (boottime_ns() - since > options_.healthy_after_ns) wait_ns_ = options_.shortest_wait_ns;
    // What the server asks for is the least; with as much again by chance, so that not all come back together.
    const uint64_t least = std::max(wait_ns_, std::min(retry_after_ns_, kMostRetryAfter));
    wait_ns_ = std::min(wait_ns_ * 2, options_.longest_wait_ns);
    if (worker_.pause(chance_.between(least, 2 * least))) return;
    since = boottime_ns();
    next = version_.empty() ? Next::List : Next::Watch;
  }
}

Reflector::Next Reflector::list() {
  const ApiAnswer answer = client_.get(url(latest_ ? "" : "resourceVersion=0"), kListTimeout);
  if (!answer.ok()) return ended(answer, false);
  const Json json = parse_json<Json>(answer.body);
  const auto items = json.is_object() ? json.find("items") : json.end();
  if (!json.is_object() || items == json.end()) return failed({.error = "the API server's answer is not a list"});
  sink_.begin();
  std::size_t listed = 0;
  uint64_t left_out = 0;
  for (const Json& item : items->is_array() ? *items : Json::array()) {
    const std::string key = key_of(item);
    if (key.empty()) continue;
    if (listed++ < options_.most_objects)
      sink_.listed(key, item);
    else
      ++left_out;
  }
  version_ = text_in(metadata(json), "resourceVersion");
  latest_ = false;
  sink_.replace();
  heard();
  const MutexLock lock(mutex_);
  ++stats_.lists;
  stats_.left_out = left_out;
  stats_.synced = true;
  return Next::Watch;
}

Reflector::Next Reflector::watch(bool with_list) {
  std::string query = "watch=1&allowWatchBookmarks=true&timeoutSeconds=" +
                      std::to_string(chance_.between(kShortestWatch, 2 * kShortestWatch));
  query += with_list ? "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan" : "&resourceVersion=" + version_;
  std::size_t listed = 0;
  uint64_t left_out = 0;
  bool listing = with_list;
  if (listing) sink_.begin();
  std::optional<Next> over;
  const auto take = [&](std::string_view line) {
    auto event = parse_event(line);
    if (!event) {
      over = failed({.error = "an event of the watch is not JSON"});
      return false;
    }
    if (event->type == "ERROR") {
      over = ended({.status = code_of(event->object), .error = text_in(event->object, "message")}, listing);
      return false;
    }
    heard();
    const std::string version = text_in(metadata(event->object), "resourceVersion");
    if (event->type == "BOOKMARK") {
      if (listing && ends_initial_events(event->object)) {
        sink_.replace();
        listing = false;
        latest_ = false;
        const MutexLock lock(mutex_);
        ++stats_.lists;
        stats_.left_out = left_out;
        stats_.synced = true;
      }
      if (!listing) version_ = version;
      return true;
    }
    const std::string key = key_of(event->object);
    if (key.empty()) return true;
    if (listing) {
      if (listed++ < options_.most_objects)
        sink_.listed(key, event->object);
      else
        ++left_out;
      return true;
    }
    {
      const MutexLock lock(mutex_);
      ++stats_.events;
    }
    if (event->type == "DELETED")
      sink_.remove(key);
    else
      sink_.put(key, event->object);
    version_ = version;
    return true;
  };
  {
    const MutexLock lock(mutex_);
    ++stats_.watches;
  }
  const ApiAnswer answer = client_.watch(url(query), kWatchIdle, take);
  if (over) return *over;
  return ended(answer, listing);
}

// A watch, or what should have become one. `listing`: its initial events were not complete.
Reflector::Next Reflector::ended(const ApiAnswer& answer, bool listing) {
  if (answer.status == kGone) {
    version_.clear();
    latest_ = true;
    const MutexLock lock(mutex_);
    ++stats_.expired;
    return Next::List;
  }
  // A server that cannot stream lists reports it in many ways (400, 422, or its storage lacks something); a plain list
  // tells whether there is more to it.
  const bool refused = answer.status >= 400 && answer.status != kUnauthorized && answer.status != kNotFound;
  if (listing && streams_lists_ && refused) {
    streams_lists_ = false;
    return Next::List;
  }
  if (answer.status == kNotFound) {  // there is no such kind (yet): its objects are none
    version_.clear();
    sink_.begin();
    sink_.replace();
  }
  if (!answer.error.empty()) return failed(answer);
  return listing ? Next::Wait : Next::Watch;  // the server's timeoutSeconds is over
}

Reflector::Next Reflector::failed(const ApiAnswer& answer) {
  if (client_.stopped()) return Next::Wait;
  retry_after_ns_ = answer.retry_after_ns;
  sink_.failed(answer.error);
  const MutexLock lock(mutex_);
  ++stats_.failures;
  stats_.last_status = answer.status;
  if (stats_.last_error != answer.error) spdlog::warn("{}: {}", options_.path, answer.error);
  stats_.last_error = answer.error;
  return Next::Wait;
}

void Reflector::heard() {
  sink_.heard();
  const MutexLock lock(mutex_);
  if (!stats_.last_error.empty()) spdlog::info("{}: the API server answers again", options_.path);
  stats_.last_error.clear();
  stats_.fresh_ns = boottime_ns();
  retry_after_ns_ = 0;
}

std::string Reflector::url(const std::string& more) const {
  std::string url = options_.path;
  char separator = '?';
  for (const std::string& part : {options_.query, more}) {
    if (!part.empty()) url += std::exchange(separator, '&') + part;
  }
  return url;
}

}  // namespace sonde::kube
