// SPDX-License-Identifier: Apache-2.0
// One connection of HttpServer: reads a request, has it answered, writes, and again while the peer keeps it open. Runs
// on a strand, so that nothing here needs a lock. Internal to agent/api.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http.hpp>
#include <functional>
#include <memory>
#include <optional>

#include "agent/api/http_server.h"

namespace sonde {

// What a connection needs of its server.
struct HttpSessionHost {
  HttpServerOptions options;
  bool loopback = false;  // bound to it: names other than addresses and localhost are refused (DNS rebinding)
  std::function<WebReply(const WebRequest&)> answer;
  std::function<void()> failed;  // counts
};

class HttpSession : public std::enable_shared_from_this<HttpSession> {
 public:
  // `on_end` is called once, when the connection is gone.
  HttpSession(boost::asio::ip::tcp::socket socket, std::shared_ptr<const HttpSessionHost> host,
              std::function<void(HttpSession*)> on_end);
  ~HttpSession();

  void start();
  void close();  // from any thread

 private:
  using Request = boost::beast::http::request<boost::beast::http::string_body>;

  void read();
  void read_body();
  void on_read(boost::beast::error_code error);
  WebReply answer_to(const Request& request);
  void write(WebReply reply, unsigned version, bool keep_alive, bool head);
  void refuse(int status, std::string sentence);
  void shut();

  boost::beast::tcp_stream stream_;
  const std::shared_ptr<const HttpSessionHost> host_;
  const std::function<void(HttpSession*)> on_end_;
  bool comes_again_ = false;  // the peer may wait for longer before its next request
  boost::beast::flat_buffer buffer_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
};

// Splits and decodes a request target: "/a%20b?x=1&y". False if it is malformed.
bool parse_target(std::string_view target, WebRequest& out);

}  // namespace sonde
