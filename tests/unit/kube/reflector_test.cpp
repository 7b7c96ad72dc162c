// SPDX-License-Identifier: Apache-2.0
// Against a server that answers as told, for what a real API server says only on a bad day; tests/e2e has the real one.
#include "agent/kube/reflector.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <nlohmann/json.hpp>
#include <vector>

#include "agent/base/fd.h"
#include "agent/base/json.h"
#include "tests/support/loopback.h"

namespace sonde::kube {
namespace {

// One answer per connection, in order; the last one again and again.
class Server {
 public:
  explicit Server(std::vector<std::string> answers) : answers_(std::move(answers)) {
    thread_ = std::thread([this] { serve(); });
  }
  ~Server() {
    stop_ = true;
    shutdown(listener_.fd.get(), SHUT_RDWR);
    thread_.join();
  }
  std::string url() const { return listener_.url(); }
  std::vector<std::string> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  void serve() {
    for (std::size_t n = 0; !stop_;) {
      const Fd peer(accept4(listener_.fd.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!peer) continue;
      std::string request(8192, '\0');
      const ssize_t got = recv(peer.get(), request.data(), request.size(), 0);
      if (got <= 0) continue;
      {
        const std::lock_guard lock(mutex_);
        requests_.push_back(request.substr(4, request.find(" HTTP") - 4));
      }
      const std::string& answer = answers_[std::min(n++, answers_.size() - 1)];
      EXPECT_EQ(send(peer.get(), answer.data(), answer.size(), MSG_NOSIGNAL), static_cast<ssize_t>(answer.size()));
    }
  }

  std::vector<std::string> answers_;
  std::vector<std::string> requests_;
  mutable std::mutex mutex_;
  std::atomic<bool> stop_{false};
  const test::Listener listener_ = test::listen_on_loopback();
  std::thread thread_;
};

std::string answer(const std::string& status, const std::string& body, const std::string& header = "") {
  return "HTTP/1.1 " + status + "\r\nContent-Type: application/json\r\nConnection: close\r\n" + header +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

std::string object(const std::string& name, int version) {
  return R"({"metadata":{"name":")" + name + R"(","namespace":"n","resourceVersion":")" + std::to_string(version) +
         R"("}})";
}
std::string event(const std::string& type, const std::string& what) {
  return R"({"type":")" + type + R"(","object":)" + what + "}\n";
}
std::string list(int version, const std::string& items) {
  return R"({"kind":"List","metadata":{"resourceVersion":")" + std::to_string(version) + R"("},"items":[)" + items +
         "]}";
}
const std::string kEndOfList =
    R"({"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}})"
    "\n";
const std::string kNoStreams =
    answer("400 Bad Request", R"({"kind":"Status","message":"sendInitialEvents is forbidden"})");

class Seen : public ObjectSink {
 public:
  void begin() override { listing.clear(); }
  void listed(const std::string& key, const nlohmann::json& object) override { listing[key] = json_text(object); }
  void replace() override {
    const std::lock_guard lock(mutex);
    all = std::exchange(listing, {});
    ++lists;
  }
  void put(const std::string& key, const nlohmann::json& object) override {
    const std::lock_guard lock(mutex);
    all[key] = json_text(object);
  }
  void remove(const std::string& key) override {
    const std::lock_guard lock(mutex);
    all.erase(key);
  }
  std::string keys() const {
    const std::lock_guard lock(mutex);
    std::string keys;
    for (const auto& [key, value] : all) keys += key + " ";
    return keys;
  }
  mutable std::mutex mutex;
  std::map<std::string, std::string> all, listing;
  std::atomic<int> lists{0};
};

bool eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 1000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

struct Followed {
  explicit Followed(std::vector<std::string> answers)
      : server(std::move(answers)),
        client({.url = server.url()}),
        reflector(client,
                  {.path = "/api/v1/pods",
                   .query = "fieldSelector=x",
                   .shortest_wait_ns = 1'000'000,
                   .longest_wait_ns = 5'000'000,
                   .most_objects = 3},
                  seen) {
    reflector.start();
  }
  ~Followed() { client.stop(); }
  Server server;
  Seen seen;
  ApiClient client;
  Reflector reflector;
};

TEST(Reflector, ListsByAWatchAndGoesOn) {
  Followed run({answer("200 OK", event("ADDED", object("a", 1)) + event("ADDED", object("b", 2)) + kEndOfList +
                                     event("ADDED", object("c", 8)) + event("DELETED", object("a", 9)) +
                                     event("BOOKMARK", object("", 12))),
                answer("200 OK", event("MODIFIED", object("d", 13)))});
  EXPECT_TRUE(eventually([&] { return run.seen.keys() == "n/b n/c n/d "; })) << run.seen.keys();
  const auto requests = run.server.requests();
  ASSERT_GE(requests.size(), 2u);
  EXPECT_NE(requests[0].find("fieldSelector=x&watch=1"), std::string::npos) << requests[0];
  EXPECT_NE(requests[0].find("sendInitialEvents=true"), std::string::npos);
  EXPECT_NE(requests[1].find("resourceVersion=12"), std::string::npos) << requests[1];
  EXPECT_EQ(run.seen.lists, 1);
}

TEST(Reflector, ListsPlainlyWhereTheServerDoesNotStream) {
  Followed run(
      {kNoStreams, answer("200 OK", list(5, object("a", 1))), answer("200 OK", event("ADDED", object("b", 6)))});
  EXPECT_TRUE(eventually([&] { return run.seen.keys() == "n/a n/b "; })) << run.seen.keys();
  const auto requests = run.server.requests();
  EXPECT_EQ(requests[1], "/api/v1/pods?fieldSelector=x&resourceVersion=0");
  EXPECT_NE(requests[2].find("resourceVersion=5"), std::string::npos);
}

TEST(Reflector, GoneInBothFormsIsANewList) {
  Followed run(
      {kNoStreams, answer("200 OK", list(5, object("a", 1))),
       answer("200 OK", event("ERROR", R"({"kind":"Status","code":410,"reason":"Expired","message":"too old"})")),
       answer("200 OK", list(20, object("b", 2))), answer("410 Gone", R"({"kind":"Status","code":410})"),
       answer("200 OK", list(30, object("c", 3))), answer("200 OK", "")});
  EXPECT_TRUE(eventually([&] { return run.seen.keys() == "n/c "; })) << run.seen.keys();
  const auto requests = run.server.requests();
  ASSERT_GE(requests.size(), 6u);
  EXPECT_EQ(requests[3], "/api/v1/pods?fieldSelector=x");  // not from a cache that may be as old
  EXPECT_EQ(requests[5], "/api/v1/pods?fieldSelector=x");
  EXPECT_GE(run.reflector.stats().expired, 2u);
}

TEST(Reflector, KeepsWhatItHasWhileTheServerFails) {
  Followed run({kNoStreams, answer("200 OK", list(5, object("a", 1))), answer("500 Oops", "no json"),
                answer("429 Too Many Requests", R"({"message":"slow down"})", "Retry-After: 0\r\n"),
                answer("200 OK", "garbage\n"), answer("401 Unauthorized", R"({"message":"Unauthorized"})"),
                answer("200 OK", event("ADDED", object("b", 6)))});
  EXPECT_TRUE(eventually([&] { return run.seen.keys() == "n/a n/b "; })) << run.seen.keys();
  EXPECT_EQ(run.seen.lists, 1);
  EXPECT_GE(run.reflector.stats().failures, 4u);
  EXPECT_EQ(run.reflector.stats().last_error, "");
}

TEST(Reflector, AKindThatIsNotThereHasNoObjects) {
  Followed run({answer("404 Not Found", R"({"message":"the server could not find the requested resource"})")});
  EXPECT_TRUE(eventually([&] { return run.seen.lists > 0 && run.reflector.stats().last_status == 404; }));
  EXPECT_EQ(run.seen.keys(), "");
}

TEST(Reflector, MoreObjectsThanThereMayBeAreCounted) {
  std::string items = object("a", 1);
  for (const char* name : {"b", "c", "d", "e"}) items += "," + object(name, 1);
  Followed run({kNoStreams, answer("200 OK", list(5, items)), answer("200 OK", "")});
  EXPECT_TRUE(eventually([&] { return run.reflector.stats().synced; }));
  EXPECT_EQ(run.seen.keys(), "n/a n/b n/c ");
  EXPECT_EQ(run.reflector.stats().left_out, 2u);
}

TEST(Reflector, StopsAtOnceWhileItWaits) {
  const auto begin = std::chrono::steady_clock::now();
  {
    Followed run({answer("503 Unavailable", "{}", "Retry-After: 300\r\n")});
    EXPECT_TRUE(eventually([&] { return run.reflector.stats().failures > 0; }));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

TEST(ApiClient, InAPodOrNot) {
  std::map<std::string, std::string> env;
  const auto get = [&](const std::string& name) { return env[name]; };
  EXPECT_EQ(in_cluster(get).url, "");
  env = {{"KUBERNETES_SERVICE_HOST", "10.0.0.1"}, {"KUBERNETES_SERVICE_PORT", "6443"}};
  EXPECT_EQ(in_cluster(get, "/s").url, "https://10.0.0.1:6443");
  EXPECT_EQ(in_cluster(get, "/s").token_file, "/s/token");
  env["KUBERNETES_SERVICE_HOST"] = "fd00::1";
  EXPECT_EQ(in_cluster(get).url, "https://kubernetes.default.svc:6443");
}

TEST(ApiClient, SaysWhyThereWasNoAnswer) {
  ApiClient nobody({.url = "http://127.0.0.1:1"});
  EXPECT_NE(nobody.get("/version", 1'000'000'000).error, "");
  ApiClient no_token({.url = "http://127.0.0.1:1", .token_file = "/nowhere/token"});
  EXPECT_NE(no_token.get("/version", 1'000'000'000).error.find("/nowhere/token"), std::string::npos);
}

}  // namespace
}  // namespace sonde::kube
