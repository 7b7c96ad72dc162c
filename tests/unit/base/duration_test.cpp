// SPDX-License-Identifier: Apache-2.0
#include "agent/base/duration.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

TEST(Duration, Parses) {
  EXPECT_EQ(*parse_duration("10s"), 10 * kSecond);
  EXPECT_EQ(*parse_duration("1m30s"), 90 * kSecond);
  EXPECT_EQ(*parse_duration("250ms"), 250 * kMillisecond);
  EXPECT_EQ(*parse_duration("1.5s"), 1500 * kMillisecond);
  EXPECT_EQ(*parse_duration("2h5us1ns"), 7200 * kSecond + 5 * kMicrosecond + 1);
  EXPECT_EQ(*parse_duration("0"), 0u);
  EXPECT_EQ(*parse_duration("15", PlainNumber::Seconds), 15 * kSecond);
  EXPECT_EQ(*parse_duration("15", PlainNumber::Milliseconds), 15 * kMillisecond);
}

TEST(Duration, RefusesWhatIsNone) {
  for (const char* wrong : {"", "s", "10", "10 s", "10s1m", "5s5s", "-1s", "10sec", "1.s", ".5s", "1s5", "10d",
                            "99999999999999h", "1e3s"}) {
    EXPECT_FALSE(parse_duration(wrong)) << wrong;
  }
  EXPECT_EQ(parse_duration("10sec").error().message(),
            "'10sec' is not a duration: write for example 10s, 1m30s or 250ms");
  EXPECT_FALSE(parse_duration("5s5", PlainNumber::Seconds));
}

TEST(Duration, FormatIsReadBack) {
  EXPECT_EQ(format_duration(90 * kSecond), "1m30s");
  EXPECT_EQ(format_duration(250 * kMillisecond), "250ms");
  EXPECT_EQ(format_duration(0), "0s");
  for (uint64_t ns : {1ULL, 999ULL, 1'234'567'890'123ULL, 86'400'000'000'000ULL}) {
    EXPECT_EQ(*parse_duration(format_duration(ns)), ns);
  }
}

TEST(Bytes, Parses) {
  EXPECT_EQ(*parse_bytes("64MiB"), 64u << 20);
  EXPECT_EQ(*parse_bytes("10MB"), 10'000'000u);
  EXPECT_EQ(*parse_bytes("1.5 KiB"), 1536u);
  EXPECT_EQ(*parse_bytes("4096"), 4096u);
  for (const char* wrong : {"", "MiB", "10M", "1.5", "-1", "10 MiB MiB", "99999999TiB"}) {
    EXPECT_FALSE(parse_bytes(wrong)) << wrong;
  }
}

TEST(Bytes, Formats) {
  EXPECT_EQ(format_bytes(64 << 20), "64MiB");
  EXPECT_EQ(format_bytes(10'000'000), "10MB");
  EXPECT_EQ(format_bytes(1501), "1501B");
  EXPECT_EQ(format_bytes(0), "0B");
}

}  // namespace
}  // namespace sonde
