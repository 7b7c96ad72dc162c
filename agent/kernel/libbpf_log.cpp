// SPDX-License-Identifier: Apache-2.0
#include "agent/kernel/libbpf_log.h"

#include <bpf/libbpf.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <string_view>
#include <vector>

namespace sonde {
namespace {

constexpr std::size_t kMaxCaptured = 256 * 1024;
thread_local LogCapture* current = nullptr;

int print(libbpf_print_level level, const char* format, va_list arguments) {
  if (level == LIBBPF_DEBUG) return 0;
  char line[8192];
  const int length = vsnprintf(line, sizeof(line), format, arguments);
  if (current) {
    current->append(line);
    return length;
  }
  std::string_view text(line);
  while (text.ends_with('\n')) text.remove_suffix(1);
  spdlog::debug("{}", text);
  return length;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    if (end > 0) lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

}  // namespace

LogCapture::LogCapture() : outer_(current) {
  libbpf_set_print(print);
  current = this;
}

LogCapture::~LogCapture() { current = outer_; }

void LogCapture::append(const char* text) {
  if (text_.size() < kMaxCaptured) text_ += text;
}

std::string LogCapture::failed_program() const {
  constexpr std::string_view kMark = ": failed to load";
  const auto end = text_.rfind(kMark);
  if (end == std::string::npos || end == 0) return {};
  const auto quote = text_.rfind('\'', end);
  if (quote == std::string::npos || quote == 0) return {};
  const auto begin = text_.rfind('\'', quote - 1);
  if (begin == std::string::npos) return {};
  return text_.substr(begin + 1, quote - begin - 1);
}

std::string LogCapture::reason() const {
  const auto lines = lines_of(text_);
  // The verifier's log ends with what it refused, then a line on how much it looked at.
  for (std::size_t i = lines.size(); i-- > 0;) {
    if (lines[i].find("END PROG LOAD LOG") == std::string_view::npos) continue;
    while (i-- > 0) {
      if (lines[i].starts_with("processed ") || lines[i].starts_with("verification time")) continue;
      if (lines[i].find("BEGIN PROG LOAD LOG") != std::string_view::npos) break;
      return std::string(lines[i]);
    }
    break;
  }
  for (const auto line : lines) {
    if (line.find("failed") == std::string_view::npos) continue;
    const auto colon = line.find(": ");
    return std::string(colon == std::string_view::npos ? line : line.substr(colon + 2));
  }
  return lines.empty() ? std::string() : std::string(lines.back());
}

}  // namespace sonde
