#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# libbpf 1.1 (Debian 12 ships 1.1.2) cannot load an object with a weak kfunc that the kernel lacks, unless it has CAP_SYS_ADMIN. A weak
# kfunc that is missing should read as null, and loading the program needs CAP_BPF and CAP_PERFMON only. But what vmlinux does
# not have, libbpf looks for in the types of kernel modules, and listing those is refused without CAP_SYS_ADMIN: bpf_object__load()
# then fails with EINVAL, "failed to iterate BTF objects". With CAP_SYS_ADMIN the same object loads. So a program that adapts to
# the kernel, as weak kfuncs are meant for, works as root and fails with fewer capabilities, and only on kernels that lack the kfunc.
# Needs root, clang, a C compiler, libelf and zlib headers, setpriv, and a kernel with BTF. Unpacks Debian's libbpf in a temporary folder.
set -euo pipefail
version=1:1.1.2-0+deb12u1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -qq -o APT::Sandbox::User=root "libbpf-dev=$version" >/dev/null
dpkg-deb -x libbpf-dev_*.deb debian
archive=$(echo debian/usr/lib/*/libbpf.a)

cat >ask.bpf.c <<'C'
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern void no_kernel_has_this(void) __ksym __weak;

SEC("raw_tp/sched_switch")
int ask(void *context)
{
	if (no_kernel_has_this)
		no_kernel_has_this();
	return 0;
}

char terms[] SEC("license") = "GPL";
C
cat >load.c <<'C'
#include <bpf/libbpf.h>
#include <stdio.h>

int main(void)
{
	struct bpf_object *object = bpf_object__open_file("ask.bpf.o", NULL);

	printf("bpf_object__load: %d\n", object ? bpf_object__load(object) : -1);
	return 0;
}
C
clang=$(command -v clang-14 || command -v clang)
"$clang" -g -O2 -target bpf -idirafter "/usr/include/$(uname -m)-linux-gnu" -Idebian/usr/include -c ask.bpf.c -o ask.bpf.o
cc -Idebian/usr/include load.c "$archive" -lelf -lz -o load

failed=0
expect() {  # WHAT PATTERN COMMAND…
  local what=$1 pattern=$2 got
  shift 2
  got=$("$@" 2>&1 || true)
  printf '%s:\n' "$what"
  printf '%s\n' "$got" | sed 's/^/  /'
  grep -q "$pattern" <<<"$got" || { echo "  it was \"$pattern\" when this was written"; failed=1; }
}
echo "libbpf $version, Linux $(uname -r)"
expect "as root" 'bpf_object__load: 0' ./load
expect "as root without CAP_SYS_ADMIN" 'failed to iterate BTF objects' setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin ./load
exit $failed
