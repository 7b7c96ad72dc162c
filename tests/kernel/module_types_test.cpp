// SPDX-License-Identifier: Apache-2.0
// In the chart's pod, objects that ask for what this kernel does not have load all the same, as on the host.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>

#include "agent/kernel/module_types.h"
#include "tests/kernel/support/pod.h"
#include "tests/kernel/support/traits.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wshadow"
#include "absent.skel.h"
#pragma GCC diagnostic pop

namespace sonde::test {
namespace {

SONDE_TRAITS("ModuleTypesTest.*", Trait::PodEachKernel);

// What the program returns; below 0: it does not load.
int64_t load_and_run() {
  absent_bpf* object = absent_bpf__open();
  if (!object) return -1;
  pass_over_module_types(object->obj);
  LIBBPF_OPTS(bpf_test_run_opts, options);
  int64_t result = -2;
  if (absent_bpf__load(object) == 0) {
    result = bpf_prog_test_run_opts(bpf_program__fd(object->progs.absent), &options) ? -3 : options.retval;
  }
  absent_bpf__destroy(object);
  return result;
}

TEST(ModuleTypesTest, WhatTheKernelDoesNotHaveIsAbsentOnTheHost) { EXPECT_EQ(load_and_run(), 1); }

TEST(ModuleTypesTest, WhatTheKernelDoesNotHaveIsAbsentInThePod) {
  int64_t result = -4;
  Pod::get().run([&] { result = load_and_run(); });
  EXPECT_EQ(result, 1);
}

}  // namespace
}  // namespace sonde::test
