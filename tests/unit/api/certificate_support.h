// SPDX-License-Identifier: Apache-2.0
// A certificate authority for one test: real keys and certificates, in PEM files of a temporary directory.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

namespace sonde::api_test {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string made = (std::filesystem::temp_directory_path() / "sonde_api_XXXXXX").string();
    path_ = ::mkdtemp(made.data());
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

struct Identity {
  std::string certificate;  // path
  std::string key;          // path
};

class TestCa {
 public:
  explicit TestCa(const TemporaryDirectory& directory, const std::string& name = "ca") : directory_(directory) {
    key_ = EVP_EC_gen("P-256");
    certificate_ = sign(key_, name, "", 86400, nullptr);
    write(certificate_, key_, name);
    path = directory.file(name + ".crt");
  }
  ~TestCa() {
    X509_free(certificate_);
    EVP_PKEY_free(key_);
  }
  TestCa(const TestCa&) = delete;
  TestCa& operator=(const TestCa&) = delete;

  // `names`: subject alternative names as OpenSSL writes them: "DNS:localhost,IP:127.0.0.1".
  Identity issue(const std::string& file, const std::string& names, long valid_seconds = 86400) {
    EVP_PKEY* key = EVP_EC_gen("P-256");
    X509* made = sign(key, file, names, valid_seconds, certificate_);
    write(made, key, file);
    X509_free(made);
    EVP_PKEY_free(key);
    return {directory_.file(file + ".crt"), directory_.file(file + ".key")};
  }

  std::string path;

 private:
  X509* sign(EVP_PKEY* key, const std::string& name, const std::string& names, long valid_seconds, X509* issuer) {
    X509* made = X509_new();
    X509_set_version(made, 2);
    static long serial = 1;
    ASN1_INTEGER_set(X509_get_serialNumber(made), serial++);
    X509_gmtime_adj(X509_getm_notBefore(made), -200'000);
    X509_gmtime_adj(X509_getm_notAfter(made), valid_seconds);
    X509_set_pubkey(made, key);
    X509_NAME* subject = X509_get_subject_name(made);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(name.c_str()), -1,
                               -1, 0);
    X509_set_issuer_name(made, issuer ? X509_get_subject_name(issuer) : subject);
    extend(made, issuer ? issuer : made, NID_basic_constraints, issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    if (!names.empty()) extend(made, issuer, NID_subject_alt_name, names.c_str());
    X509_sign(made, key_, EVP_sha256());
    return made;
  }

  static void extend(X509* made, X509* issuer, int nid, const char* value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, made, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    ASSERT_NE(extension, nullptr);
    X509_add_ext(made, extension, -1);
    X509_EXTENSION_free(extension);
  }

  // Beside it and renamed, as a secret that is rotated.
  void write(X509* certificate, EVP_PKEY* key, const std::string& name) {
    std::string certificate_file = directory_.file(name + ".crt"), key_file = directory_.file(name + ".key");
    FILE* out = std::fopen((certificate_file + "~").c_str(), "w");
    PEM_write_X509(out, certificate);
    std::fclose(out);
    out = std::fopen((key_file + "~").c_str(), "w");
    PEM_write_PrivateKey(out, key, nullptr, nullptr, 0, nullptr, nullptr);
    std::fclose(out);
    std::filesystem::rename(certificate_file + "~", certificate_file);
    std::filesystem::rename(key_file + "~", key_file);
  }

  const TemporaryDirectory& directory_;
  EVP_PKEY* key_ = nullptr;
  X509* certificate_ = nullptr;
};

}  // namespace sonde::api_test
