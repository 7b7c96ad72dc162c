// SPDX-License-Identifier: Apache-2.0
// Spans of calls on files: which are told, what they say, and what becomes of those that may not be sent.
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <filesystem>

#include "agent/base/clock.h"
#include "tests/kernel/support/io_test.h"
#include "tests/kernel/support/span_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

SONDE_TRAITS("IoFentrySpansTest.*", Trait::Equipment);

constexpr uint64_t kDelay = 1'000'000'000;
constexpr uint32_t kThreshold = 800'000;  // us: no fast call takes that long, even where the machine is emulated and busy
constexpr uint8_t kFlags = kIoStandard | IO_DETAIL;
constexpr int kFast = 20;

const std::map<sonde_span_operation, uint32_t> kSlow = {
    {SONDE_SPAN_READ, kThreshold},   {SONDE_SPAN_WRITE, kThreshold},  {SONDE_SPAN_OPEN, kThreshold},
    {SONDE_SPAN_RENAME, kThreshold}, {SONDE_SPAN_UNLINK, kThreshold}, {SONDE_SPAN_FSYNC, kThreshold}};

class IoSpansTest : public IoTest {
 protected:
  void SetUp() override {
    IoTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    spans_ = std::make_unique<Spans>(engine().module_object("io"));
  }
  void TearDown() override {
    spans_.reset();
    IoTest::TearDown();
  }
  Spans& spans() { return *spans_; }

  void slow_calls_are_one_span_each_and_fast_ones_none();
  void a_failure_is_one_where_it_is_asked_for();
  void without_tokens_they_are_counted_instead();

 private:
  std::unique_ptr<Spans> spans_;
};

class IoFentrySpansTest : public IoSpansTest {
 protected:
  const char* alternative() const override { return "fentry"; }
};

TEST_F(IoSpansTest, SlowCallsAreOneSpanEachAndFastOnesNone) { slow_calls_are_one_span_each_and_fast_ones_none(); }
TEST_F(IoSpansTest, AFailureIsOneWhereItIsAskedFor) { a_failure_is_one_where_it_is_asked_for(); }
TEST_F(IoSpansTest, WithoutTokensTheyAreCountedInstead) { without_tokens_they_are_counted_instead(); }
TEST_F(IoFentrySpansTest, AreTheSame) {
  slow_calls_are_one_span_each_and_fast_ones_none();
  if (IsSkipped()) return;
  a_failure_is_one_where_it_is_asked_for();
  without_tokens_they_are_counted_instead();
}

struct Measured {
  uint64_t before, after;
};

// As often as said, without delay, then once with it: read, write, open, rename, unlink. Times are of the slow ones.
void calls_of_each_kind(Measured* measured, const std::string& directory) {
  prctl(PR_SET_NAME, "slow caller");
  const int file = scratch_file(4096);
  const std::string path = directory + "/file", renamed = directory + "/renamed";
  std::array<char, 4096> data{};
  MUST(file >= 0);
  for (int i = 0; i < kFast; i++) {
    MUST(pread(file, data.data(), 4096, 0) == 4096 && pwrite(file, data.data(), 4096, 0) == 4096);
    const int made = open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    MUST(made >= 0 && close(made) == 0);
    MUST(rename(path.c_str(), renamed.c_str()) == 0 && unlink(renamed.c_str()) == 0);
  }
  const auto slow = [&](int place, const std::string& content, const auto& call) {
    const SlowPage page(content, kDelay);
    measured[place].before = monotonic_ns();
    const long result = call(page.data());
    measured[place].after = monotonic_ns();
    return result;
  };
  MUST(slow(0, "", [&](char* page) { return pread(file, page, 1000, 0); }) == 1000);
  MUST(slow(1, "", [&](char* page) { return pwrite(file, page, 500, 0); }) == 500);
  MUST(slow(2, path, [&](char* page) { return open(page, O_CREAT | O_WRONLY | O_CLOEXEC, 0600); }) >= 0);
  MUST(slow(3, path, [&](char* page) { return rename(page, renamed.c_str()); }) == 0);
  MUST(slow(4, renamed, [&](char* page) { return unlink(page); }) == 0);
}

void IoSpansTest::slow_calls_are_one_span_each_and_fast_ones_none() {
  void* memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* measured = static_cast<Measured*>(memory);
  std::string directory = "/dev/shm/sonde-spans-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  Cgroup& box = selected("slow", kFlags);
  Cgroup& unasked = selected("unasked", kFlags);  // measured, without spans
  Cgroup& unselected = cgroup("unselected");
  const uint32_t slot = slot_of(box);
  bool no_userfaultfd = false;
  spans().ask(slot, kSlow);
  for (const auto& at_once : {std::vector<const Cgroup*>{&unselected, &unasked}, {&box}}) {
    std::vector<pid_t> children;
    for (const Cgroup* one : at_once) {
      const std::string own = directory + "/" + std::to_string(children.size());
      ASSERT_TRUE(mkdir(own.c_str(), 0700) == 0);
      children.push_back(one->start([=] { calls_of_each_kind(measured, own); }));
    }
    for (std::size_t i = 0; i < children.size(); i++) {
      int status = -1;
      ASSERT_EQ(waitpid(children[i], &status, 0), children[i]);
      std::filesystem::remove_all(directory + "/" + std::to_string(i));
      if (WIFEXITED(status) && WEXITSTATUS(status) == 77) no_userfaultfd = true;
      ASSERT_TRUE(no_userfaultfd || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) << status;
    }
    if (no_userfaultfd) break;
    const std::vector<sonde_span> sent = spans().take();
    ASSERT_EQ(sent.size(), at_once.front() == &box ? 5U : 0U);
    const sonde_span_operation order[] = {SONDE_SPAN_READ, SONDE_SPAN_WRITE, SONDE_SPAN_OPEN, SONDE_SPAN_RENAME,
                                          SONDE_SPAN_UNLINK};
    for (std::size_t i = 0; i < sent.size(); i++) {
      const sonde_span& span = sent[i];
      EXPECT_EQ(span.operation, static_cast<uint32_t>(order[i]));
      EXPECT_EQ(span.slot, slot);
      EXPECT_GE(duration_of(span), kDelay);
      EXPECT_GE(span.start_ns, measured[i].before);
      EXPECT_LE(span.end_ns, measured[i].after);
      EXPECT_EQ(span.error, 0);
      EXPECT_EQ(span.threshold_us, kThreshold);
      EXPECT_EQ(span.suppressed, 0U);
      EXPECT_EQ(span.bytes, i == 0 ? 1000U : i == 1 ? 500U : 0U);
      EXPECT_EQ(span.direction, i == 0 ? SONDE_SPAN_READS : i == 1 ? SONDE_SPAN_WRITES : SONDE_SPAN_NO_DIRECTION);
      EXPECT_STREQ(span.comm, "slow caller");
      EXPECT_STREQ(span.leader_comm, "slow caller");
      EXPECT_EQ(span.tid, span.tgid);
      if (engine().features().first_pid_namespace) {
        EXPECT_EQ(span.tgid, static_cast<uint32_t>(children[0]));
      }
    }
  }
  munmap(memory, 4096);
  std::filesystem::remove_all(directory);
  if (no_userfaultfd) GTEST_SKIP() << "this kernel has no userfaultfd";
  EXPECT_EQ(spans().tokens(slot), 1'000'000 - 5);
  EXPECT_EQ(losses("io", SONDE_LOSS_SPAN), 0U);
}

void IoSpansTest::a_failure_is_one_where_it_is_asked_for() {
  Cgroup& box = selected("failing", kFlags);
  Cgroup& patient = selected("patient", kFlags);
  const auto work = [] {
    for (int i = 0; i < kFast; i++) MUST(open("/nowhere/at/all", O_RDONLY | O_CLOEXEC) < 0 && errno == ENOENT);
    MUST(fsync(-1) < 0);
    const int file = scratch_file(100);
    MUST(read(file, bad_address(), 10) < 0);
  };
  spans().ask(slot_of(box), kSlow, {SONDE_SPAN_OPEN, SONDE_SPAN_FSYNC});
  spans().ask(slot_of(patient), kSlow);
  patient.run(work);
  EXPECT_EQ(spans().take().size(), 0U);
  box.run(work);
  const auto sent = spans().take();
  ASSERT_EQ(sent.size(), std::size_t{kFast + 1});
  for (const sonde_span& span : sent) {
    const bool opens = &span != &sent.back();
    EXPECT_EQ(span.operation, static_cast<uint32_t>(opens ? SONDE_SPAN_OPEN : SONDE_SPAN_FSYNC));
    EXPECT_EQ(span.error, opens ? ENOENT : EBADF);
    EXPECT_LT(duration_of(span), uint64_t{kThreshold} * 1000);
    EXPECT_EQ(span.bytes, 0U);
  }
}

void fail_to_open(int times) {
  for (int i = 0; i < times; i++) MUST(open("/nowhere/at/all", O_RDONLY | O_CLOEXEC) < 0);
}

void IoSpansTest::without_tokens_they_are_counted_instead() {
  Cgroup& box = selected("many", kFlags);
  const uint32_t slot = slot_of(box);
  spans().ask(slot, kSlow, {SONDE_SPAN_OPEN}, 7);
  box.run([] { fail_to_open(100); });
  auto sent = spans().take();
  EXPECT_EQ(sent.size(), 7U);
  EXPECT_EQ(spans().suppressed(slot, SONDE_SPAN_OPEN), 93U);
  EXPECT_EQ(spans().tokens(slot), 0);
  // The node has none: none is taken of the slot.
  spans().give(slot, 5);
  spans().give(SONDE_SLOT_NODE, 0);
  box.run([] { fail_to_open(10); });
  EXPECT_EQ(spans().take().size(), 0U);
  EXPECT_EQ(spans().tokens(slot), 5);
  EXPECT_EQ(spans().tokens(SONDE_SLOT_NODE), 0);
  EXPECT_EQ(spans().suppressed(slot, SONDE_SPAN_OPEN), 103U);
  // The next one that is sent says how many were not.
  spans().give(SONDE_SLOT_NODE, 2);
  box.run([] { fail_to_open(3); });
  sent = spans().take();
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(sent[0].suppressed, 103U);
  EXPECT_EQ(sent[1].suppressed, 0U);
  EXPECT_EQ(spans().suppressed(slot, SONDE_SPAN_OPEN), 1U);
  spans().give(SONDE_SLOT_NODE, 1'000'000);
}

TEST_F(IoSpansTest, AnFsyncTakesAsLongAsItsHistogramSays) {
  Cgroup& box = selected("box", kFlags);
  spans().ask(slot_of(box), {{SONDE_SPAN_FSYNC, 1}});
  box.run([] {
    const int file = scratch_file(0, "/tmp");
    MUST(write(file, "data", 4) == 4 && fsync(file) == 0 && write(file, "more", 4) == 4 && fdatasync(file) == 0);
  });
  collect();
  const auto sent = spans().take();
  ASSERT_EQ(sent.size(), 2U);
  EXPECT_EQ(duration_of(sent[0]) + duration_of(sent[1]),
            histogram(box, "sonde.file.operation.duration", {"fsync"}).sum);
  EXPECT_EQ(sent[0].operation, static_cast<uint32_t>(SONDE_SPAN_FSYNC));
}

TEST_F(IoSpansTest, AFullRingIsALossForEach) {
  constexpr int kMany = 3000;  // a quarter of a MiB holds 1,927
  Cgroup& box = selected("box", kFlags);
  spans().ask(slot_of(box), kSlow, {SONDE_SPAN_OPEN});
  box.run([] { fail_to_open(kMany); });
  const std::size_t sent = spans().take().size();
  EXPECT_GT(sent, 1900U);
  EXPECT_LT(sent, 2000U);
  EXPECT_EQ(sent + losses("io", SONDE_LOSS_SPAN), std::size_t{kMany});
  EXPECT_EQ(spans().suppressed(slot_of(box), SONDE_SPAN_OPEN), 0U);
  collect();
  EXPECT_EQ(errors(box, "open", "ENOENT"), kMany) << "what it tells of is counted all the same";
  box.run([] { fail_to_open(1); });
  EXPECT_EQ(spans().take().size(), 1U);
}

// A process that gets a slot of its own has the thresholds of its container from its first call on.
TEST_F(IoSpansTest, AProcessHasTheThresholdsOfItsContainer) {
  Cgroup& box = cgroup("box");
  const uint32_t slot = select(box, {{"io", kFlags}}, 1, true);
  spans().ask(slot, kSlow, {SONDE_SPAN_OPEN});
  box.run([] { fail_to_open(kFast); });
  EXPECT_EQ(spans().take().size(), 0U) << "its slot has no tokens yet";
  EXPECT_EQ(spans().suppressed(slot, SONDE_SPAN_OPEN), 0U);
  uint64_t suppressed = 0;
  for (uint32_t other = 0; other < spans().slots(); other++) suppressed += spans().suppressed(other, SONDE_SPAN_OPEN);
  EXPECT_EQ(suppressed, uint64_t{kFast});
}

}  // namespace
}  // namespace sonde::test
