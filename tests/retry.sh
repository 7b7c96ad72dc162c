# SPDX-License-Identifier: Apache-2.0
# Sourced, also by the shell of the virtual machines.

# gtest_retry FILE: a filter of the tests that failed in it, for a second try; nothing if a crash ended the run, nobody
# failed, or so many did that it is no accident. What these tests measure is shared with a machine that has other work.
gtest_retry() {
  awk '
    { sub(/\r$/, "") }
    /^\[==========\] [0-9]+ tests? .* ran/ { ended = 1 }
    /^\[  FAILED  \] .*\([0-9]+ ms\)/ { sub(/,$/, "", $4); names[++n] = $4 }
    END { if (ended && n <= 4) for (i = 1; i <= n; i++) printf "%s%s", (i > 1 ? ":" : ""), names[i] }' "$1"
}
