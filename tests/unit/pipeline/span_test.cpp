// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/span.h"

#include <gtest/gtest.h>

#include <set>

namespace sonde {
namespace {

TEST(SpanOperation, WordsAndNamesAreDistinctAndLeadBack) {
  std::set<std::string_view> words, names;
  for (unsigned i = 0; i < kSpanOperations; ++i) {
    const auto operation = static_cast<SpanOperation>(i);
    words.insert(word_of(operation));
    names.insert(name_of(operation));
    EXPECT_EQ(span_operation(word_of(operation)), operation);
  }
  EXPECT_EQ(words.size(), kSpanOperations);
  EXPECT_EQ(names.size(), kSpanOperations);
  EXPECT_EQ(span_operation("fsync"), std::nullopt);
  EXPECT_EQ(word_of(SpanOperation::Function), "Function");
}

TEST(Span, ItsNameHasTheDirectionOrTheFunction) {
  Span span;
  span.operation = SpanOperation::Fsync;
  EXPECT_EQ(span_name(span), "fsync");
  span.operation = SpanOperation::BlockIO;
  EXPECT_EQ(span_name(span), "block io");
  span.direction = "read";
  EXPECT_EQ(span_name(span), "block read");
  span.operation = SpanOperation::Function;
  span.function_name = "wal_flush";
  EXPECT_EQ(span_name(span), "function wal_flush");
}

}  // namespace
}  // namespace sonde
