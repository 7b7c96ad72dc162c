#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Functions that count test results; sourced. Every part ends in the line `N passed, N failed, N skipped`.

# gtest_counts FILE: counts of a gtest binary's runs, from what it printed. A test that was to run and has no result (a
# crash, a time-out) has failed; one that ran twice and passed once has passed. After the line `as the chart's pod` they count
# once more.
gtest_counts() {
  awk '
    { sub(/\r$/, "") }
    /^as the chart.s pod$/ { run++ }
    /^\[==========\] Running [0-9]+ test/ && !began[run]++ { total += $3 }
    /^\[       OK \] .*\([0-9]+ ms\)/ && !seen[run, $4]++ { passed++ }
    /^\[  SKIPPED \] .*\([0-9]+ ms\)/ && !seen[run, $4]++ { skipped++ }
    END { print passed + 0, total - passed - skipped, skipped + 0 }' "$1"
}

# total_line PASSED FAILED SKIPPED
total_line() { echo "$1 passed, $2 failed, $3 skipped"; }

# last_counts FILE: the three numbers of the last such line in it; fails if there is none.
last_counts() {
  local line
  line=$(tr -d '\r' <"$1" | grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' | tail -n 1) || return 1
  awk '{ print $1, $3, $5 }' <<<"$line"
}

# elapsed SECONDS_AT_START → "1m 05s"
elapsed() { printf '%dm %02ds' $(((SECONDS - $1) / 60)) $(((SECONDS - $1) % 60)); }

# failed_tests NAME FILE: `failed: NAME: TEST` for each gtest test in it that failed and did not pass on a second try.
failed_tests() {
  awk -v where="$1" '
    { sub(/\r$/, "") }
    /^as the chart.s pod$/ { run = ", as the pod" }
    /^\[  FAILED  \] .*\([0-9]+ ms\)/ { sub(/,$/, "", $4); failed[$4 run] = 1 }
    /^\[       OK \] .*\([0-9]+ ms\)/ { passed[$4 run] = 1 }
    END { for (name in failed) if (!(name in passed)) print "failed: " where ": " name }' "$2" | sort
}
