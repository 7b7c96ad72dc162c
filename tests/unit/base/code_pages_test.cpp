// SPDX-License-Identifier: Apache-2.0
#include "agent/base/code_pages.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string>

namespace sonde {
namespace {

constexpr std::size_t kPages = 512;

// 2 MiB of the program's file, and pointers that the linker has put into its memory.
constexpr std::array<uint32_t, kPages* 1024> kNumbers = {4711};
constexpr const char* const kWords[] = {"read", "write", "fsync"};

uint32_t sum_of_numbers() {
  uint32_t sum = 0;
  for (const volatile uint32_t& number : kNumbers) sum += number;
  return sum;
}

long resident_file_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssFile:")) return std::atol(line.c_str() + 8);
  }
  return -1;
}

TEST(CodePagesTest, LeaveTheMemoryAndComeBackAsTheyWere) {
  const uint32_t sum = sum_of_numbers();
  const long before = resident_file_kib();
  let_go_of_code_pages();
  const long after = resident_file_kib();
  EXPECT_LT(after, before - static_cast<long>(kPages) * 2);
  EXPECT_EQ(sum_of_numbers(), sum);
  for (const char* const volatile& word : kWords) EXPECT_GT(std::string(word).size(), 3U);
  EXPECT_GE(resident_file_kib(), after + static_cast<long>(kPages) * 2);
}

}  // namespace
}  // namespace sonde
