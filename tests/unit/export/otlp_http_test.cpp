// SPDX-License-Identifier: Apache-2.0
// OTLP over HTTP as far as this layer goes: what is handed to the HTTP port and what is made of its answers.
#include <gtest/gtest.h>
#include <zlib.h>

#include <functional>
#include <mutex>

#include "agent/export/otlp_exporter.h"
#include "tests/unit/export/otlp_server.h"

namespace sonde {
namespace {

using namespace test;  // NOLINT

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kSecondNs = 1'000'000'000;

class Port final : public HttpTransport {
 public:
  using Answer = std::function<HttpResponse(size_t n, const HttpRequest&)>;
  explicit Port(Answer answer) : answer_(std::move(answer)) {}
  HttpResponse post(const HttpRequest& request) override {
    std::lock_guard lock(mutex_);
    requests.push_back(request);
    times.push_back(std::chrono::steady_clock::now());
    return answer_(requests.size() - 1, request);
  }
  std::vector<HttpRequest> requests;
  std::vector<std::chrono::steady_clock::time_point> times;

 private:
  Answer answer_;
  std::mutex mutex_;
};

std::string header(const HttpRequest& request, const std::string& name) {
  for (const auto& [key, value] : request.headers) {
    if (key == name) return value;
  }
  return "";
}

std::string unzipped(const std::string& bytes) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  std::string out(8 << 20, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  inflateEnd(&stream);
  return out;
}

OtlpOptions http_options() {
  OtlpOptions options;
  options.endpoint = "http://collector:4318";
  options.protocol = OtlpProtocol::HttpProtobuf;
  options.retry = {.initial_ns = 20 * kMs, .max_ns = 50 * kMs};
  return options;
}

std::unique_ptr<Exporter> make(const OtlpOptions& options, std::shared_ptr<Port> port) {
  auto made = make_otlp_exporter(options, std::move(port));
  if (!made) throw std::runtime_error(made.error().message());
  return std::move(*made);
}

TEST(OtlpHttp, PostsProtobufWithGzip) {
  auto port = std::make_shared<Port>([](size_t, const HttpRequest&) { return HttpResponse{.status = 200}; });
  auto options = http_options();
  options.compression = OtlpCompression::Gzip;
  options.headers = {{"authorization", "Bearer x"}};
  options.tls.ca = "/some/ca.pem";
  auto exporter = make(options, port);
  EXPECT_EQ(exporter->destination(), "http://collector:4318/v1/metrics (http/protobuf)");
  exporter->push(many_sums(3, 100));
  exporter->flush(10 * kSecondNs);
  ASSERT_EQ(port->requests.size(), 1U);
  const HttpRequest& request = port->requests[0];
  EXPECT_EQ(request.url, "http://collector:4318/v1/metrics");
  EXPECT_EQ(header(request, "content-type"), "application/x-protobuf");
  EXPECT_EQ(header(request, "content-encoding"), "gzip");
  EXPECT_EQ(header(request, "authorization"), "Bearer x");
  EXPECT_EQ(header(request, "user-agent").rfind("Sonde/", 0), 0U);
  EXPECT_EQ(request.tls.ca, "/some/ca.pem");
  EXPECT_EQ(request.timeout_ns, 10 * kSecondNs);
  EXPECT_EQ(number_points(parsed(unzipped(request.body))).size(), 300U);
  EXPECT_EQ(exporter->stats().bytes_sent, request.body.size());
}

TEST(OtlpHttp, WithoutCompressionTheBodyIsTheRequest) {
  auto port = std::make_shared<Port>([](size_t, const HttpRequest&) { return HttpResponse{.status = 200}; });
  auto exporter = make(http_options(), port);
  exporter->push(many_sums(1, 2));
  exporter->flush(10 * kSecondNs);
  ASSERT_EQ(port->requests.size(), 1U);
  EXPECT_EQ(header(port->requests[0], "content-encoding"), "");
  EXPECT_EQ(number_points(parsed(port->requests[0].body)).size(), 2U);
}

TEST(OtlpHttp, RetriesBrokenConnectionsAndBusyReceiversThenDelivers) {
  auto port = std::make_shared<Port>([](size_t n, const HttpRequest&) -> HttpResponse {
    switch (n) {
      case 0: return {.failure = HttpFailure::Connect, .error = "connection refused"};
      case 1: return {.failure = HttpFailure::Timeout, .error = "timeout"};
      case 2: return {.status = 429, .headers = {{"retry-after", "1"}}};
      case 3: return {.status = 503};
      default: return {.status = 200};
    }
  });
  auto exporter = make(http_options(), port);
  exporter->push(many_sums(1, 1));
  exporter->flush(20 * kSecondNs);
  ASSERT_EQ(port->requests.size(), 5U);
  EXPECT_GE(port->times[3] - port->times[2], std::chrono::milliseconds(999));
  auto stats = exporter->stats();
  EXPECT_EQ(stats.points_sent, 1U);
  EXPECT_EQ(stats.retries, 4U);
  EXPECT_EQ(stats.failures,
            (std::map<std::string, uint64_t>{{"connect", 1}, {"http_429", 1}, {"http_503", 1}, {"timeout", 1}}));
}

TEST(OtlpHttp, OtherStatusesAreFinal) {
  for (int status : {301, 400, 401, 403, 404, 500, 501}) {
    auto port = std::make_shared<Port>(
        [&](size_t, const HttpRequest&) { return HttpResponse{.status = status, .body = "no"}; });
    auto exporter = make(http_options(), port);
    exporter->push(many_sums(1, 3));
    exporter->flush(10 * kSecondNs);
    EXPECT_EQ(port->requests.size(), 1U) << status;
    EXPECT_EQ(exporter->stats().points_dropped, 3U);
    EXPECT_EQ(exporter->stats().last_error, "the receiver answered HTTP " + std::to_string(status) + ": no");
  }
}

TEST(OtlpHttp, A413IsSplit) {
  std::vector<std::string> accepted;
  auto port = std::make_shared<Port>([&](size_t, const HttpRequest& request) -> HttpResponse {
    if (request.body.size() > 2'000) return {.status = 413};
    for (auto& point : number_points(parsed(request.body))) accepted.push_back(point);
    return {.status = 200};
  });
  auto exporter = make(http_options(), port);
  exporter->push(many_sums(4, 50));
  exporter->flush(20 * kSecondNs);
  EXPECT_EQ(accepted.size(), 200U);
  EXPECT_EQ(exporter->stats().points_sent, 200U);
  EXPECT_EQ(exporter->stats().retries, 0U);
}

}  // namespace
}  // namespace sonde
