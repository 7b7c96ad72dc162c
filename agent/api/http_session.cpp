// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_session.h"

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <chrono>
#include <exception>
#include <optional>
#include <utility>

#include "agent/api/http_address.h"
#include "agent/base/host_port.h"
#include "agent/base/percent.h"

namespace sonde {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;

std::string_view view(beast::string_view text) { return {text.data(), text.size()}; }

// Of a path or, with '+' for a blank, of a query. Nothing if it is not percent-encoded or has a null byte.
std::optional<std::string> decoded(std::string_view text, bool of_query) {
  std::string plain(text);
  if (of_query) std::replace(plain.begin(), plain.end(), '+', ' ');
  auto out = percent_decoded(plain);
  if (!out || out->find('\0') != std::string::npos) return {};
  return std::move(*out);
}

WebReply sentence(int status, std::string text) { return {.status = status, .body = std::move(text) + "\n"}; }

}  // namespace

bool parse_target(std::string_view target, WebRequest& out) {
  if (!target.starts_with('/')) return false;
  target = target.substr(0, target.find('#'));
  std::size_t mark = target.find('?');
  auto path = decoded(target.substr(0, mark), false);
  if (!path) return false;
  out.path = std::move(*path);
  if (mark == std::string_view::npos) return true;
  std::string_view query = target.substr(mark + 1);
  while (!query.empty()) {
    std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(pair.size() == query.size() ? query.size() : pair.size() + 1);
    if (pair.empty()) continue;
    std::size_t equals = pair.find('=');
    auto key = decoded(pair.substr(0, equals), true);
    auto value = decoded(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1), true);
    if (!key || !value) return false;
    out.query.emplace_back(std::move(*key), std::move(*value));
  }
  return true;
}

HttpSession::HttpSession(boost::asio::ip::tcp::socket socket, std::shared_ptr<const HttpSessionHost> host,
                         std::function<void(HttpSession*)> on_end)
    : stream_(std::move(socket)), host_(std::move(host)), on_end_(std::move(on_end)) {}

HttpSession::~HttpSession() { on_end_(this); }

void HttpSession::start() {
  boost::asio::dispatch(stream_.get_executor(), [self = shared_from_this()] { self->read(); });
}

void HttpSession::close() {
  boost::asio::dispatch(stream_.get_executor(), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->stream_.close();
  });
}

void HttpSession::read() {
  parser_.emplace();
  parser_->header_limit(static_cast<std::uint32_t>(host_->options.max_header_bytes));
  parser_->body_limit(host_->options.max_body_bytes);
  stream_.expires_after(
      std::chrono::nanoseconds(comes_again_ ? host_->options.idle_timeout_again_ns : host_->options.idle_timeout_ns));
  // Header and body apart: read in one go, Boost 1.74 forgets that Content-Length was over the limit.
  http::async_read_header(stream_, buffer_, *parser_,
                          [self = shared_from_this()](beast::error_code error, std::size_t) {
                            if (error || self->parser_->is_done()) return self->on_read(error);
                            self->read_body();
                          });
}

void HttpSession::read_body() {
  http::async_read(stream_, buffer_, *parser_,
                   [self = shared_from_this()](beast::error_code error, std::size_t) { self->on_read(error); });
}

void HttpSession::on_read(beast::error_code error) {
  if (error == http::error::end_of_stream) return shut();
  if (error == http::error::header_limit)
    return refuse(431, "The request's headers are longer than " + std::to_string(host_->options.max_header_bytes) +
                           " bytes; send fewer or shorter ones.");
  if (error == http::error::body_limit)
    return refuse(413, "The request body is larger than " + std::to_string(host_->options.max_body_bytes) +
                           " bytes; no endpoint here accepts one.");
  if (error.category() == make_error_code(http::error::end_of_stream).category()) {
    // A connection that was closed in the middle of a request gets no answer.
    if (error == http::error::partial_message) {
      host_->failed();
      return;
    }
    return refuse(400, "This is not an HTTP/1.1 request: " + error.message() + ".");
  }
  if (error) {  // timed out, reset, or closed by us
    if (error == beast::error::timeout) host_->failed();
    return;
  }
  Request request = parser_->release();
  bool head = request.method() == http::verb::head;
  bool keep_alive = request.keep_alive();
  write(answer_to(request), request.version(), keep_alive, head);
}

WebReply HttpSession::answer_to(const Request& request) {
  if (request.target().size() > host_->options.max_url_bytes)
    return sentence(414, "The URL is longer than " + std::to_string(host_->options.max_url_bytes) + " bytes.");
  if (request.method() != http::verb::get && request.method() != http::verb::head)
    return sentence(405, "Only GET and HEAD are served here.");
  if (host_->loopback) {
    // A web page whose name was made to point at 127.0.0.1 must not read what other tenants do.
    const auto named = parse_host_port(view(request[http::field::host]));
    if (!named || (!named->host.empty() && !is_ip_address(named->host) && !is_loopback_host(named->host)))
      return sentence(403, "This listener answers on localhost only; use http://localhost or an IP address.");
  }
  WebRequest made;
  made.method = std::string(view(request.method_string()));
  made.accept = std::string(view(request[http::field::accept]));
  made.accept_encoding = std::string(view(request[http::field::accept_encoding]));
  made.user_agent = std::string(view(request[http::field::user_agent]));
  made.scrape_timeout = std::string(view(request["X-Prometheus-Scrape-Timeout-Seconds"]));
  beast::error_code unknown;
  const auto from = stream_.socket().remote_endpoint(unknown);
  if (!unknown) made.peer = from.address().to_string();
  made.connection = weak_from_this();
  if (!parse_target(view(request.target()), made)) return sentence(400, "The URL is malformed.");
  try {
    return host_->answer(made);
  } catch (const std::exception& caught) {
    return sentence(500, std::string("The response could not be generated: ") + caught.what() + ".");
  }
}

void HttpSession::refuse(int status, std::string text) {
  host_->failed();
  write(sentence(status, std::move(text)), 11, false, false);
}

void HttpSession::write(WebReply reply, unsigned version, bool keep_alive, bool head) {
  auto response = std::make_shared<http::response<http::string_body>>();
  response->version(version);
  response->result(static_cast<unsigned>(reply.status));
  response->set(http::field::content_type, reply.content_type);
  if (!reply.content_encoding.empty()) response->set(http::field::content_encoding, reply.content_encoding);
  response->set(http::field::cache_control, "no-store");
  response->set("X-Content-Type-Options", "nosniff");
  if (reply.status == 405) response->set(http::field::allow, "GET, HEAD");
  if (reply.status == 200) response->set(http::field::vary, "Accept, Accept-Encoding");
  response->keep_alive(keep_alive);
  response->content_length(reply.body.size());
  if (!head) response->body() = std::move(reply.body);
  comes_again_ = reply.comes_again && keep_alive;
  stream_.expires_after(std::chrono::nanoseconds(host_->options.idle_timeout_ns));
  http::async_write(stream_, *response,
                    [self = shared_from_this(), response, keep_alive, on_sent = std::move(reply.on_sent)](
                        beast::error_code error, std::size_t) {
                      if (error) return self->host_->failed();
                      if (on_sent) on_sent();
                      if (keep_alive)
                        self->read();
                      else
                        self->shut();
                    });
}

void HttpSession::shut() {
  beast::error_code ignored;
  stream_.socket().shutdown(boost::asio::ip::tcp::socket::shutdown_send, ignored);
}

}  // namespace sonde
