// SPDX-License-Identifier: Apache-2.0
#include "agent/module/errno_name.h"

#include <cstring>

namespace sonde {

std::string_view errno_name(uint32_t number) {
  const char* name = number ? strerrorname_np(static_cast<int>(number)) : nullptr;  // of 0 it is "0"
  return name ? std::string_view(name) : "_OTHER";
}

}  // namespace sonde
