#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# cmake/lint.sh fmt [--check]   clang-format over agent/, tests/ and the C++ of bpf/modules (BPF C has the kernel's style)
# cmake/lint.sh tidy [FILE]…    clang-tidy with the release preset's compile commands
set -euo pipefail
cd "$(dirname "$0")/.."
cmake/deps.sh build tools
mapfile -t sources < <(find agent tests bpf/modules -name '*.cpp' -o -name '*.h' -path 'agent/*' -o -name '*.h' -path 'tests/*' \
  -o -name '*_tables.h' | sort)

pick() { command -v "$1-14" || command -v "$1"; }

case ${1:-} in
  fmt)
    mode=(-i)
    [ "${2:-}" = --check ] && mode=(--dry-run -Werror)
    printf '%s\0' "${sources[@]}" | xargs -0 -n 32 "$(pick clang-format)" --style=file "${mode[@]}"
    echo "fmt: ${#sources[@]} files"
    ;;
  tidy)
    shift
    cmake/build.sh release bpf sonde_modules  # generated headers
    if [ $# -gt 0 ]; then sources=("$@"); fi
    mapfile -t sources < <(printf '%s\n' "${sources[@]}" | grep '\.cpp$' | grep -v '^tests/fuzz/')
    echo "tidy: ${#sources[@]} files"
    # g++ flags that clang does not know are none of tidy's business.
    printf '%s\0' "${sources[@]}" | xargs -0 -n 1 -P "${JOBS:-$(nproc)}" \
      "$(pick clang-tidy)" -p build --quiet --extra-arg=-Wno-unknown-warning-option
    ;;
  *) echo "usage: cmake/lint.sh fmt [--check] | tidy [FILE]..." >&2; exit 2 ;;
esac
