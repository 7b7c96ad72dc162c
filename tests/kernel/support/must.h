// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <unistd.h>

// What failed inside a child ends it with a code of its own: the exit status says which line.
#define MUST(condition)                                              \
  do {                                                               \
    if (!(condition)) _exit(static_cast<int>(100 + __LINE__ % 100)); \
  } while (0)
