// SPDX-License-Identifier: Apache-2.0
// An environment in which everything is to go through a proxy that is not there.
#pragma once

#include <cstdlib>
#include <string>

namespace sonde::test {

class Proxies {
 public:
  Proxies() {
    for (const char* name : kNames) setenv(name, "http://127.0.0.1:9", 1);
  }
  ~Proxies() {
    for (const char* name : kNames) unsetenv(name);
  }
  Proxies(const Proxies&) = delete;
  Proxies& operator=(const Proxies&) = delete;

 private:
  static constexpr const char* kNames[] = {"http_proxy", "https_proxy", "all_proxy",
                                           "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"};
};

}  // namespace sonde::test
