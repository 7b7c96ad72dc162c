// SPDX-License-Identifier: Apache-2.0
#include "agent/api/http_tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/asio/ssl/verify_context.hpp>
#include <memory>
#include <vector>

#include "agent/base/file.h"
#include "agent/base/host_port.h"

namespace sonde {
namespace {

namespace ssl = boost::asio::ssl;

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
    return Error("'" + files.certificate + "' contains no PEM certificate");
  if (context.use_private_key(boost::asio::buffer(*key), ssl::context::pem, error))
    return Error("'" + files.key + "' contains no PEM private key that matches '" + files.certificate + "'");
  if (SSL_CTX_check_private_key(context.native_handle()) != 1)
    return Error("the key '" + files.key + "' does not belong to the certificate '" + files.certificate + "'");
  return {};
}

struct FreeX509 {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
using Certificates = std::vector<std::unique_ptr<X509, FreeX509>>;

Result<Certificates> read_pins(const std::string& path) {
  Result<std::string> pem = read_pem(path, "pinned certificate");
  if (!pem) return pem.error();
  const std::unique_ptr<BIO, int (*)(BIO*)> in(BIO_new_mem_buf(pem->data(), static_cast<int>(pem->size())), BIO_free);
  Certificates pins;
  while (X509* one = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) pins.emplace_back(one);
  ERR_clear_error();
  if (pins.empty()) return Error("'" + path + "' contains no PEM certificate");
  return pins;
}

Result<void> trust_pins(ssl::context& context, const TlsFiles& files) {
  auto pins = read_pins(files.pin);
  // If there is also a CA, a missing pin is not an error.
  if (!pins && files.trust == TlsTrust::CaOrPin) return {};
  if (!pins) return pins.error();
  auto shared = std::make_shared<Certificates>(std::move(*pins));
  // Called for each certificate of the chain and each thing wrong with it; the peer's own one decides for all.
  context.set_verify_callback([shared, trust = files.trust](bool trusted, ssl::verify_context& at) {
    const X509* peer = X509_STORE_CTX_get0_cert(at.native_handle());
    for (const auto& pin : *shared) {
      if (peer && X509_cmp(peer, pin.get()) == 0) return true;
    }
    if (trust == TlsTrust::CaOrPin) return trusted;
    X509_STORE_CTX_set_error(at.native_handle(), X509_V_ERR_CERT_UNTRUSTED);
    return false;
  });
  return {};
}

Result<void> trust_authority(ssl::context& context, const std::string& file) {
  boost::system::error_code error;
  if (file.empty()) {
    if (context.set_default_verify_paths(error))
      return Error("cannot load the system's CA certificates; install ca-certificates or give a CA file");
    return {};
  }
  Result<std::string> ca = read_pem(file, "CA certificate");
  if (!ca) return ca.error();
  if (context.add_certificate_authority(boost::asio::buffer(*ca), error))
    return Error("'" + file + "' contains no PEM certificate");
  return {};
}

}  // namespace

Result<std::shared_ptr<ssl::context>> make_tls_context(const TlsFiles& files) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  context->set_verify_mode(files.trust == TlsTrust::Anyone ? ssl::verify_none : ssl::verify_peer);
  if (files.trust == TlsTrust::Ca || files.trust == TlsTrust::CaOrPin) {
    if (auto trusted = trust_authority(*context, files.ca); !trusted) return trusted.error();
  }
  if (files.trust == TlsTrust::Pin || files.trust == TlsTrust::CaOrPin) {
    if (auto trusted = trust_pins(*context, files); !trusted) return trusted.error();
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
  if (verified == X509_V_ERR_CERT_UNTRUSTED && files.trust == TlsTrust::Pin)
    return "its certificate is not the one in '" + files.pin + "'; provide its current certificate";
  std::string trusted = files.ca.empty() ? "the system's CAs" : "'" + files.ca + "'";
  switch (verified) {
    case X509_V_OK: break;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return "its certificate is not for '" + host + "'; use the name in the certificate";
    case X509_V_ERR_CERT_HAS_EXPIRED: return "its certificate has expired; renew it or correct this machine's clock";
    case X509_V_ERR_CERT_NOT_YET_VALID: return "its certificate is not valid yet; correct one of the clocks";
    default:
      return std::string("its certificate is not trusted by ") + trusted + " (" +
             X509_verify_cert_error_string(verified) + "); give the CA file that signed it";
  }
  const char* reason = ERR_reason_error_string(static_cast<unsigned long>(error.value()));
  bool of_openssl = error.category() == boost::asio::error::get_ssl_category();
  std::string text = of_openssl && reason ? reason : error.message();
  if (text.find("certificate required") != std::string::npos || text.find("handshake failure") != std::string::npos)
    return "it requires a client certificate (" + text + "); give certificate and key";
  if (text.find("unknown ca") != std::string::npos || text.find("bad certificate") != std::string::npos)
    return "it does not accept the client certificate (" + text + ")";
  if (text.find("wrong version number") != std::string::npos || text.find("http request") != std::string::npos)
    return "it does not speak TLS; use http:// or the right port";
  return "the handshake failed: " + text;
}

}  // namespace sonde
