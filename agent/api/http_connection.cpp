// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_connection.h"

#include <sys/socket.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/error.hpp>
#include <cerrno>
#include <utility>

#include "agent/api/http_resolve.h"
#include "agent/base/host_port.h"
#include "agent/base/text.h"

namespace sonde {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;

namespace {

constexpr uint32_t kMaxHeader = 64 * 1024;

}  // namespace

std::string HttpUrl::authority() const { return host_port_text(host, port); }

std::string HttpUrl::host_header() const { return port == (tls ? "443" : "80") ? bracketed(host) : authority(); }

Result<HttpUrl> parse_http_url(std::string_view text) {
  auto wrong = [&](const std::string& why) {
    return Error("'" + std::string(text) + "' is not a URL: " + why + "; write for example http://127.0.0.1:4318/path");
  };
  HttpUrl out;
  std::string_view rest = text;
  if (rest.starts_with("https://"))
    out.tls = true;
  else if (!rest.starts_with("http://"))
    return wrong("it begins with neither http:// nor https://");
  rest.remove_prefix(out.tls ? 8 : 7);
  for (char c : rest)
    if (static_cast<unsigned char>(c) <= ' ' || c == 0x7f)
      return wrong("it contains whitespace or a control character");
  std::size_t end = rest.find_first_of("/?#");
  std::string_view authority = rest.substr(0, end);
  std::string_view target = end == std::string_view::npos ? std::string_view() : rest.substr(end);
  target = target.substr(0, target.find('#'));
  if (authority.find('@') != std::string_view::npos) return wrong("a user name in it is not supported, use a header");

  auto parsed = parse_host_port(authority);
  if (!parsed) return wrong(parsed.error().message());
  if (parsed->bare_ipv6) return wrong("an IPv6 address must be in brackets");
  if (parsed->host.empty()) return wrong("the host is missing");
  out.host = std::move(parsed->host);
  if (const std::string port = parsed->port.value_or(""); port.empty()) {
    out.port = out.tls ? "443" : "80";
  } else {
    Result<int64_t> number = parse_integer(port, 1, 65535);
    if (!number) return wrong("the port must be a number from 1 to 65535");
    out.port = std::to_string(*number);
  }
  out.target = target.empty() ? "/" : target.starts_with('/') ? std::string(target) : "/" + std::string(target);
  return out;
}

HttpConnection::HttpConnection(asio::io_context& loop, HttpUrl url, HttpVia via, TlsFiles files,
                               std::shared_ptr<asio::ssl::context> context)
    : loop_(loop), url_(std::move(url)), via_(std::move(via)), files_(std::move(files)), context_(std::move(context)) {
  if (context_)
    tls_ = std::make_unique<TlsStream>(loop_, *context_);
  else
    plain_ = std::make_unique<beast::tcp_stream>(loop_);
}

beast::tcp_stream& HttpConnection::tcp() { return tls_ ? tls_->next_layer() : *plain_; }
const beast::tcp_stream& HttpConnection::tcp() const { return tls_ ? tls_->next_layer() : *plain_; }

// Starts one asynchronous operation and runs the loop until it is done or the time is over.
template <typename Start>
HttpConnection::Error HttpConnection::step(Deadline deadline, Start start) {
  Error result;
  bool done = false;
  loop_.restart();
  start([&](const Error& error, const auto&...) {
    result = error;
    done = true;
  });
  while (!done && loop_.run_one_until(deadline) > 0) {
  }
  if (done) return result;
  tcp().close();  // the operation ends with an error now, and with it what it refers to
  while (!done && loop_.run_one() > 0) {
  }
  return asio::error::timed_out;
}

template <typename Use>
auto HttpConnection::with_stream(Use use) {
  return tls_ ? use(*tls_) : use(*plain_);
}

void HttpConnection::fail(const char* doing, const Error& error, HttpResponse& out) {
  const std::string at = url_.authority();
  SSL* handle = tls_ ? tls_->native_handle() : nullptr;
  bool of_tls = error.category() == asio::error::get_ssl_category() ||
                error.category() == asio::ssl::error::get_stream_category();
  if (error == asio::error::timed_out || error == beast::error::timeout) {
    out.failure = HttpFailure::Timeout;
    out.error = std::string("no answer in time from ") + at + " while " + doing;
  } else if (error == http::error::body_limit || error == http::error::header_limit) {
    out.failure = HttpFailure::Other;
    out.error = "the answer of " + at + " is too large";
  } else if (of_tls && error != asio::ssl::error::stream_truncated) {
    out.failure = HttpFailure::Tls;
    out.error = "no secure connection with " + at + ": " + tls_failure(handle, error, url_.host, files_);
  } else if (error == http::error::end_of_stream || error == asio::error::eof ||
             error == http::error::partial_message || error == asio::ssl::error::stream_truncated ||
             error == asio::error::connection_reset || error == asio::error::broken_pipe) {
    out.failure = HttpFailure::Other;
    out.error = at + " closed the connection while " + doing;
  } else if (error.category() == make_error_code(http::error::end_of_stream).category()) {
    out.failure = HttpFailure::Other;
    out.error = at + " does not speak HTTP/1.1: " + error.message();
  } else {
    out.failure = HttpFailure::Other;
    out.error = "the connection with " + at + " failed while " + doing + ": " + error.message();
  }
}

std::string HttpConnection::nearest() const {
  return via_.host.empty() ? url_.authority() : host_port_text(via_.host, via_.port);
}

// Asks the proxy for a way to the peer; what comes after its answer is the peer's.
bool HttpConnection::tunnel(Deadline deadline, HttpResponse& out) {
  http::request<http::empty_body> ask(http::verb::connect, url_.authority(), 11);
  ask.set(http::field::host, url_.authority());
  if (!via_.authorization.empty()) ask.set(http::field::proxy_authorization, via_.authorization);
  Error error = step(deadline, [&](auto done) { http::async_write(tcp(), ask, std::move(done)); });
  http::response_parser<http::empty_body> answer;
  answer.header_limit(kMaxHeader);
  answer.skip(true);
  if (!error) {
    error = step(deadline, [&](auto done) { http::async_read_header(tcp(), buffer_, answer, std::move(done)); });
  }
  if (error) {
    fail("asking the proxy", error, out);
    return false;
  }
  if (answer.get().result_int() / 100 == 2 && buffer_.size() == 0) return true;
  out.failure = HttpFailure::Connect;
  out.error = "the proxy " + nearest() + " answered " + std::to_string(answer.get().result_int()) + " when asked for " +
              url_.authority();
  return false;
}

bool HttpConnection::open(Deadline deadline, HttpResponse& out) {
  const std::string& host = via_.host.empty() ? url_.host : via_.host;
  auto resolved = resolve_until(host, via_.host.empty() ? url_.port : via_.port, deadline);
  if (!resolved) {
    out.failure = HttpFailure::Timeout;
    out.error = "the name '" + host + "' was not resolved in time; check the machine's DNS";
    return false;
  }
  if (!*resolved) {
    out.failure = HttpFailure::Connect;
    out.error = "the name '" + host + "' cannot be resolved: " + resolved->error().message();
    return false;
  }
  Error error = step(deadline, [&](auto done) { tcp().async_connect(**resolved, std::move(done)); });
  if (error == asio::error::timed_out) {
    out.failure = HttpFailure::Timeout;
    out.error = "no connection with " + nearest() + " in time; check the address and firewalls";
    return false;
  }
  if (error) {
    out.failure = HttpFailure::Connect;
    out.error = error == asio::error::connection_refused ? "nothing listens on " + nearest() + " (connection refused)"
                                                         : "no connection with " + nearest() + ": " + error.message();
    return false;
  }
  Error ignored;
  tcp().socket().set_option(asio::ip::tcp::no_delay(true), ignored);
  if (!tls_) return true;
  if (!via_.host.empty() && !tunnel(deadline, out)) return false;
  expect_peer(tls_->native_handle(), url_.host);
  error = step(deadline, [&](auto done) { tls_->async_handshake(asio::ssl::stream_base::client, std::move(done)); });
  if (!error) return true;
  fail("negotiating TLS", error, out);
  // A peer that talks something else, or hangs up in the middle of it, is a matter of TLS too.
  if (out.failure == HttpFailure::Other) {
    out.failure = HttpFailure::Tls;
    out.error += "; does it speak TLS?";
  }
  return false;
}

bool HttpConnection::exchange(Message& message, std::size_t max_response, Deadline deadline, HttpResponse& out) {
  Error error = with_stream([&](auto& stream) {
    return step(deadline, [&](auto done) { http::async_write(stream, message, std::move(done)); });
  });
  // A server that refuses early (413, wrong client certificate) has answered before it closed: look for it.
  bool refused_early = error == asio::error::broken_pipe || error == asio::error::connection_reset;
  if (error && !refused_early) {
    fail("sending", error, out);
    return false;
  }
  for (int interim = 0; interim < 8; interim++) {
    Parser parser;
    parser.header_limit(kMaxHeader);
    parser.body_limit(max_response);
    // Header and body apart: read in one go, Boost 1.74 forgets that Content-Length was over the limit.
    error = with_stream([&](auto& stream) {
      return step(deadline, [&](auto done) { http::async_read_header(stream, buffer_, parser, std::move(done)); });
    });
    if (!error && !parser.is_done()) {
      error = with_stream([&](auto& stream) {
        return step(deadline, [&](auto done) { http::async_read(stream, buffer_, parser, std::move(done)); });
      });
    }
    if (error) {
      fail("waiting for the answer", error, out);
      return false;
    }
    if (parser.get().result_int() / 100 == 1) continue;  // 100 Continue, 103 Early Hints
    keep_ = parser.keep_alive() && !refused_early;
    take(parser, out);
    return true;
  }
  out.failure = HttpFailure::Other;
  out.error = url_.authority() + " sends only interim answers";
  return false;
}

void HttpConnection::take(Parser& parser, HttpResponse& out) {
  auto response = parser.release();
  out.status = static_cast<int>(response.result_int());
  for (const auto& field : response)
    out.headers.emplace_back(lower({field.name_string().data(), field.name_string().size()}),
                             std::string(field.value().data(), field.value().size()));
  out.body = std::move(response.body());
}

bool HttpConnection::reusable() const {
  if (!keep_ || buffer_.size() != 0) return false;
  char byte;
  int fd = const_cast<beast::tcp_stream&>(tcp()).socket().native_handle();
  return ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

}  // namespace sonde
