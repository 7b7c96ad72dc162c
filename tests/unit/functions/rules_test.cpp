// SPDX-License-Identifier: Apache-2.0
#include "agent/functions/rules.h"

#include <gtest/gtest.h>

#include "agent/kernel/function_probes.h"
#include "agent/module/function_names.h"

namespace sonde {
namespace {

TEST(FunctionRules, WhatRunsUnderAProbeIsNeverProbed) {
  for (const char* name : {"_raw_spin_lock", "native_queued_spin_lock_slowpath", "rcu_read_unlock", "__bpf_prog_enter",
                           "ktime_get_ns", "exc_page_fault", "nmi_handle", "perf_event_output", "xfs:trace_xfs_read"}) {
    EXPECT_TRUE(is_denied(name, false)) << name;
  }
  for (const char* name : {"vfs_fsync_range", "tcp_sendmsg", "xfs:xfs_file_fsync", "do_sys_openat2"}) {
    EXPECT_FALSE(is_denied(name, true)) << name;
  }
  EXPECT_FALSE(is_denied("do_exit", false));
  EXPECT_TRUE(is_denied("do_exit", true)) << "it does not return";
}

TEST(FunctionRules, MeasuresAndErrors) {
  FunctionRequest request;
  request.measure = {"Calls", "Bytes"};
  EXPECT_EQ(measures_of(request), FUNCTION_CALLS | FUNCTION_BYTES);
  EXPECT_FALSE(needs_return(request));
  request.measure = {"Errors"};
  EXPECT_TRUE(needs_return(request));
  EXPECT_EQ(error_rule_of(request), FUNCTION_ERROR_NEGATIVE);
  request.errors_when = "Null";
  EXPECT_EQ(error_rule_of(request), FUNCTION_ERROR_NULL);
}

TEST(FunctionCookie, TellsTheKernelSideWhatItNeeds) {
  const uint64_t cookie = function_cookie(4094, {ArgumentPlace::Kind::Memory, true, 4, 31 * 8, -20});
  EXPECT_EQ(FUNCTION_COOKIE_INSTANCE(cookie), 4094U);
  EXPECT_EQ(FUNCTION_COOKIE_PLACE(cookie), static_cast<uint64_t>(FUNCTION_PLACE_MEMORY));
  EXPECT_EQ(FUNCTION_COOKIE_REGISTER(cookie), 31 * 8U);
  EXPECT_EQ(FUNCTION_COOKIE_BITS(cookie), 32U);
  EXPECT_TRUE(FUNCTION_COOKIE_SIGNED(cookie));
  EXPECT_EQ(FUNCTION_COOKIE_DISPLACEMENT(cookie), -20);
}

TEST(FunctionNames, ANumberKeepsItsName) {
  const auto one = function_number("unit-test-one");
  const auto two = function_number("unit-test-two");
  ASSERT_TRUE(one && two);
  EXPECT_NE(*one, *two);
  EXPECT_EQ(function_number("unit-test-one"), one);
  EXPECT_EQ(function_name(*two), "unit-test-two");
  EXPECT_EQ(function_name(kMostFunctionNames), "");
}

}  // namespace
}  // namespace sonde
