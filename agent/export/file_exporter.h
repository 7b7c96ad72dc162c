// SPDX-License-Identifier: Apache-2.0
// OTLP/JSON lines into a file, in the format of the Collector's file exporter: one ExportMetricsServiceRequest or
// ExportTraceServiceRequest a line, so that its otlpjsonfile receiver and every JSON tool can read it.
#pragma once

#include <span>
#include <string>

#include "agent/base/fd.h"
#include "agent/base/mutex.h"
#include "agent/base/result.h"
#include "agent/export/exporter.h"
#include "agent/export/otlp_encoder.h"
#include "agent/export/span_queue.h"

namespace sonde {

enum class FileSync : uint8_t {
  Never,      // the kernel writes when it likes: survives a kill, not a power failure
  EachBatch,  // fdatasync after each batch
};

struct FileOptions {
  // A file, an existing directory or a path that ends in "/" (then metrics.jsonl in it; that directory is made), or "-" for
  // standard output.
  std::string path = "-";
  uint64_t max_bytes = 100ULL << 20;  // the file is then renamed to <path>.1, .1 to .2 …; 0: never
  uint32_t keep = 3;                  // rotated files besides the current one
  FileSync sync = FileSync::Never;
  uint64_t max_line_bytes = 900'000;  // longer batches take several lines (readers limit lines to 1 MiB)
  EncodeOptions encode;
};

class FileExporter final : public Exporter {
 public:
  // Opens the file, so that a wrong path is told at the start. Directories above are not made.
  static Result<std::unique_ptr<FileExporter>> create(FileOptions options);

  std::string_view name() const override { return "file"; }
  std::string destination() const override { return options_.path == "-" ? "standard output" : path_; }
  // Writes at once. If the disk is full the batch is dropped and counted, nothing half-written stays, and the next
  // batch tries again. A pipe that nobody reads delays by at most a second and then drops batches.
  void push(BatchPtr batch) override;
  // The same for spans, from any thread; failures are counted here, spans by the caller.
  struct SpansWritten {
    uint64_t count = 0;
    std::string_view failure;  // of the others: disk_full, …
  };
  SpansWritten write(std::span<const Span* const> spans);
  void flush(uint64_t timeout_ns) override;
  ExporterStats stats() const override;

 private:
  explicit FileExporter(FileOptions options);
  Result<void> open() SONDE_REQUIRES(mutex_);
  Result<void> write_line(const std::string& line) SONDE_REQUIRES(mutex_);
  Result<void> write_regular(const std::string& line) SONDE_REQUIRES(mutex_);
  Result<void> write_stream(uint64_t timeout_ns) SONDE_REQUIRES(mutex_);
  Result<void> reopen_if_moved() SONDE_REQUIRES(mutex_);
  void rotate() SONDE_REQUIRES(mutex_);
  void failed(const char* code, const Error& error, uint64_t points) SONDE_REQUIRES(mutex_);
  void works() SONDE_REQUIRES(mutex_);

  const FileOptions options_;
  std::string path_;
  Fd file_ SONDE_GUARDED_BY(mutex_);
  bool regular_ SONDE_GUARDED_BY(mutex_) = true;
  uint64_t size_ SONDE_GUARDED_BY(mutex_) = 0;
  int errno_ SONDE_GUARDED_BY(mutex_) = 0;                  // of the last write that failed
  uint64_t failing_since_ns_ SONDE_GUARDED_BY(mutex_) = 0;  // CLOCK_MONOTONIC; 0: it works
  uint64_t logged_ns_ SONDE_GUARDED_BY(mutex_) = 0;
  std::string pending_ SONDE_GUARDED_BY(mutex_);  // rest of a line that a pipe did not take yet
  mutable Mutex mutex_;
  ExporterStats stats_ SONDE_GUARDED_BY(mutex_);
};

}  // namespace sonde
