// SPDX-License-Identifier: Apache-2.0
// One connection of HttpClient, used step by step from one thread, every step with the deadline of the request.
// Internal to agent/api.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl/ssl_stream.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "agent/api/http_tls.h"
#include "agent/base/result.h"
#include "agent/export/http_transport.h"

namespace sonde {

struct HttpUrl {
  bool tls = false;
  std::string host;  // without brackets
  std::string port;
  std::string target;  // path and query
  std::string host_header() const;
  std::string authority() const;  // host:port, for messages and as a key
};
// The error says how to write it.
Result<HttpUrl> parse_http_url(std::string_view text);

class HttpConnection {
 public:
  using Deadline = std::chrono::steady_clock::time_point;
  using Message = boost::beast::http::request<boost::beast::http::string_body>;
  using Parser = boost::beast::http::response_parser<boost::beast::http::string_body>;

  // `context` is null for plain HTTP. With `via` the first step is to the proxy; over it, TLS is agreed on with the peer.
  HttpConnection(boost::asio::io_context& loop, HttpUrl url, HttpVia via, TlsFiles files,
                 std::shared_ptr<boost::asio::ssl::context> context);

  // Each fills failure and error if it fails; the connection is then of no more use.
  bool open(Deadline deadline, HttpResponse& out);
  bool exchange(Message& message, std::size_t max_response, Deadline deadline, HttpResponse& out);

  bool reusable() const;  // the peer has neither closed it nor said anything unasked

 private:
  using TlsStream = boost::beast::ssl_stream<boost::beast::tcp_stream>;
  using Error = boost::system::error_code;

  template <typename Start>
  Error step(Deadline deadline, Start start);
  template <typename Use>
  auto with_stream(Use use);
  boost::beast::tcp_stream& tcp();
  const boost::beast::tcp_stream& tcp() const;
  bool tunnel(Deadline deadline, HttpResponse& out);
  std::string nearest() const;  // host:port that the connection goes to
  void fail(const char* doing, const Error& error, HttpResponse& out);
  void take(Parser& parser, HttpResponse& out);

  boost::asio::io_context& loop_;
  const HttpUrl url_;
  const HttpVia via_;
  const TlsFiles files_;
  const std::shared_ptr<boost::asio::ssl::context> context_;
  std::unique_ptr<boost::beast::tcp_stream> plain_;
  std::unique_ptr<TlsStream> tls_;
  boost::beast::flat_buffer buffer_;
  bool keep_ = false;
};

}  // namespace sonde
