// SPDX-License-Identifier: Apache-2.0
// Where a kernel test runs, other than once on the host: declared next to the test, so that no script names one.
//   SONDE_TRAITS("ThreadTimeTest.*", Trait::PodView, Trait::Preemption);
// Runs are selected by two environment variables, in addition to --gtest_filter:
//   SONDE_TEST_SELECT=preemption,equipment   only tests that have one of these traits
//   SONDE_TEST_AS_POD=1                      no tests that have Trait::HostOnly
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>

namespace sonde::test {

enum class Trait : uint8_t {
  // host-only: never as the chart's pod; a comment says why.
  HostOnly,
  // pod-view: looks at the machine (threads, sockets, open files, CPUs, cgroup files, symbols) instead of waiting for events.
  // Where time is short, only these run again as the chart's pod.
  PodView,
  // pod-each-kernel: what it sees as the pod differs between kernel versions. Where time is shortest, only these run again.
  PodEachKernel,
  // preemption: on the paths of system calls, switches and locks, or sensitive to lost updates; runs with preempt=full as well.
  Preemption,
  // equipment: needs fentry, kprobes or v2 controllers, which many kernels do not have; runs on every kernel that has them.
  Equipment,
};

// `pattern` is a glob on Suite.Test, without the prefix of a parameterized suite. One that matches no test ends the run.
struct DeclaredTraits {
  DeclaredTraits(std::string pattern, std::initializer_list<Trait> traits);
};

// Sets gtest's filter to what the environment selects; after InitGoogleTest. Returns what is wrong, or nothing.
std::string apply_traits();

}  // namespace sonde::test

#define SONDE_TRAITS_NAME_(number) declared_traits_##number
#define SONDE_TRAITS_NAME(number) SONDE_TRAITS_NAME_(number)
#define SONDE_TRAITS(pattern, ...)                                                             \
  [[maybe_unused]] static const ::sonde::test::DeclaredTraits SONDE_TRAITS_NAME(__COUNTER__) { \
    pattern, { __VA_ARGS__ }                                                                   \
  }
