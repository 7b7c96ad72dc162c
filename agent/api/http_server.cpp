// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_server.h"

#include <pplx/threadpool.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <chrono>
#include <map>
#include <set>

#include "agent/api/http_address.h"
#include "agent/api/http_pool.h"
#include "agent/api/http_session.h"
#include "agent/base/mutex.h"

namespace sonde {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

bool WebRequest::has(std::string_view key) const {
  return std::any_of(query.begin(), query.end(), [&](const auto& pair) { return pair.first == key; });
}

std::string_view WebRequest::get(std::string_view key) const {
  for (const auto& [name, value] : query)
    if (name == key) return value;
  return {};
}

namespace {

asio::io_context& pool() {
  limit_http_pool();
  return crossplat::threadpool::shared_instance().service();
}

}  // namespace

class HttpServer::Impl : public std::enable_shared_from_this<Impl> {
 public:
  explicit Impl(HttpServerOptions given)
      : options(std::move(given)), strand_(asio::make_strand(pool())), acceptor_(strand_), pause_(strand_) {}

  Result<void> start();
  void stop(std::chrono::nanoseconds timeout);
  std::string address() const;
  HttpServerStats stats() const { return {requests_.load(), refused_.load(), failed_.load()}; }

  const HttpServerOptions options;
  std::map<std::string, WebHandler> routes;
  std::atomic<uint16_t> port{0};

 private:
  Result<tcp::endpoint> endpoint();
  boost::system::error_code open(const tcp::endpoint& at);
  void accept();
  void on_accept(boost::system::error_code error, tcp::socket socket);
  void refuse(tcp::socket socket);
  WebReply answer(const WebRequest& request);

  asio::strand<asio::io_context::executor_type> strand_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  ListenAddress address_;
  std::shared_ptr<const HttpSessionHost> host_;
  std::atomic<uint64_t> requests_{0}, refused_{0}, failed_{0};

  Mutex mutex_;
  Condition changed_;
  std::set<HttpSession*> sessions_ SONDE_GUARDED_BY(mutex_);
  std::size_t answering_ SONDE_GUARDED_BY(mutex_) = 0;
  bool stopping_ SONDE_GUARDED_BY(mutex_) = false;
  bool closed_ SONDE_GUARDED_BY(mutex_) = false;  // nobody can connect any more
};

Result<tcp::endpoint> HttpServer::Impl::endpoint() {
  Result<ListenAddress> parsed = parse_listen_address(options.address);
  if (!parsed) return parsed.error().with("cannot open the " + options.purpose + " listener");
  address_ = *parsed;
  boost::system::error_code error;
  if (address_.host.empty()) return tcp::endpoint(asio::ip::address_v6::any(), address_.port);
  asio::ip::address numeric = asio::ip::make_address(address_.host, error);
  if (!error) return tcp::endpoint(numeric, address_.port);
  tcp::resolver resolver(pool());
  auto found = resolver.resolve(address_.host, std::to_string(address_.port), tcp::resolver::passive, error);
  if (error || found.empty())
    return Error("Cannot open the " + options.purpose + " listener: the name '" + address_.host +
                 "' has no address; write an IP address, for example 127.0.0.1");
  return found.begin()->endpoint();
}

boost::system::error_code HttpServer::Impl::open(const tcp::endpoint& at) {
  boost::system::error_code error, ignored;
  acceptor_.close(ignored);
  if (acceptor_.open(at.protocol(), error)) return error;
  if (acceptor_.set_option(tcp::acceptor::reuse_address(true), error)) return error;
  // [::] takes IPv4 too; one address stays itself.
  if (at.address().is_v6() && acceptor_.set_option(asio::ip::v6_only(!at.address().is_unspecified()), error))
    return error;
  if (acceptor_.bind(at, error)) return error;
  acceptor_.listen(128, error);
  return error;
}

Result<void> HttpServer::Impl::start() {
  Result<tcp::endpoint> at = endpoint();
  if (!at) return at.error();
  boost::system::error_code error = open(*at);
  bool no_ipv6 = error == asio::error::address_family_not_supported || error.value() == EADDRNOTAVAIL;
  if (no_ipv6 && at->address().is_v6() && at->address().is_unspecified()) {
    address_.host = "0.0.0.0";
    error = open(tcp::endpoint(asio::ip::address_v4::any(), at->port()));
  }
  if (error) {
    boost::system::error_code ignored;
    acceptor_.close(ignored);
    return listen_error("the " + options.purpose + " listener", address_, error.value());
  }
  tcp::endpoint bound = acceptor_.local_endpoint(error);
  port = bound.port();

  auto host = std::make_shared<HttpSessionHost>();
  host->options = options;
  host->loopback = bound.address().is_loopback();
  // Sessions may outlive stop() by a moment; they hold this object only weakly.
  std::weak_ptr<Impl> weak = weak_from_this();
  host->answer = [weak](const WebRequest& request) {
    std::shared_ptr<Impl> self = weak.lock();
    if (!self) return WebReply{.status = 503, .body = "The agent is stopping.\n"};
    return self->answer(request);
  };
  host->failed = [weak] {
    if (std::shared_ptr<Impl> self = weak.lock()) self->failed_++;
  };
  host_ = std::move(host);
  asio::post(strand_, [self = shared_from_this()] { self->accept(); });
  return {};
}

void HttpServer::Impl::accept() {
  if (!acceptor_.is_open()) return;
  acceptor_.async_accept(asio::make_strand(pool()), [self = shared_from_this()](auto error, tcp::socket socket) {
    self->on_accept(error, std::move(socket));
  });
}

void HttpServer::Impl::on_accept(boost::system::error_code error, tcp::socket socket) {
  if (error == asio::error::operation_aborted || !acceptor_.is_open()) return;
  if (error) {
    // Out of descriptors or memory: trying again at once would only burn CPU.
    failed_++;
    pause_.expires_after(std::chrono::milliseconds(100));
    pause_.async_wait([self = shared_from_this()](auto) { self->accept(); });
    return;
  }
  std::shared_ptr<HttpSession> session;
  {
    const MutexLock lock(mutex_);
    if (!stopping_ && sessions_.size() < options.max_connections) {
      std::weak_ptr<Impl> weak = weak_from_this();
      session = std::make_shared<HttpSession>(std::move(socket), host_, [weak](HttpSession* ended) {
        std::shared_ptr<Impl> self = weak.lock();
        if (!self) return;
        const MutexLock inner(self->mutex_);
        self->sessions_.erase(ended);
        self->changed_.notify_all();
      });
      sessions_.insert(session.get());
    }
  }
  if (session)
    session->start();
  else
    refuse(std::move(socket));
  accept();
}

void HttpServer::Impl::refuse(tcp::socket socket) {
  refused_++;
  boost::system::error_code ignored;
  socket.non_blocking(true, ignored);
  static constexpr std::string_view kBusy =
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 44\r\nConnection: close\r\n\r\n"
      "Too many connections are open; try later on\n";
  socket.write_some(asio::buffer(kBusy.data(), kBusy.size()), ignored);
  socket.shutdown(tcp::socket::shutdown_send, ignored);
}

WebReply HttpServer::Impl::answer(const WebRequest& request) {
  {
    const MutexLock lock(mutex_);
    if (stopping_) return {.status = 503, .body = "The agent is stopping.\n"};
    answering_++;
  }
  struct Leave {
    Impl* self;
    ~Leave() {
      const MutexLock lock(self->mutex_);
      self->answering_--;
      self->changed_.notify_all();
    }
  } leave{this};
  requests_++;

  auto found = routes.find(request.path);
  for (std::size_t slash = request.path.rfind('/'); found == routes.end() && slash != std::string::npos && slash > 0;
       slash = request.path.rfind('/', slash - 1))
    found = routes.find(request.path.substr(0, slash + 1));
  if (found != routes.end()) return found->second(request);
  std::string paths;
  for (const auto& [path, handler] : routes)
    if (path.size() == 1 || !path.ends_with('/')) paths += (paths.empty() ? "" : ", ") + path;
  return {.status = 404, .body = "There is nothing at this path. Available: " + paths + "\n"};
}

void HttpServer::Impl::stop(std::chrono::nanoseconds timeout) {
  auto deadline = std::chrono::steady_clock::now() + timeout;
  asio::post(strand_, [self = shared_from_this()] {
    boost::system::error_code ignored;
    self->acceptor_.close(ignored);
    self->pause_.cancel();
    const MutexLock lock(self->mutex_);
    self->closed_ = true;
    self->changed_.notify_all();
  });
  std::vector<std::shared_ptr<HttpSession>> open;
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.wait_until(mutex_, deadline, [this]() SONDE_REQUIRES(mutex_) { return answering_ == 0; });
  for (HttpSession* session : sessions_)
    if (auto held = session->weak_from_this().lock()) open.push_back(std::move(held));
  lock.unlock();
  for (const auto& session : open) session->close();
  open.clear();
  lock.lock();
  changed_.wait_until(mutex_, std::max(deadline, std::chrono::steady_clock::now() + std::chrono::milliseconds(200)),
                      [this]() SONDE_REQUIRES(mutex_) { return closed_ && sessions_.empty(); });
}

std::string HttpServer::Impl::address() const {
  ListenAddress shown = address_;
  shown.port = port;
  return "http://" + shown.text();
}

HttpServer::HttpServer(HttpServerOptions options) : impl_(std::make_shared<Impl>(std::move(options))) {}

HttpServer::~HttpServer() { stop(); }

void HttpServer::route(std::string path, WebHandler handler) {
  impl_->routes.emplace(std::move(path), std::move(handler));
}

Result<void> HttpServer::start() { return impl_->start(); }

void HttpServer::stop(uint64_t timeout_ns) { impl_->stop(std::chrono::nanoseconds(timeout_ns)); }

uint16_t HttpServer::port() const { return impl_->port; }

std::string HttpServer::address() const { return impl_->address(); }

HttpServerStats HttpServer::stats() const { return impl_->stats(); }

}  // namespace sonde
