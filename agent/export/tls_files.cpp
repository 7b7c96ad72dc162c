// SPDX-License-Identifier: Apache-2.0
#include "agent/export/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <spdlog/fmt/fmt.h>

#include <cstdlib>
#include <memory>

#include "agent/base/file.h"

namespace sonde {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Bio reader(const std::string& pem) { return {BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free}; }

Certificate first_certificate(const std::string& pem) {
  return {PEM_read_bio_X509(reader(pem).get(), nullptr, nullptr, nullptr), X509_free};
}

Result<std::string> read_system_ca() {
  if (const char* file = std::getenv("SSL_CERT_FILE"); file != nullptr && *file != '\0') return read_small_file(file);
  for (const char* path : {"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt",
                           "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}) {
    if (auto content = read_small_file(path, 4 << 20)) return content;
  }
  return Error("this system has no CA certificates; set a CA file for the receiver");
}

}  // namespace

Result<TlsMaterial> read_tls_files(const TlsFiles& files) {
  TlsMaterial material;
  auto ca = files.ca.empty() ? read_system_ca() : read_small_file(files.ca, 4 << 20);
  if (!ca) return ca.error();
  material.ca = std::move(*ca);
  if (!first_certificate(material.ca)) {
    ERR_clear_error();
    return Error(fmt::format("{} contains no PEM certificate", files.ca.empty() ? "the system's list" : files.ca));
  }
  if (files.certificate.empty() && files.key.empty()) return material;

  auto certificate = read_small_file(files.certificate);
  if (!certificate) return certificate.error();
  auto key = read_small_file(files.key);
  if (!key) return key.error();
  const Certificate parsed = first_certificate(*certificate);
  const Key parsed_key(PEM_read_bio_PrivateKey(reader(*key).get(), nullptr, nullptr, nullptr), EVP_PKEY_free);
  const bool belong = parsed && parsed_key && X509_check_private_key(parsed.get(), parsed_key.get()) == 1;
  ERR_clear_error();
  if (!parsed) return Error(fmt::format("{} contains no PEM certificate", files.certificate));
  if (!parsed_key) return Error(fmt::format("{} contains no PEM private key without a password", files.key));
  if (!belong)
    return Error(fmt::format("the key in {} does not match the certificate in {}", files.key, files.certificate));
  material.certificate = std::move(*certificate);
  material.key = std::move(*key);
  return material;
}

TlsStamp stamp_of(const TlsFiles& files) {
  TlsStamp stamp;
  std::size_t i = 0;
  for (const std::string* path : {&files.ca, &files.certificate, &files.key, &files.pin}) {
    if (!path->empty()) stamp[i] = stamp_of_file(*path);
    ++i;
  }
  return stamp;
}

}  // namespace sonde
