// SPDX-License-Identifier: Apache-2.0
// TLS and mTLS against real gRPC servers, with certificates made on the spot.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "agent/export/otlp_exporter.h"
#include "agent/export/tls_files.h"
#include "tests/unit/export/otlp_certificates.h"
#include "tests/unit/export/otlp_server.h"

namespace sonde {
namespace {

using namespace test;  // NOLINT
namespace fs = std::filesystem;

constexpr uint64_t kMs = 1'000'000;
constexpr uint64_t kSecondNs = 1'000'000'000;

class OtlpTls : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "sonde-tls-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    write("ca.pem", authority_.certificate());
  }
  void TearDown() override { fs::remove_all(directory_); }

  std::string write(const std::string& name, const std::string& content) {
    // As a mounted secret does it: a new file takes the place of the old one.
    std::ofstream(directory_ / "new") << content;
    fs::rename(directory_ / "new", directory_ / name);
    return path(name);
  }
  std::string path(const std::string& name) const { return directory_ / name; }

  // `client_ca`: clients must show a certificate of this authority.
  static std::shared_ptr<grpc::ServerCredentials> credentials(const Pem& pem, const std::string& client_ca = "") {
    grpc::SslServerCredentialsOptions options(client_ca.empty()
                                                  ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                                                  : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.pem_root_certs = client_ca;
    options.pem_key_cert_pairs.push_back({pem.key, pem.certificate});
    return grpc::SslServerCredentials(options);
  }

  OtlpOptions options(const OtlpServer& server) const {
    OtlpOptions options;
    options.endpoint = server.url("https");
    options.tls.ca = path("ca.pem");
    options.retry = {.initial_ns = 20 * kMs, .max_ns = 50 * kMs};
    options.timeout_ns = 3 * kSecondNs;
    return options;
  }
  static std::unique_ptr<Exporter> make(OtlpOptions options) {
    auto made = make_otlp_exporter(std::move(options));
    if (!made) throw std::runtime_error(made.error().message());
    return std::move(*made);
  }
  // Nothing gets through, and the reason is told as one of TLS.
  static void expect_refused(Exporter& exporter, const OtlpServer& server, const std::string& code = "tls") {
    exporter.push(many_sums(1, 1));
    EXPECT_TRUE(eventually([&] { return exporter.stats().retries >= 2; }));
    EXPECT_TRUE(server.received().empty());
    auto stats = exporter.stats();
    EXPECT_GE(stats.failures[code], 1U) << stats.last_error;
    EXPECT_EQ(stats.points_dropped, 0U);  // a certificate can be mended
    EXPECT_EQ(stats.queued_batches, 1U);
  }

  Authority authority_{"Sonde test authority"};
  fs::path directory_;
};

TEST_F(OtlpTls, TheRightAuthorityIsTrusted) {
  OtlpServer server({}, credentials(authority_.issue("collector")));
  auto exporter = make(options(server));
  EXPECT_EQ(exporter->destination(), server.url("https") + " (grpc, TLS)");
  exporter->push(many_sums(1, 1));
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 1U);
}

TEST_F(OtlpTls, AnotherAuthorityIsNot) {
  OtlpServer server({}, credentials(Authority("Another").issue("collector")));
  auto exporter = make(options(server));
  expect_refused(*exporter, server);
}

TEST_F(OtlpTls, AnExpiredCertificateIsRefused) {
  OtlpServer server({}, credentials(authority_.issue("collector", -60)));
  auto exporter = make(options(server));
  expect_refused(*exporter, server);
}

TEST_F(OtlpTls, PlainTextAtATlsPortAndTlsAtAPlainPortFail) {
  OtlpServer plain;
  auto with_tls = make(options(plain));
  expect_refused(*with_tls, plain);
  OtlpServer secure({}, credentials(authority_.issue("collector")));
  auto without = options(secure);
  without.endpoint = secure.url("http");
  auto exporter = make(without);
  exporter->push(many_sums(1, 1));
  EXPECT_TRUE(eventually([&] { return exporter->stats().retries >= 1; }));
  EXPECT_TRUE(secure.received().empty());
}

TEST_F(OtlpTls, MutualTlsNeedsTheClientsCertificate) {
  OtlpServer server({}, credentials(authority_.issue("collector"), authority_.certificate()));
  const Pem client = authority_.issue("sonde");
  auto with = options(server);
  with.tls.certificate = write("client.pem", client.certificate);
  with.tls.key = write("client.key", client.key);
  auto exporter = make(with);
  exporter->push(many_sums(1, 1));
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 1U);

  auto without = make(options(server));
  without->push(many_sums(1, 1));
  EXPECT_TRUE(eventually([&] { return without->stats().retries >= 2; }));
  EXPECT_EQ(server.received().size(), 1U);
}

TEST_F(OtlpTls, AReplacedAuthorityIsReadWithoutARestart) {
  Authority next("The next authority");
  OtlpServer server({}, credentials(next.issue("collector")));
  auto exporter = make(options(server));
  expect_refused(*exporter, server);
  write("ca.pem", next.certificate());
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 1U);
  EXPECT_EQ(exporter->stats().last_error, "");
}

TEST_F(OtlpTls, AReplacedClientCertificateIsUsedAndAHalfWrittenOneWaits) {
  OtlpServer server({}, credentials(authority_.issue("collector"), authority_.certificate()));
  const Pem stranger = Authority("Another").issue("sonde");
  auto with = options(server);
  with.tls.certificate = write("client.pem", stranger.certificate);
  with.tls.key = write("client.key", stranger.key);
  auto exporter = make(with);
  exporter->push(many_sums(1, 1));
  EXPECT_TRUE(eventually([&] { return exporter->stats().retries >= 2; }));
  EXPECT_TRUE(server.received().empty());

  const Pem client = authority_.issue("sonde");
  write("client.pem", client.certificate);  // its key is not there yet
  EXPECT_TRUE(eventually([&] {
    return exporter->stats().last_error.find("does not match the certificate in") != std::string::npos;
  })) << exporter->stats().last_error;
  write("client.key", client.key);
  exporter->flush(10 * kSecondNs);
  EXPECT_EQ(server.accepted().size(), 1U);
}

TEST_F(OtlpTls, FilesAreCheckedAtTheStart) {
  OtlpServer server;
  const auto error_with = [&](auto change) {
    OtlpOptions changed = options(server);
    change(changed.tls);
    auto made = make_otlp_exporter(changed);
    return made ? "no error" : made.error().message();
  };
  const Pem one = authority_.issue("one"), two = authority_.issue("two");
  write("one.pem", one.certificate);
  write("two.key", two.key);
  write("text.pem", "not a certificate");
  EXPECT_NE(error_with([&](TlsFiles& f) { f.ca = path("missing.pem"); }).find("missing.pem"), std::string::npos);
  EXPECT_EQ(error_with([&](TlsFiles& f) { f.ca = path("text.pem"); }),
            "OTLP over gRPC: " + path("text.pem") + " contains no PEM certificate");
  EXPECT_EQ(error_with([&](TlsFiles& f) { f.certificate = path("one.pem"), f.key = path("two.key"); }),
            "OTLP over gRPC: the key in " + path("two.key") + " does not match the certificate in " + path("one.pem"));
  EXPECT_EQ(error_with([&](TlsFiles& f) { f.certificate = path("one.pem"), f.key = path("one.pem"); }),
            "OTLP over gRPC: " + path("one.pem") + " contains no PEM private key without a password");
}

}  // namespace
}  // namespace sonde
