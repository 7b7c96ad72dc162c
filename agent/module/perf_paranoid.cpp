// SPDX-License-Identifier: Apache-2.0
#include "agent/module/perf_paranoid.h"

#include <spdlog/fmt/fmt.h>

#include <cerrno>

#include "agent/base/file.h"
#include "agent/base/text.h"

namespace sonde {

int perf_event_paranoid() {
  const auto text = read_small_file("/proc/sys/kernel/perf_event_paranoid");
  if (!text) return -1;
  const auto level = parse_integer(trim(*text), -1, 9);
  return level ? static_cast<int>(*level) : -1;
}

std::string perf_refusal(int error) {
  const int level = perf_event_paranoid();
  if (error != EACCES || level <= 2) return {};
  return fmt::format("kernel.perf_event_paranoid is {}, for which this kernel requires SYS_ADMIN; set it to 2", level);
}

}  // namespace sonde
