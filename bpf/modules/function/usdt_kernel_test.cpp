// SPDX-License-Identifier: Apache-2.0
// USDT probes of this very binary, with a semaphore and without, written as sys/sdt.h does: a nop, and a note that says where it
// is and where its arguments are.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "tests/kernel/support/function_test.h"

namespace {

// A counter in data that tracers raise: programs look at it before they make ready what the probe tells.
extern "C" {
__attribute__((section(".probes"), used, visibility("hidden"))) volatile unsigned short sonde_usdt_semaphore = 0;
}

#define USDT_PROBE(name, semaphore, first, second)                            \
  __asm__ volatile(                                                           \
      "990: nop\n"                                                            \
      ".pushsection .note.stapsdt,\"\",\"note\"\n"                            \
      ".balign 4\n"                                                           \
      ".4byte 992f-991f, 994f-993f, 3\n"                                      \
      "991: .asciz \"stapsdt\"\n"                                             \
      "992: .balign 4\n"                                                      \
      "993: .8byte 990b\n"                                                    \
      ".8byte _.stapsdt.base\n"                                               \
      ".8byte " semaphore                                                     \
      "\n"                                                                    \
      ".asciz \"sondetest\"\n"                                                \
      ".asciz \"" name                                                        \
      "\"\n"                                                                  \
      ".asciz \"-4@%0 8@%1\"\n"                                               \
      "994: .balign 4\n"                                                      \
      ".popsection\n"                                                         \
      ".ifndef _.stapsdt.base\n"                                              \
      ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
      ".weak _.stapsdt.base\n"                                                \
      ".hidden _.stapsdt.base\n"                                              \
      "_.stapsdt.base: .space 1\n"                                            \
      ".size _.stapsdt.base, 1\n"                                             \
      ".popsection\n"                                                         \
      ".endif\n"                                                              \
      :                                                                       \
      : "r"(first), "m"(second))

__attribute__((noinline)) void pass_plain(int bytes, unsigned long other) { USDT_PROBE("plain", "0", bytes, other); }

// One name at four places, as in PostgreSQL; they have the semaphore in common.
__attribute__((noinline)) void pass_many(int place, int bytes, unsigned long other) {
  if (!sonde_usdt_semaphore) return;
  switch (place) {
    case 0: USDT_PROBE("many", "sonde_usdt_semaphore", bytes, other); break;
    case 1: USDT_PROBE("many", "sonde_usdt_semaphore", bytes, other); break;
    case 2: USDT_PROBE("many", "sonde_usdt_semaphore", bytes, other); break;
    default: USDT_PROBE("many", "sonde_usdt_semaphore", bytes, other); break;
  }
}

__attribute__((noinline)) void pass_watched(int bytes, unsigned long other) {
  if (sonde_usdt_semaphore) USDT_PROBE("watched", "sonde_usdt_semaphore", bytes, other);
}

}  // namespace

namespace sonde::test {
namespace {

FunctionRequest usdt(const std::string& name, const std::string& probe, std::vector<std::string> measure,
                     int argument = 0) {
  FunctionRequest request;
  request.name = name;
  request.type = "USDT";
  request.path = own_path();
  request.symbol = probe;
  request.measure = std::move(measure);
  if (argument) request.bytes_argument = argument;
  return request;
}

TEST_F(FunctionTest, UsdtProbesAreCountedWithTheirArgumentsAndOnlyOfWhoIsAsked) {
  auto& box = cgroup("box");
  auto& other = cgroup("other");
  const auto work = [] {
    for (int i = 1; i <= 400; ++i) pass_plain(i, 7);
    for (int i = 0; i < 30; ++i) pass_watched(-1, 1000);
  };
  HeldProcess process(box, {work});
  HeldProcess unasked(other, {work});
  ask(box, {usdt("plain", "sondetest:plain", {"Calls", "Bytes"}, 1),
            usdt("watched", "sondetest:watched", {"Calls", "Bytes"}, 2),
            usdt("negative", "sondetest:watched", {"Calls", "Bytes"}, 1), usdt("gone", "sondetest:gone", {"Calls"})});
  ASSERT_TRUE(attached(box, 3)) << problems();
  EXPECT_EQ(report("gone").refusal, Refusal::SymbolNotFound);
  EXPECT_EQ(report("plain").hook, "uprobe");
  process.step(0);
  unasked.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"plain"}), 400);
  EXPECT_EQ(total(box, "sonde.function.bytes", {"plain"}), 400 * 401 / 2) << "in a register";
  EXPECT_EQ(total(box, "sonde.function.calls", {"watched"}), 30);
  EXPECT_EQ(total(box, "sonde.function.bytes", {"watched"}), 30'000) << "in memory";
  EXPECT_EQ(total(box, "sonde.function.calls", {"negative"}), 30);
  EXPECT_EQ(total(box, "sonde.function.bytes", {"negative"}), 0);
  EXPECT_EQ(losses("function", SONDE_LOSS_BAD_VALUE), 30U) << "-1 is no size";
  EXPECT_EQ(losses("function"), 30U);
  EXPECT_EQ(everything(other), 0U);
}

TEST_F(FunctionTest, AllPlacesOfAUsdtProbeCount) {
  auto& box = cgroup("box");
  HeldProcess process(box, {[] {
                        for (int place = 0; place < 4; ++place) {
                          for (int i = 0; i < 10 * (place + 1); ++i) pass_many(place, place + 1, 7);
                        }
                      }});
  ask(box, {usdt("many", "sondetest:many", {"Calls", "Bytes"}, 1)});
  ASSERT_TRUE(attached(box, 1)) << problems();
  process.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"many"}), 100);
  EXPECT_EQ(total(box, "sonde.function.bytes", {"many"}), 10 * 1 + 20 * 2 + 30 * 3 + 40 * 4);
  ask(box, {});
  EXPECT_TRUE(eventually([&] { return functions().attached() == 0; }));
  EXPECT_EQ(sonde_usdt_semaphore, 0) << "given back once for each place";
}

TEST_F(FunctionTest, UsdtWithoutAPathIsFoundInWhicheverFileHasIt) {
  auto& box = cgroup("box");
  auto& other = cgroup("other");
  const auto work = [] {
    for (int i = 1; i <= 40; ++i) pass_plain(i, 7);
  };
  HeldProcess process(box, {work});
  HeldProcess unasked(other, {work});
  FunctionRequest anywhere = usdt("anywhere", "sondetest:plain", {"Calls"});
  FunctionRequest nowhere = usdt("nowhere", "sondetest:gone", {"Calls"});
  anywhere.path.clear();
  nowhere.path.clear();
  ask(box, {anywhere, nowhere});
  ASSERT_TRUE(attached(box, 1)) << problems();
  EXPECT_EQ(functions().attached(), 1U) << "of all that is mapped, one file has it";
  EXPECT_EQ(report("nowhere").refusal, Refusal::FileNotFound);
  process.step(0);
  unasked.step(0);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"anywhere"}), 40);
  EXPECT_EQ(everything(other), 0U);
}

// The code of `pass_plain` in another file that carries this program: mapped as the loader would. Null if it cannot be.
using PassPlain = void (*)(int, unsigned long);
PassPlain pass_plain_of(const std::string& file) {
  const PassPlain volatile own = pass_plain;
  PassPlain wanted = own;
  uintptr_t address = 0;
  std::memcpy(&address, &wanted, sizeof(address));
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t begin = 0, end = 0;
    unsigned long offset = 0;
    char access[5] = {};
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " %4s %lx", &begin, &end, access, &offset) != 4) continue;
    if (address < begin || address >= end) continue;
    const Fd fd(open(file.c_str(), O_RDONLY | O_CLOEXEC));
    void* code = mmap(nullptr, end - begin, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd.get(), static_cast<off_t>(offset));
    if (code == MAP_FAILED) return nullptr;
    address = reinterpret_cast<uintptr_t>(code) + (address - begin);
    std::memcpy(&wanted, &address, sizeof(address));
    return wanted;
  }
  return nullptr;
}

TEST_F(FunctionTest, UsdtWithoutAPathCountsInEachFileThatHasIt) {
  TemporaryFiles files;
  const std::string copy = files.directory() + "/copy";
  ASSERT_TRUE(std::filesystem::copy_file(own_path(), copy));
  auto& box = cgroup("box");
  auto& other = cgroup("other");
  PassPlain copied = nullptr;
  const auto map = [&] {
    copied = pass_plain_of(copy);
    if (!copied) _exit(3);
  };
  const auto own = [] {
    for (int i = 0; i < 40; ++i) pass_plain(2, 7);
  };
  const auto others = [&] {
    for (int i = 0; i < 25; ++i) copied(3, 7);
  };
  HeldProcess process(box, {map, own, others});
  HeldProcess unasked(other, {map, own, others});
  process.step(0);
  unasked.step(0);
  FunctionRequest anywhere = usdt("anywhere", "sondetest:plain", {"Calls", "Bytes"}, 1);
  anywhere.path.clear();
  ask(box, {anywhere});
  ASSERT_TRUE(eventually([&] { return functions().attached() == 2; })) << functions().attached() << "\n" << problems();
  process.step(1);
  unasked.step(1);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"anywhere"}), 40);
  EXPECT_EQ(total(box, "sonde.function.bytes", {"anywhere"}), 40 * 2);
  process.step(2);
  unasked.step(2);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"anywhere"}), 40 + 25);
  EXPECT_EQ(total(box, "sonde.function.bytes", {"anywhere"}), 40 * 2 + 25 * 3);
  EXPECT_EQ(everything(other), 0U);
  EXPECT_EQ(losses("function"), 0U);
  ask(box, {});
  EXPECT_TRUE(eventually([&] { return functions().attached() == 0; }));
}

TEST_F(FunctionTest, AUsdtSemaphoreIsRaisedWhileSomebodyAsksAndNoLonger) {
  auto& box = cgroup("box");
  SharedNumber seen;
  HeldProcess process(box, {[&] { seen.set(sonde_usdt_semaphore); },
                            [] {
                              for (int i = 0; i < 5; ++i) pass_watched(1, 1);
                            }});
  const auto semaphore = [&] {
    process.step(0);
    return seen.get();
  };
  EXPECT_EQ(semaphore(), 0);
  process.step(1);
  ask(box, {usdt("watched", "sondetest:watched", {"Calls"})});
  ASSERT_TRUE(attached(box, 1)) << problems();
  EXPECT_EQ(semaphore(), 1);
  EXPECT_EQ(sonde_usdt_semaphore, 1) << "it is the file's: all processes that run it have it raised";
  process.step(1);
  collect();
  EXPECT_EQ(total(box, "sonde.function.calls", {"watched"}), 5) << "those before were not even passed";
  ask(box, {});
  EXPECT_TRUE(eventually([&] { return functions().attached() == 0; }));
  EXPECT_EQ(semaphore(), 0);
  EXPECT_EQ(sonde_usdt_semaphore, 0);
}

}  // namespace
}  // namespace sonde::test
