// SPDX-License-Identifier: Apache-2.0
// Through which HTTP proxy a receiver is reached, for gRPC and HTTP alike: what the setting says, else what the environment
// does. What is on this machine is always reached directly, whatever they say.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "agent/base/result.h"
#include "agent/export/otlp_options.h"

namespace sonde {

struct Proxy {
  std::string host;  // without brackets
  std::string port;
  std::string authorization;  // value of Proxy-Authorization; may be empty
  std::string source;         // export.otlp.proxy or the variable's name
  std::string authority() const;
  std::string text() const;  // "the proxy proxy.corp:3128 (from HTTPS_PROXY)": never what is in `authorization`
};

// Nothing: directly. `setting` is a URL, none, or empty: HTTPS_PROXY (with `tls`) or HTTP_PROXY, then ALL_PROXY, each in
// small letters first, unless NO_PROXY names the host: by name, domain, address, range (CIDR) or *, each with or without a
// port. Never for loopback, for what HOST_IP and NODE_IP say, for sockets of the file system.
Result<std::optional<Proxy>> proxy_for(std::string_view host, std::string_view port, bool tls, std::string_view setting,
                                       const GetEnv& env);

// The same for where `options` send.
Result<std::optional<Proxy>> proxy_for(const OtlpOptions& options, const GetEnv& env);

}  // namespace sonde
