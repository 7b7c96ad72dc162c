// SPDX-License-Identifier: Apache-2.0
// Requests in files, oldest first, that survive a restart and a kill. One agent per directory.
//
// segment-<number>.q holds records of {magic, length, points, CRC-32 of these and the content, content}; a segment is
// closed at an eighth of the limit and removed when all of it was read. `cursor` says how far reading got; it is
// written after each record, so that after a kill at most one request is sent twice. After a power failure what the
// kernel had not written yet is missing, and a torn end is cut off and counted.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/base/fd.h"
#include "agent/base/result.h"

namespace sonde {

struct DiskQueueLosses {
  uint64_t dropped_points = 0;  // the oldest, for lack of room
  uint64_t damaged_points = 0;  // in records whose checksum was wrong
  uint64_t torn_bytes = 0;      // of records without an end, and what could not be read behind a damaged head
};

class DiskQueue {
 public:
  struct Record {
    std::string bytes;
    uint32_t points = 0;
  };

  // Makes the directory (not those above it). Fails in one sentence: not writable, or in use by another agent (`in_use`).
  static Result<std::unique_ptr<DiskQueue>> open(const std::string& directory, uint64_t max_bytes,
                                                 bool* in_use = nullptr);

  // Appends; drops the oldest segments if there would be more than `max_bytes`. On error (no space) nothing is changed.
  Result<void> push(std::string_view bytes, uint32_t points);
  // The oldest record, or nothing. Damaged ones are passed over and counted.
  std::optional<Record> front();
  // Removes what front() returned.
  void pop();

  uint64_t bytes() const { return bytes_; }      // of unread records
  uint64_t records() const { return records_; }  // unread
  const DiskQueueLosses& losses() const { return losses_; }

 private:
  struct Segment {
    uint64_t number = 0;
    uint64_t size = 0;     // of complete records
    uint64_t read = 0;     // up to here
    uint64_t records = 0;  // unread
    uint64_t points = 0;   // unread
  };

  DiskQueue(std::string directory, uint64_t max_bytes) : directory_(std::move(directory)), max_bytes_(max_bytes) {}
  Result<void> load();
  void scan(Segment& segment);
  std::string path(uint64_t number) const;
  Result<void> open_segment_to_write();
  void drop_oldest();
  void remove_front();
  void save_cursor();
  void read_cursor(uint64_t& number, uint64_t& offset) const;

  const std::string directory_;
  const uint64_t max_bytes_;
  Fd lock_;
  Fd cursor_;
  Fd writing_;
  Fd reading_;
  uint64_t reading_number_ = 0;
  std::deque<Segment> segments_;  // oldest first; the last one is written while writing_ is open
  uint64_t next_number_ = 1;
  uint64_t bytes_ = 0;
  uint64_t records_ = 0;
  uint64_t front_size_ = 0;  // of the record that front() returned
  uint32_t front_points_ = 0;
  DiskQueueLosses losses_;
};

}  // namespace sonde
