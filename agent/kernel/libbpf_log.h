// SPDX-License-Identifier: Apache-2.0
// libbpf speaks through one global callback. Its words are kept while a LogCapture lives on the same thread, so that a
// failed load can say why; otherwise they go to the debug log.
#pragma once

#include <string>

namespace sonde {

class LogCapture {
 public:
  LogCapture();
  ~LogCapture();
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  const std::string& text() const { return text_; }
  // Name of the program that libbpf says failed to load; empty if it names none.
  std::string failed_program() const;
  // The verifier's last word, or libbpf's first complaint: one line.
  std::string reason() const;
  void append(const char* text);

 private:
  std::string text_;
  LogCapture* outer_;
};

}  // namespace sonde
