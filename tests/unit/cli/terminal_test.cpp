// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/terminal.h"

#include <gtest/gtest.h>

namespace sonde::cli {
namespace {

TEST(Units, AreChosenForPeople) {
  EXPECT_EQ(bytes_text(0), "0 B");
  EXPECT_EQ(bytes_text(1536), "1.5 KiB");
  EXPECT_EQ(bytes_text(1024.0 * 1024 * 20), "20 MiB");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(count_text(12'345), "12 k");
  EXPECT_EQ(seconds_text(1.5e-6), "1.5 us");
  EXPECT_EQ(seconds_text(0.25), "250 ms");
  EXPECT_EQ(seconds_text(2), "2.00 s");
}

TEST(Table, AlignsColumns) {
  Table table({{"NAME", false}, {"N", true}});
  table.add({"a", "1"});
  table.add({"longer", "100"});
  EXPECT_EQ(table.text(),
            "NAME      N\n"
            "a         1\n"
            "longer  100\n");
}

TEST(Table, ShortensTheFirstColumnAtItsBeginning) {
  Table table({{"CGROUP", false}, {"N", true}});
  table.add({"/kubepods.slice/kubepods-burstable.slice/x.scope", "1"});
  EXPECT_EQ(table.text(30),
            "CGROUP                       N\n"
            "...-burstable.slice/x.scope  1\n");
}

TEST(Table, CountsCharactersAndNotBytes) {
  Table table({{"NAME", false}, {"N", true}});
  table.add({"\xC3\xA9t\xC3\xA9", "1"});
  EXPECT_EQ(table.text(), "NAME  N\n\xC3\xA9t\xC3\xA9   1\n");
}

}  // namespace
}  // namespace sonde::cli
