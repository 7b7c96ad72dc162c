// SPDX-License-Identifier: Apache-2.0
#include "agent/base/host_port.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

// "host|port", with "-" for none.
std::string parts(std::string_view text) {
  const auto parsed = parse_host_port(text);
  if (!parsed) return parsed.error().message();
  return parsed->host + "|" + parsed->port.value_or("-") + (parsed->bare_ipv6 ? " bare" : "");
}

TEST(HostPort, Forms) {
  EXPECT_EQ(parts("collector"), "collector|-");
  EXPECT_EQ(parts("collector:4317"), "collector|4317");
  EXPECT_EQ(parts("10.0.0.1:80"), "10.0.0.1|80");
  EXPECT_EQ(parts(":80"), "|80");
  EXPECT_EQ(parts("host:"), "host|");
  EXPECT_EQ(parts(""), "|-");
  EXPECT_EQ(parts("[fd00::1]"), "fd00::1|-");
  EXPECT_EQ(parts("[fd00::1]:4317"), "fd00::1|4317");
  EXPECT_EQ(parts("fd00::1"), "fd00::1|- bare");
}

TEST(HostPort, WhatIsWrong) {
  EXPECT_EQ(parts("[fd00::1"), "the bracket is not closed");
  EXPECT_EQ(parts("[::1]80"), "there is something between address and port");
  EXPECT_EQ(parts("a:b:80"), "an IPv6 address must be in brackets");
  for (const char* text : {"user@host", "host/path", "ho st:80", "ho]st", "[[::1]]"}) {
    EXPECT_FALSE(parse_host_port(text)) << text;
  }
}

TEST(HostPort, BracketsWhereTheyBelong) {
  EXPECT_EQ(host_port_text("::1", "80"), "[::1]:80");
  EXPECT_EQ(host_port_text("127.0.0.1", "80"), "127.0.0.1:80");
  EXPECT_EQ(bracketed("fd00::1"), "[fd00::1]");
  EXPECT_EQ(bracketed("host"), "host");
}

TEST(HostPort, Addresses) {
  EXPECT_TRUE(is_ip_address("127.0.0.1"));
  EXPECT_TRUE(is_ip_address("::1"));
  EXPECT_FALSE(is_ip_address("[::1]"));
  EXPECT_FALSE(is_ip_address("localhost"));
  EXPECT_FALSE(is_ip_address(""));
  EXPECT_FALSE(is_ipv6_address("127.0.0.1"));
}

}  // namespace
}  // namespace sonde
