// SPDX-License-Identifier: Apache-2.0
// Certificates and keys as files that may be replaced at any time.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "agent/base/result.h"
#include "agent/export/http_transport.h"

namespace sonde {

struct TlsMaterial {
  std::string ca;  // PEM; of the system if no file was named
  std::string certificate;
  std::string key;
};

// Reads and checks: each file holds what it should, the key belongs to the certificate. The error is a sentence.
Result<TlsMaterial> read_tls_files(const TlsFiles& files);

// Tells whether one of the files is another than at the last call (inode, size or time of change).
class TlsFilesWatch {
 public:
  explicit TlsFilesWatch(TlsFiles files) : files_(std::move(files)) {}
  bool changed();

 private:
  TlsFiles files_;
  std::array<std::array<uint64_t, 4>, 3> seen_{};
};

}  // namespace sonde
