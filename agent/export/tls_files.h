// SPDX-License-Identifier: Apache-2.0
// Certificates and keys as files that may be replaced at any time.
#pragma once

#include <array>
#include <string>
#include <utility>

#include "agent/base/file_stamp.h"
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

// Changes whenever one of the files is written, replaced, or its symbolic link turned to another one.
using TlsStamp = std::array<FileStamp, 4>;
TlsStamp stamp_of(const TlsFiles& files);

// Tells whether one of the files has another stamp than at the last call.
class TlsFilesWatch {
 public:
  explicit TlsFilesWatch(TlsFiles files) : files_(std::move(files)) {}
  bool changed() { return std::exchange(seen_, stamp_of(files_)) != seen_; }

 private:
  TlsFiles files_;
  TlsStamp seen_{};
};

}  // namespace sonde
