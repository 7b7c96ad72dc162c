// SPDX-License-Identifier: Apache-2.0
// What tests of spans share: thresholds and tokens as the agent would give them, the ring, and memory that makes any call that
// touches it as slow as a test wants.
#pragma once

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "agent/kernel/engine.h"
#include "agent/module/mapped.h"
#include "sonde/spans.h"
#include "tests/kernel/support/must.h"

namespace sonde::test {

// The maps of spans, by the object of any module.
class Spans {
 public:
  explicit Spans(bpf_object* object) {
    EXPECT_NE(object, nullptr) << "the module is not loaded";
    if (!object) return;
    auto config = Mapped::map(object, "sonde_span_config");
    auto budgets = Mapped::map(object, "sonde_span_budgets");
    EXPECT_TRUE(config && budgets);
    if (!config || !budgets) return;
    config_ = std::move(*config);
    budgets_ = std::move(*budgets);
    const auto keep = [](void* spans, void* record, std::size_t size) {
      EXPECT_EQ(size, sizeof(sonde_span));
      static_cast<std::vector<sonde_span>*>(spans)->push_back(*static_cast<const sonde_span*>(record));
      return 0;
    };
    const int ring = bpf_object__find_map_fd_by_name(object, "sonde_spans");
    ring_.reset(ring_buffer__new(ring, keep, &received_, nullptr));
    EXPECT_TRUE(ring_) << errno;
    give(SONDE_SLOT_NODE, 1'000'000);
  }

  // The operations that this slot has spans of, with their thresholds in microseconds; `errors`: whose failures always qualify.
  void ask(uint32_t slot, const std::map<sonde_span_operation, uint32_t>& thresholds,
           const std::vector<sonde_span_operation>& errors = {}, int64_t tokens = 1'000'000) {
    if (!config_) return;
    auto* config = config_.at<sonde_span_config>(slot);
    *config = {};
    for (const auto& [operation, us] : thresholds) config->threshold_us[operation] = us;
    for (const auto operation : errors) config->errors |= 1U << operation;
    *budgets_.at<sonde_span_budget>(slot) = {};
    give(slot, tokens);
  }
  void give(uint32_t slot, int64_t tokens) {
    if (budgets_) budgets_.at<sonde_span_budget>(slot)->tokens = tokens;
  }
  int64_t tokens(uint32_t slot) const { return budgets_.at<sonde_span_budget>(slot)->tokens; }
  uint64_t suppressed(uint32_t slot, sonde_span_operation operation) const {
    return budgets_.at<sonde_span_budget>(slot)->suppressed[operation];
  }
  uint32_t slots() const { return budgets_.entries(); }

  // Everything sent since the last time.
  std::vector<sonde_span> take() {
    if (ring_) {
      EXPECT_GE(ring_buffer__consume(ring_.get()), 0);
    }
    return std::exchange(received_, {});
  }

 private:
  struct Free {
    void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
  };
  Mapped config_, budgets_;
  std::vector<sonde_span> received_;
  std::unique_ptr<ring_buffer, Free> ring_;
};

inline uint64_t duration_of(const sonde_span& span) { return span.end_ns - span.start_ns; }

// A page that is not there yet: whoever touches it first waits, the kernel in a system call too. For children: ends the process
// with 77 where there is no userfaultfd.
class SlowPage {
 public:
  SlowPage(const std::string& content, uint64_t delay_ns) {
    size_ = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* page = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(page != MAP_FAILED);
    page_ = static_cast<char*>(page);
    fd_ = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC));
    if (fd_ < 0) _exit(77);
    uffdio_api api{};
    api.api = UFFD_API;
    MUST(ioctl(fd_, UFFDIO_API, &api) == 0);
    uffdio_register area{};
    area.range = {reinterpret_cast<uint64_t>(page_), size_};
    area.mode = UFFDIO_REGISTER_MODE_MISSING;
    MUST(ioctl(fd_, UFFDIO_REGISTER, &area) == 0);
    std::vector<char> memory(size_);
    memcpy(memory.data(), content.data(), content.size());
    server_ = std::thread([this, delay_ns, memory = std::move(memory)] {
      uffd_msg message{};
      MUST(read(fd_, &message, sizeof(message)) == sizeof(message));
      timespec delay{static_cast<time_t>(delay_ns / 1'000'000'000), static_cast<long>(delay_ns % 1'000'000'000)};
      MUST(nanosleep(&delay, nullptr) == 0);
      uffdio_copy copy{};
      copy.dst = reinterpret_cast<uint64_t>(page_);
      copy.src = reinterpret_cast<uint64_t>(memory.data());
      copy.len = size_;
      MUST(ioctl(fd_, UFFDIO_COPY, &copy) == 0);
    });
  }
  ~SlowPage() {
    server_.join();
    close(fd_);
    munmap(page_, size_);
  }
  SlowPage(const SlowPage&) = delete;
  SlowPage& operator=(const SlowPage&) = delete;
  char* data() const { return page_; }

 private:
  char* page_ = nullptr;
  std::size_t size_ = 0;
  int fd_ = -1;
  std::thread server_;
};

}  // namespace sonde::test
