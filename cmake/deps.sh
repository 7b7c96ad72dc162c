#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the packages that building and testing Sonde need; only those that are missing. Run it as often as you like.
#   cmake/deps.sh [build|run|test|vm|clang|apps|e2e|bench|tools|all]…   groups, `all` without any; `run` is what the binary needs
#   cmake/deps.sh --list [groups]                        only prints the names
set -euo pipefail

# group | Debian 12 | Fedora | Alpine; "-" where a system has no such package.
packages() {
  cat <<'TABLE'
build | make                     | make                  | make
build | git                      | git                   | git
build | ca-certificates          | ca-certificates       | ca-certificates
build | cmake                    | cmake                 | cmake
build | ninja-build              | ninja-build           | ninja-build
build | ccache                   | ccache                | ccache
build | pkg-config               | pkgconf-pkg-config    | pkgconf
build | g++                      | gcc-c++               | g++
build | libc6-dev                | glibc-devel           | libc-dev
build | clang-14                 | clang                 | clang
build | llvm-14                  | llvm                  | llvm
build | bpftool                  | bpftool               | bpftool
build | libbpf-dev               | libbpf-devel          | libbpf-dev
build | libelf-dev               | elfutils-libelf-devel | elfutils-dev
build | zlib1g-dev               | zlib-devel            | zlib-dev
build | libssl-dev               | openssl-devel         | openssl-dev
build | libprotobuf-dev          | protobuf-devel        | protobuf-dev
build | protobuf-compiler        | protobuf-compiler     | protoc
build | libgrpc++-dev            | grpc-devel            | grpc-dev
build | protobuf-compiler-grpc   | grpc-plugins          | grpc-plugins
build | libcpprest-dev           | cpprest-devel         | cpprestsdk-dev
build | libboost-dev             | boost-devel           | boost-dev
build | libyaml-cpp-dev          | yaml-cpp-devel        | yaml-cpp-dev
build | libfmt-dev               | fmt-devel             | fmt-dev
build | libspdlog-dev            | spdlog-devel          | spdlog-dev
build | libcli11-dev             | cli11-devel           | cli11-dev
build | nlohmann-json3-dev       | json-devel            | nlohmann-json
build | libzydis-dev             | zydis-devel           | zydis-dev
build | libgtest-dev             | gtest-devel           | gtest-dev
run   | ca-certificates          | ca-certificates       | ca-certificates
run   | libbpf1                  | libbpf                | libbpf
run   | libcpprest2.10           | cpprest               | cpprestsdk
run   | libfmt9                  | fmt                   | fmt
run   | libgrpc++1.51            | grpc-cpp              | grpc-cpp
run   | libprotobuf32            | protobuf              | libprotobuf
run   | libspdlog1.10            | spdlog                | spdlog
run   | libssl3                  | openssl-libs          | libssl3
run   | libyaml-cpp0.7           | yaml-cpp              | yaml-cpp
run   | libzydis4.0              | zydis                 | zydis
test  | procps                   | procps-ng             | procps
test  | openssl                  | openssl               | openssl
test  | xfsprogs                 | xfsprogs              | xfsprogs
vm    | xz-utils                 | xz                    | xz
vm    | e2fsprogs                | e2fsprogs             | e2fsprogs
vm    | cpio                     | cpio                  | cpio
vm    | pahole                   | dwarves               | pahole
vm    | qemu-system-x86          | qemu-system-x86-core  | qemu-system-x86_64
vm    | qemu-system-arm          | qemu-system-aarch64-core | qemu-system-aarch64
vm    | stress-ng                | stress-ng             | stress-ng
vm    | gcc-aarch64-linux-gnu    | gcc-aarch64-linux-gnu | gcc-aarch64-none-elf
vm    | libc6-dev-arm64-cross    | -                     | -
e2e   | python3                  | python3               | python3
e2e   | golang-go                | golang                | go
e2e   | containerd               | containerd            | containerd
e2e   | runc                     | runc                  | runc
e2e   | containernetworking-plugins | containernetworking-plugins | cni-plugins
e2e   | iproute2                 | iproute               | iproute2
clang | libclang-rt-14-dev       | compiler-rt           | compiler-rt
apps  | python3                  | python3               | python3
apps  | fio                      | fio                   | fio
apps  | redis-tools              | redis                 | redis
apps  | nginx                    | nginx                 | nginx
apps  | wrk                      | wrk                   | wrk
apps  | postgresql               | postgresql-server     | postgresql
apps  | -                        | postgresql-contrib    | postgresql-contrib
apps  | stress-ng                | stress-ng             | stress-ng
bench | bpftrace                 | bpftrace              | bpftrace
bench | libbpf-tools             | libbpf-tools          | libbpf-tools
tools | clang-format-14          | clang-tools-extra     | clang-extra-tools
tools | clang-tidy-14            | clang-tools-extra     | clang-extra-tools
TABLE
}

list_only=0
if [ "${1:-}" = --list ]; then list_only=1; shift; fi
[ $# -gt 0 ] || set -- all

system=other
for known in apt-get:debian dnf:fedora apk:alpine; do
  if command -v "${known%%:*}" >/dev/null; then system=${known##*:}; break; fi
done

# Column of this system, one name a line, each once, for the groups asked.
names() {
  local column
  case $system in fedora) column=3 ;; alpine) column=4 ;; *) column=2 ;; esac
  packages | awk -F'|' -v column=$column -v groups=" $* " '
    { gsub(/ /, "", $1); gsub(/ /, "", $column) }
    (groups ~ / all / || index(groups, " " $1 " ")) && $column != "-" && !seen[$column]++ { print $column }'
}

installed() {
  case $system in
    debian) [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ] ;;
    fedora) rpm -q --quiet --whatprovides "$1" ;;
    alpine) apk info -e "$1" >/dev/null ;;
  esac
}

wanted=$(names "$@")
if [ $list_only = 1 ]; then echo "$wanted"; exit 0; fi
if [ $system = other ]; then
  echo "deps: this system has none of apt-get, dnf and apk. Please install what it calls these Debian packages:" >&2
  echo "$wanted" >&2
  exit 1
fi

missing=()
for name in $wanted; do installed "$name" || missing+=("$name"); done
total=$(wc -w <<<"$wanted")
if [ ${#missing[@]} -eq 0 ]; then
  [ -n "${DEPS_QUIET:-}" ] || echo "deps: all $total packages are installed ($*)"
  exit 0
fi

sudo=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "deps: ${#missing[@]} packages are missing; install them as root: ${missing[*]}" >&2
    exit 1
  fi
  sudo=(sudo)
fi

echo "deps: installing ${#missing[@]} of $total packages: ${missing[*]}"
case $system in
  debian)
    apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 -o APT::Color=0 -o Acquire::Retries=3)
    install() { "${apt[@]}" install -y --no-install-recommends "${missing[@]}" | awk '
      /^(Need to get|Get:|Setting up)/ { print "  " substr($0, 1, 110); fflush() }'; }
    # Debian starts the servers that it installs; here they are only for tests, which start their own.
    if [ ! -e /usr/sbin/policy-rc.d ] && [[ " ${missing[*]} " == *" nginx "* || " ${missing[*]} " == *" postgresql "* ]]; then
      printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" install -m 755 /dev/stdin /usr/sbin/policy-rc.d
      trap '"${sudo[@]}" rm -f /usr/sbin/policy-rc.d' EXIT
    fi
    # The lists may be absent (a new image) or older than the archive (a package is gone): then, and only then, renew them.
    if ! apt-get install -s -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || ! install; then
      echo "deps: renewing the package lists"
      "${apt[@]}" update -q
      install
    fi
    ;;
  fedora) "${sudo[@]}" dnf install -y "${missing[@]}" ;;
  alpine) "${sudo[@]}" apk add "${missing[@]}" ;;
esac
for name in "${missing[@]}"; do
  installed "$name" || { echo "deps: $name is still missing" >&2; exit 1; }
done
echo "deps: ready"
