// SPDX-License-Identifier: Apache-2.0
#include "agent/export/proxy.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "agent/base/host_port.h"
#include "agent/base/loopback.h"
#include "agent/base/percent.h"
#include "agent/base/text.h"

namespace sonde {
namespace {

constexpr std::string_view kSetting = "export.otlp.proxy";

// Nothing that could be a host: an empty one.
HostPort host_and_port(std::string_view text) {
  auto parsed = parse_host_port(text);
  return parsed ? std::move(*parsed) : HostPort{};
}

struct Address {
  std::array<unsigned char, 16> bytes{};
  int bits = 0;  // 32, 128; 0: none
};

Address address_of(std::string_view text) {
  Address out;
  const std::string copy(text);
  if (inet_pton(AF_INET, copy.c_str(), out.bytes.data()) == 1) {
    out.bits = 32;
  } else if (inet_pton(AF_INET6, copy.c_str(), out.bytes.data()) == 1) {
    out.bits = 128;
  }
  return out;
}

bool same_start(const Address& a, const Address& b, int bits) {
  if (a.bits == 0 || a.bits != b.bits) return false;
  const auto whole = static_cast<size_t>(bits / 8);
  if (std::memcmp(a.bytes.data(), b.bytes.data(), whole) != 0) return false;
  const int rest = bits % 8;
  return rest == 0 || (a.bytes[whole] ^ b.bytes[whole]) >> (8 - rest) == 0;
}

// One word of NO_PROXY.
bool excepts(std::string_view word, std::string_view host, std::string_view port) {
  if (word == "*") return true;
  const Address address = address_of(host);
  if (const size_t slash = word.find('/'); slash != std::string_view::npos) {
    const Address net = address_of(word.substr(0, slash));
    const auto bits = parse_integer(word.substr(slash + 1), 0, net.bits);
    return bits && same_start(net, address, static_cast<int>(*bits));
  }
  const HostPort named = host_and_port(word);
  if (named.port && !named.port->empty() && *named.port != port) return false;
  if (const Address net = address_of(named.host); net.bits) return same_start(net, address, net.bits);
  std::string domain = lower(named.host);
  if (domain.starts_with("*.")) domain.erase(0, 1);
  const std::string name = lower(host);
  if (domain.starts_with('.')) return name.ends_with(domain) || name == domain.substr(1);
  return !domain.empty() && (name == domain || name.ends_with("." + domain));
}

struct Found {
  std::string value, name;
};

Found from_environment(const GetEnv& env, const std::vector<std::string_view>& names) {
  for (const std::string_view name : names) {
    for (const std::string& form : {lower(name), std::string(name)}) {
      const auto value = env(form);
      if (value && !trim(*value).empty()) return {std::string(trim(*value)), form};
    }
  }
  return {};
}

bool is_here(std::string_view host, const GetEnv& env) {
  if (is_loopback_host(host)) return true;
  for (const char* name : {"HOST_IP", "NODE_IP"}) {
    const auto value = env(name);
    if (!value) continue;
    const Address mine = address_of(trim(*value)), asked = address_of(host);
    if (mine.bits && same_start(mine, asked, mine.bits)) return true;
  }
  return false;
}

std::string base64(std::string_view text) {
  std::string out(4 * ((text.size() + 2) / 3) + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  out.resize(static_cast<size_t>(size));
  return out;
}

// "user:password" of a URL. Some write it as it is: a % that encodes nothing is one.
std::string credentials(std::string_view text) {
  auto decoded = percent_decoded(text);
  return decoded ? std::move(*decoded) : std::string(text);
}

Result<std::optional<Proxy>> parse(const Found& found) {
  // The value may hold a password: it is never quoted.
  const auto wrong = [&](std::string_view why) {
    return Error(fmt::format("{} {}; write http://proxy:3128, or none in {}", found.name, why, kSetting));
  };
  std::string_view rest = found.value;
  if (const size_t scheme = rest.find("://"); scheme != std::string_view::npos) {
    if (lower(rest.substr(0, scheme)) != "http")
      return wrong("is not an http:// proxy, and no other kind is supported");
    rest.remove_prefix(scheme + 3);
  }
  rest = rest.substr(0, rest.find('/'));
  Proxy proxy{.host = {}, .port = {}, .authorization = {}, .source = found.name};
  if (const size_t at = rest.rfind('@'); at != std::string_view::npos) {
    proxy.authorization = "Basic " + base64(credentials(rest.substr(0, at)));
    rest.remove_prefix(at + 1);
  }
  if (rest.empty()) return wrong("has no host");
  HostPort where = host_and_port(rest);
  proxy.host = std::move(where.host);
  proxy.port = where.port.value_or("80");
  if (proxy.host.empty() || !parse_integer(proxy.port, 1, 65535)) return wrong("has no host or no port");
  return std::optional(std::move(proxy));
}

}  // namespace

std::string Proxy::authority() const { return host_port_text(host, port); }

std::string Proxy::text() const { return fmt::format("the proxy {} (from {})", authority(), source); }

Result<std::optional<Proxy>> proxy_for(std::string_view host, std::string_view port, bool tls, std::string_view setting,
                                       const GetEnv& env) {
  if (setting == "none" || is_here(host, env)) return std::optional<Proxy>();
  if (!setting.empty()) return parse({std::string(setting), std::string(kSetting)});
  const Found found = from_environment(env, {tls ? "HTTPS_PROXY" : "HTTP_PROXY", "ALL_PROXY"});
  if (found.value.empty()) return std::optional<Proxy>();
  for (const std::string& word : split_list(from_environment(env, {"NO_PROXY"}).value)) {
    if (excepts(word, host, port)) return std::optional<Proxy>();
  }
  return parse(found);
}

Result<std::optional<Proxy>> proxy_for(const OtlpOptions& options, const GetEnv& env) {
  const bool grpc = options.protocol == OtlpProtocol::Grpc;
  std::string target = grpc ? options.grpc_target() : options.http_url();
  if (grpc) {
    if (!target.starts_with("dns:")) return std::optional<Proxy>();  // unix:, xds: and others find their own way
    target.erase(0, target.starts_with("dns://") ? std::min(target.find('/', 6), target.size() - 1) + 1 : 4);
  } else {
    target.erase(0, target.find("://") + 3);
    target = target.substr(0, target.find('/'));
  }
  const HostPort where = host_and_port(target);
  return proxy_for(where.host, where.port.value_or(options.uses_tls() ? "443" : "80"), options.uses_tls(),
                   options.proxy, env);
}

}  // namespace sonde
