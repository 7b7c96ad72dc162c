// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/span_reader.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <random>
#include <set>

#include "agent/base/clock.h"
#include "agent/module/function_names.h"

namespace sonde {
namespace {

constexpr uint64_t kOneSecond = 1'000'000'000;
const SpanClock kClock{.monotonic_ns = 1000 * kOneSecond, .real_ns = 1'700'000'000 * kOneSecond};

sonde_span fsync_of_200_ms() {
  sonde_span record{};
  record.operation = SONDE_SPAN_FSYNC;
  record.end_ns = 999 * kOneSecond;
  record.start_ns = record.end_ns - 200'000'000;
  record.slot = 7;
  record.tgid = 4711;
  record.tid = 4712;
  record.threshold_us = 100'000;
  record.suppressed = 3;
  std::strcpy(record.comm, "walwriter");
  std::strcpy(record.leader_comm, "postgres");
  return record;
}

TraceSettings settings() {
  TraceSettings made;
  made.policy = "p";
  made.threshold_us.fill(1);
  return made;
}

std::span<const std::byte> bytes_of(const sonde_span& record, std::size_t size = sizeof(sonde_span)) {
  return {reinterpret_cast<const std::byte*>(&record), size};
}

Span read(const sonde_span& record, const TraceSettings& by = settings()) {
  const auto span = SpanReader().read(record, by, kClock);
  EXPECT_TRUE(span);
  return span.value_or(Span{});
}

TEST(SpanReader, ASlowFsync) {
  const Span span = read(fsync_of_200_ms());
  EXPECT_EQ(span_name(span), "fsync");
  EXPECT_EQ(span.end_unix_ns, 1'699'999'999 * kOneSecond);
  EXPECT_EQ(span.end_unix_ns - span.start_unix_ns, 200'000'000U);
  EXPECT_EQ(span.slot, 7U);
  EXPECT_EQ(span.pid, 4711U);
  EXPECT_EQ(span.tid, 4712U);
  EXPECT_EQ(span.comm, "walwriter");
  EXPECT_EQ(span.executable, "postgres");
  EXPECT_EQ(span.threshold, 0.1);
  EXPECT_EQ(span.suppressed, 3U);
  EXPECT_EQ(span.error, 0);
  EXPECT_EQ(span.error_type, "");
  EXPECT_EQ(span.policy, "p");
  EXPECT_TRUE(span.peer_address.empty() && span.direction.empty() && span.transport.empty() && span.oom_scope.empty());
}

TEST(SpanReader, IdsAreNeverZeroAndNeverTheSame) {
  std::set<std::array<uint8_t, 16>> traces{{}};
  std::set<std::array<uint8_t, 8>> spans{{}};
  for (int i = 0; i < 100; ++i) {
    const Span span = read(fsync_of_200_ms());
    EXPECT_TRUE(traces.insert(span.trace_id).second);
    EXPECT_TRUE(spans.insert(span.span_id).second);
  }
}

TEST(SpanReader, Failures) {
  sonde_span record = fsync_of_200_ms();
  record.error = EIO;
  EXPECT_EQ(read(record).error_type, "EIO");
  record.error = SONDE_SPAN_NO_ERRNO;
  EXPECT_EQ(read(record).error_type, "_OTHER");
  record.error = 99'999;
  EXPECT_EQ(read(record).error_type, "_OTHER");
}

TEST(SpanReader, Peers) {
  sonde_span record = fsync_of_200_ms();
  record.operation = SONDE_SPAN_CONNECT;
  record.family = 2;
  record.transport = 6;
  record.port = 5432;
  const uint8_t four[] = {192, 0, 2, 33};
  std::memcpy(record.address, four, sizeof(four));
  EXPECT_EQ(read(record).peer_address, "192.0.2.33");
  EXPECT_EQ(read(record).peer_port, 5432);
  EXPECT_EQ(read(record).transport, "tcp");
  TraceSettings discreet = settings();
  discreet.peer_address = false;
  EXPECT_EQ(read(record, discreet).peer_address, "");
  record.family = 10;
  record.transport = 17;
  const uint8_t six[16] = {0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  std::memcpy(record.address, six, sizeof(six));
  EXPECT_EQ(read(record).peer_address, "2001:db8::1");
  EXPECT_EQ(read(record).transport, "udp");
}

TEST(SpanReader, WhatOnlyTheModuleKnows) {
  sonde_span record = fsync_of_200_ms();
  record.operation = SONDE_SPAN_DNS_LOOKUP;
  record.detail = 28U << 8 | 2;  // AAAA, SERVFAIL
  EXPECT_EQ(read(record).dns_type, "AAAA");
  EXPECT_EQ(read(record).error_type, "servfail");
  record.detail = 1U << 8;
  EXPECT_EQ(read(record).dns_type, "A");
  EXPECT_EQ(read(record).error_type, "");
  record.operation = SONDE_SPAN_LOCK_WAIT;
  record.detail = 3;
  EXPECT_EQ(read(record).lock_kind, "rwsem");
  record.operation = SONDE_SPAN_OOM_KILL;
  record.detail = SONDE_SPAN_OOM_CGROUP;
  EXPECT_EQ(read(record).oom_scope, "memcg");
  EXPECT_EQ(read(record).threshold, 0);
  record.operation = SONDE_SPAN_BLOCK_IO;
  record.direction = 2;
  record.bytes = 4096;
  record.device_major = 4095;
  record.device_minor = 1;
  EXPECT_EQ(span_name(read(record)), "block write");
  EXPECT_EQ(read(record).device, "4095:1") << "there is no such disk";
  EXPECT_EQ(read(record).bytes, 4096U);
}

// The kernel side goes by the smallest threshold of all functions of a subject.
TEST(SpanReader, AFunctionHasItsOwnThreshold) {
  sonde_span record = fsync_of_200_ms();
  record.operation = SONDE_SPAN_FUNCTION;
  record.detail = function_number("span_reader_test").value();
  TraceSettings by = settings();
  by.functions = {{"another", 1'000}, {"span_reader_test", 200'000}};
  EXPECT_EQ(span_name(read(record, by)), "function span_reader_test");
  EXPECT_EQ(read(record, by).threshold, 0.2);
  by.functions["span_reader_test"] = 200'001;
  EXPECT_FALSE(SpanReader().read(record, by, kClock));
  record.error = ENOENT;
  EXPECT_FALSE(SpanReader().read(record, by, kClock));
  by.errors = 1U << SONDE_SPAN_FUNCTION;
  EXPECT_TRUE(SpanReader().read(record, by, kClock));
}

TEST(SpanReader, WhatIsNotRecordedAnyMoreIsNone) {
  TraceSettings by = settings();
  by.threshold_us[SONDE_SPAN_FSYNC] = 0;
  EXPECT_FALSE(SpanReader().read(fsync_of_200_ms(), by, kClock));
}

TEST(SpanRecord, IsChecked) {
  sonde_span record = fsync_of_200_ms();
  EXPECT_TRUE(span_record(bytes_of(record)));
  EXPECT_FALSE(span_record(bytes_of(record, sizeof(record) - 1)));
  EXPECT_FALSE(span_record({}));
  std::vector<std::byte> longer(sizeof(record) + 8);
  EXPECT_FALSE(span_record(longer));
  record.operation = kSpanOperations;
  EXPECT_FALSE(span_record(bytes_of(record)));
  record.operation = SONDE_SPAN_FSYNC;
  record.start_ns = record.end_ns + 1;
  EXPECT_FALSE(span_record(bytes_of(record)));
}

// Any bytes make either no record or a span whose texts and times are in range.
TEST(SpanRecord, AnyBytesAreSafe) {
  std::mt19937_64 random(7);
  const SpanReader reader;
  int made = 0;
  for (int round = 0; round < 20'000; ++round) {
    sonde_span record{};
    auto* bytes = reinterpret_cast<unsigned char*>(&record);
    for (std::size_t i = 0; i < sizeof(record); ++i) bytes[i] = static_cast<unsigned char>(random());
    record.operation = static_cast<uint32_t>(random() % (kSpanOperations + 3));
    const auto checked = span_record(bytes_of(record));
    if (!checked) continue;
    const auto span = reader.read(*checked, settings(), kClock);
    if (!span) continue;
    ++made;
    EXPECT_LE(span->start_unix_ns, span->end_unix_ns);
    EXPECT_GE(span->start_unix_ns, 1U);
    EXPECT_LE(span->end_unix_ns, kClock.real_ns);
    EXPECT_LE(span->comm.size(), sizeof(record.comm));
    EXPECT_LE(span->executable.size(), sizeof(record.leader_comm));
  }
  EXPECT_GT(made, 1000);
}

TEST(SpanClock, FollowsTheWallClockAsItIsSetNow) {
  const SpanClock before{.monotonic_ns = 100 * kOneSecond, .real_ns = 5000 * kOneSecond};
  const SpanClock stepped{.monotonic_ns = 101 * kOneSecond, .real_ns = 9001 * kOneSecond};
  EXPECT_EQ(before.real_of(99 * kOneSecond), 4999 * kOneSecond);
  EXPECT_EQ(stepped.real_of(99 * kOneSecond), 8999 * kOneSecond);
  EXPECT_EQ(before.real_of(200 * kOneSecond), 5000 * kOneSecond) << "nothing ends in the future";
  EXPECT_EQ((SpanClock{.monotonic_ns = 100, .real_ns = 10}.real_of(50)), 1U);
  const uint64_t real = realtime_ns();
  EXPECT_NEAR(static_cast<double>(SpanClock::read().real_of(monotonic_ns())) - static_cast<double>(real), 0, 1e9);
}

TEST(SpanConfig, IsWhatTheSettingsSay) {
  TraceSettings by;
  by.threshold_us[SONDE_SPAN_FSYNC] = 50'000;
  by.errors = 1U << SONDE_SPAN_CONNECT;
  EXPECT_EQ(span_config(by).threshold_us[SONDE_SPAN_FSYNC], 0U) << "no policy";
  by.policy = "p";
  EXPECT_EQ(span_config(by).threshold_us[SONDE_SPAN_FSYNC], 50'000U);
  EXPECT_EQ(span_config(by).threshold_us[SONDE_SPAN_READ], 0U);
  EXPECT_EQ(span_config(by).errors, 1U << SONDE_SPAN_CONNECT);
}

}  // namespace
}  // namespace sonde
