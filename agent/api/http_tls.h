// SPDX-License-Identifier: Apache-2.0
// TLS for HttpClient: certificates from files, the peer's name always verified. Internal to agent/api.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "agent/base/result.h"
#include "agent/export/tls_files.h"

namespace sonde {

// TLS 1.2 or newer. Trusts as `files.trust` says; of CAs the given ones only, or the system's if none is given.
Result<std::shared_ptr<boost::asio::ssl::context>> make_tls_context(const TlsFiles& files);

// Before the handshake: SNI, and which name or address the certificate must have.
void expect_peer(SSL* ssl, const std::string& host);

// Why a handshake or a read failed, as part of a sentence: "the certificate is self-signed …".
std::string tls_failure(SSL* ssl, const boost::system::error_code& error, const std::string& host,
                        const TlsFiles& files);

}  // namespace sonde
