// SPDX-License-Identifier: Apache-2.0
#include "agent/base/percent.h"

#include <gtest/gtest.h>

namespace sonde {
namespace {

using namespace std::string_literals;

TEST(Percent, DecodesBytes) {
  EXPECT_EQ(*percent_decoded("Bearer%20x%3D"), "Bearer x=");
  EXPECT_EQ(*percent_decoded("%c3%A9%25"), "é%");
  EXPECT_EQ(*percent_decoded("%00"), "\0"s);
  EXPECT_EQ(*percent_decoded("a+b"), "a+b");
  EXPECT_EQ(*percent_decoded(""), "");
}

TEST(Percent, RefusesAPercentSignThatEncodesNothing) {
  for (const char* text : {"%", "%2", "a%", "%zz", "%2g", "%%20", "100%, %41"})
    EXPECT_FALSE(percent_decoded(text)) << text;
}

TEST(Percent, EncodedIsDecoded) {
  EXPECT_EQ(percent_encoded("a=b, é", "="), "a=b%2C%20%C3%A9");
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  EXPECT_EQ(*percent_decoded(percent_encoded(all, "-_.")), all);
}

}  // namespace
}  // namespace sonde
