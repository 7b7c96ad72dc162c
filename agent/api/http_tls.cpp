// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>

#include "agent/base/file.h"

namespace sonde {
namespace {

namespace ssl = boost::asio::ssl;

TlsStamp::File stamp_of_file(const std::string& path) {
  struct stat info {};
  if (path.empty() || ::stat(path.c_str(), &info) != 0) return {};
  return {info.st_dev, info.st_ino, info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec, info.st_size};
}

bool is_ip_address(const std::string& host) {
  unsigned char buffer[16];
  return inet_pton(AF_INET, host.c_str(), buffer) == 1 || inet_pton(AF_INET6, host.c_str(), buffer) == 1;
}

Result<std::string> read_pem(const std::string& path, const char* what) {
  Result<std::string> content = read_small_file(path);
  if (!content) return content.error().with(std::string("cannot read the ") + what);
  return content;
}

Result<void> add_identity(ssl::context& context, const TlsFiles& files) {
  if (files.certificate.empty() && files.key.empty()) return {};
  if (files.certificate.empty() || files.key.empty())
    return Error("a client certificate needs both files: certificate and key");
  Result<std::string> certificate = read_pem(files.certificate, "client certificate");
  if (!certificate) return certificate.error();
  Result<std::string> key = read_pem(files.key, "client key");
  if (!key) return key.error();
  boost::system::error_code error;
  if (context.use_certificate_chain(boost::asio::buffer(*certificate), error))
    return Error("'" + files.certificate + "' holds no PEM certificate");
  if (context.use_private_key(boost::asio::buffer(*key), ssl::context::pem, error))
    return Error("'" + files.key + "' holds no PEM private key that belongs to '" + files.certificate + "'");
  if (SSL_CTX_check_private_key(context.native_handle()) != 1)
    return Error("the key '" + files.key + "' does not belong to the certificate '" + files.certificate + "'");
  return {};
}

}  // namespace

TlsStamp stamp_of(const TlsFiles& files) {
  return {{stamp_of_file(files.ca), stamp_of_file(files.certificate), stamp_of_file(files.key)}};
}

Result<std::shared_ptr<ssl::context>> make_tls_context(const TlsFiles& files) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  context->set_verify_mode(ssl::verify_peer);
  boost::system::error_code error;
  if (files.ca.empty()) {
    if (context->set_default_verify_paths(error))
      return Error("cannot load the system's CA certificates; install ca-certificates or give a CA file");
  } else {
    Result<std::string> ca = read_pem(files.ca, "CA certificate");
    if (!ca) return ca.error();
    if (context->add_certificate_authority(boost::asio::buffer(*ca), error))
      return Error("'" + files.ca + "' holds no PEM certificate");
  }
  Result<void> identity = add_identity(*context, files);
  if (!identity) return identity.error();
  ERR_clear_error();
  return context;
}

void expect_peer(SSL* handle, const std::string& host) {
  if (is_ip_address(host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(handle), host.c_str());
    return;
  }
  SSL_set_tlsext_host_name(handle, host.c_str());
  SSL_set_hostflags(handle, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  SSL_set1_host(handle, host.c_str());
}

std::string tls_failure(SSL* handle, const boost::system::error_code& error, const std::string& host,
                        const TlsFiles& files) {
  long verified = handle ? SSL_get_verify_result(handle) : X509_V_OK;
  std::string trusted = files.ca.empty() ? "the system's CAs" : "'" + files.ca + "'";
  switch (verified) {
    case X509_V_OK:
      break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "its certificate is not for '" + host + "'; use the name that stands in it";
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "its certificate has expired; renew it or correct this machine's clock";
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "its certificate is not valid yet; correct one of the clocks";
    default:
      return std::string("its certificate is not trusted by ") + trusted + " (" +
             X509_verify_cert_error_string(verified) + "); give the CA file that signed it";
  }
  const char* reason = ERR_reason_error_string(static_cast<unsigned long>(error.value()));
  bool of_openssl = error.category() == boost::asio::error::get_ssl_category();
  std::string text = of_openssl && reason ? reason : error.message();
  if (text.find("certificate required") != std::string::npos || text.find("handshake failure") != std::string::npos)
    return "it wants a client certificate (" + text + "); give certificate and key";
  if (text.find("unknown ca") != std::string::npos || text.find("bad certificate") != std::string::npos)
    return "it does not accept the client certificate (" + text + ")";
  if (text.find("wrong version number") != std::string::npos || text.find("http request") != std::string::npos)
    return "it does not speak TLS; use http:// or the right port";
  return "the handshake failed: " + text;
}

}  // namespace sonde
