// SPDX-License-Identifier: Apache-2.0
// TLS for HttpClient: certificates from files, the peer's name always verified. Internal to agent/api.
#pragma once

#include <sys/types.h>

#include <array>
#include <boost/asio/ssl/context.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "agent/base/result.h"
#include "agent/export/http_transport.h"

namespace sonde {

// Changes whenever one of the files is written, replaced, or its symbolic link turned to another one.
struct TlsStamp {
  struct File {
    dev_t device = 0;
    ino_t inode = 0;
    int64_t modified_ns = 0;
    int64_t size = -1;  // not there
    bool operator==(const File&) const = default;
  };
  std::array<File, 4> files{};
  bool operator==(const TlsStamp&) const = default;
};
TlsStamp stamp_of(const TlsFiles& files);

// TLS 1.2 or newer. Trusts as `files.trust` says; of CAs the given ones only, or the system's if none is given.
Result<std::shared_ptr<boost::asio::ssl::context>> make_tls_context(const TlsFiles& files);

// Before the handshake: SNI, and which name or address the certificate must have.
void expect_peer(SSL* ssl, const std::string& host);

// Why a handshake or a read failed, as part of a sentence: "the certificate is self-signed …".
std::string tls_failure(SSL* ssl, const boost::system::error_code& error, const std::string& host,
                        const TlsFiles& files);

}  // namespace sonde
