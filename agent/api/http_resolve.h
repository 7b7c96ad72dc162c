// SPDX-License-Identifier: Apache-2.0
// getaddrinfo(3) knows no timeout. This asks it in a thread of its own and stops waiting when the time is over.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "agent/base/result.h"

namespace sonde {

// Nothing: not answered in time. An error: the name does not exist or the resolver failed. IP addresses need no thread.
// At most 4 questions hang at once in the whole process; more fail at once.
std::optional<Result<std::vector<boost::asio::ip::tcp::endpoint>>> resolve_until(
    const std::string& host, const std::string& port, std::chrono::steady_clock::time_point deadline);

}  // namespace sonde
