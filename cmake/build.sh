#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Configures a preset if need be and builds targets of it, installing missing packages first.
#   cmake/build.sh PRESET [TARGET]…        all targets without any
set -euo pipefail
cd "$(dirname "$0")/.."
preset=$1; shift

groups=(build)
case $preset in asan | tsan | fuzz) groups+=(clang) ;; esac
cmake/deps.sh "${groups[@]}"

directory=build/$preset
[ "$preset" = release ] && directory=build
if [ ! -f "$directory/build.ninja" ]; then
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  echo "configure: preset $preset"
  if ! cmake --preset "$preset" >"$log" 2>&1; then cat "$log" >&2; exit 1; fi
fi

# A C++ compiler that includes gRPC takes close to 1 GiB: do not start more of them than fit into memory.
jobs=${JOBS:-$(nproc)}
memory=$(awk '/^MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)
[ "$memory" -ge 1 ] || memory=1
[ "$jobs" -le "$memory" ] || jobs=$memory

[ $# -eq 0 ] || set -- --target "$@"
exec cmake --build "$directory" --parallel "$jobs" "$@"
