// SPDX-License-Identifier: Apache-2.0
#include "agent/base/result.h"

#include <system_error>

namespace sonde {

Error Error::system(std::string message, int errno_value) {
  return Error(std::move(message) + ": " + std::generic_category().message(errno_value));
}

}  // namespace sonde
