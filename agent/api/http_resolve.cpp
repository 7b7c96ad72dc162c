// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_resolve.h"

#include <netdb.h>

#include <atomic>
#include <boost/asio/ip/address.hpp>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>

#include "agent/base/mutex.h"

namespace sonde {
namespace {

using Endpoints = std::vector<boost::asio::ip::tcp::endpoint>;

constexpr int kMaxHanging = 4;
std::atomic<int> hanging{0};

struct Question {
  Mutex mutex;
  Condition answered;
  std::optional<Result<Endpoints>> answer SONDE_GUARDED_BY(mutex);
};

Result<Endpoints> ask(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int failed = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  // A machine with nothing but loopback has no "configured" address.
  if (failed != 0) {
    hints.ai_flags = AI_NUMERICSERV;
    failed = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  }
  if (failed != 0) return Error(::gai_strerror(failed));
  Endpoints out;
  for (addrinfo* entry = found; entry && out.size() < 16; entry = entry->ai_next) {
    if (entry->ai_family != AF_INET && entry->ai_family != AF_INET6) continue;
    boost::asio::ip::tcp::endpoint endpoint;
    endpoint.resize(entry->ai_addrlen);
    std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
    out.push_back(endpoint);
  }
  ::freeaddrinfo(found);
  if (out.empty()) return Error("the name has no address");
  return out;
}

}  // namespace

std::optional<Result<Endpoints>> resolve_until(const std::string& host, const std::string& port,
                                               std::chrono::steady_clock::time_point deadline) {
  boost::system::error_code error;
  auto numeric = boost::asio::ip::make_address(host, error);
  if (!error) return Endpoints{{numeric, static_cast<uint16_t>(std::stoi(port))}};
  if (hanging.fetch_add(1) >= kMaxHanging) {
    hanging.fetch_sub(1);
    return Result<Endpoints>(Error("earlier DNS queries are still pending"));
  }
  auto question = std::make_shared<Question>();
  try {
    std::thread([question, host, port] {
      Result<Endpoints> answer = ask(host, port);
      const MutexLock lock(question->mutex);
      question->answer.emplace(std::move(answer));
      question->answered.notify_all();
      hanging.fetch_sub(1);
    }).detach();
  } catch (const std::system_error&) {
    hanging.fetch_sub(1);
    return Result<Endpoints>(Error("cannot start a thread for the DNS query"));
  }
  const MutexLock lock(question->mutex);
  question->answered.wait_until(question->mutex, deadline,
                                [&]() SONDE_REQUIRES(question->mutex) { return question->answer.has_value(); });
  return std::move(question->answer);
}

}  // namespace sonde
