// SPDX-License-Identifier: Apache-2.0
#include "agent/base/result.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace sonde {
namespace {

Result<int> half(int n) {
  if (n % 2) return Error("odd");
  return n / 2;
}

TEST(Result, HoldsTheValueOrTheError) {
  EXPECT_EQ(*half(4), 2);
  auto failed = half(3);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().with("halving 3").message(), "halving 3: odd");
}

TEST(Result, OfNothingIsGoodUnlessToldOtherwise) {
  EXPECT_TRUE(Result<void>());
  EXPECT_FALSE(Result<void>(Error("no")));
}

TEST(Error, PutsErrnoInWords) {
  EXPECT_EQ(Error::system("cannot open /x", ENOENT).message(), "cannot open /x: No such file or directory");
}

}  // namespace
}  // namespace sonde
