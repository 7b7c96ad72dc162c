// SPDX-License-Identifier: Apache-2.0
// Spans through the whole agent: a policy file, a slow call, what a sink gets and what status says.
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "agent/base/clock.h"
#include "tests/kernel/support/agent_test.h"
#include "tests/kernel/support/must.h"
#include "tests/kernel/support/span_test.h"
#include "tests/kernel/support/traits.h"

namespace sonde::test {
namespace {

// Nothing here depends on who runs the agent.
SONDE_TRAITS("AgentSpansTest.*", Trait::HostOnly);

constexpr uint64_t kDelay = 300'000'000;

class Kept final : public SpanSink {
 public:
  void consume(std::shared_ptr<const SpanBatch> batch) override {
    const std::lock_guard lock(mutex_);
    spans_.insert(spans_.end(), batch->spans.begin(), batch->spans.end());
  }
  std::vector<Span> spans() const {
    const std::lock_guard lock(mutex_);
    return spans_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<Span> spans_;
};

class AgentSpansTest : public AgentTest {
 protected:
  void SetUp() override {
    AgentTest::SetUp();
    only_ = "io";
    span_sinks_ = {&kept_};
  }

  // The kernel side only sends what it has tokens for: until then operations are counted as suppressed.
  bool traced(const Cgroup& box) {
    return await([&] {
      box.run([] { MUST(open("/nowhere/at/all", O_RDONLY | O_CLOEXEC) < 0); });
      return !kept_.spans().empty();
    });
  }
  std::vector<Span> slow() const {
    std::vector<Span> spans = kept_.spans();
    std::erase_if(spans, [](const Span& span) { return !span.error_type.empty(); });
    return spans;
  }
  // Opens that are as slow as a page that comes late. False: this kernel has no userfaultfd.
  static bool open_slowly(const Cgroup& box, int times) {
    const pid_t child = box.start([times] {
      prctl(PR_SET_NAME, "slow opener");
      for (int i = 0; i < times; ++i) {
        const SlowPage page("/dev/null", kDelay);
        MUST(open(page.data(), O_RDONLY | O_CLOEXEC) >= 0);
      }
    });
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) return false;
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
    return true;
  }
  static std::string traces_of(const Cgroup& box, const std::string& more) {
    return "cgroups: ['" + box.path() + "']\n  preset: None\n  traces: {mode: Enabled, " + more + "}";
  }

  Kept kept_;
};

TEST_F(AgentSpansTest, ASlowCallIsOneSpanUntilThePolicyGoes) {
  const Cgroup& box = cgroup("box");
  const Cgroup& other = cgroup("other");
  policy("slow", traces_of(box, "operations: [Open], errors: true"));
  policy("other", io_of(other.path()));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()) && measured(other.path()); }));
  ASSERT_TRUE(traced(box));
  const uint64_t before = realtime_ns();
  if (!open_slowly(box, 1)) GTEST_SKIP() << "this kernel has no userfaultfd";
  const uint64_t after = realtime_ns();
  ASSERT_TRUE(open_slowly(other, 1));
  ASSERT_TRUE(await_promised([&] { return !slow().empty(); }, 5));
  for (const Span& one : kept_.spans()) {
    EXPECT_EQ(one.operation, SpanOperation::Open);
    EXPECT_EQ(one.policy, "slow");
    EXPECT_TRUE(one.error_type.empty() || one.error_type == "ENOENT") << one.error_type;
  }
  ASSERT_EQ(slow().size(), 1U);
  const Span span = slow().front();
  EXPECT_GE(span.end_unix_ns - span.start_unix_ns, kDelay);
  EXPECT_GE(span.start_unix_ns + 50'000'000, before) << "clocks are read one after the other";
  EXPECT_LE(span.end_unix_ns, after + 50'000'000);
  EXPECT_EQ(span.comm, "slow opener");
  EXPECT_EQ(span.threshold, 0.1);
  ASSERT_TRUE(span.resource);
  const auto path = std::ranges::find(span.resource->attributes, "sonde.cgroup.path", &Attribute::key);
  ASSERT_NE(path, span.resource->attributes.end());
  EXPECT_EQ(std::get<std::string>(path->value), box.path());
  EXPECT_TRUE(await([&] { return status()["spans"]["recorded"] == kept_.spans().size(); })) << status()["spans"];
  EXPECT_EQ(shown(box.path(), "sonde.file.operation.duration").series, 0U) << "no metric was asked for";

  remove_policy("slow");
  ASSERT_TRUE(await([&] { return status()["policies"].size() == 1; }));
  ASSERT_TRUE(open_slowly(box, 1));
  policy("slow", traces_of(box, "operations: [Open], errors: true"));
  ASSERT_TRUE(await([&] { return status()["policies"].size() == 2; }));
  EXPECT_EQ(slow().size(), 1U) << "nothing while there was no policy";
  EXPECT_TRUE(await([&] { return open_slowly(box, 1) && slow().size() > 1; }));
}

TEST_F(AgentSpansTest, MoreThanTheLimitIsCountedAndTheNextSpanSaysSo) {
  const Cgroup& box = cgroup("box");
  policy("failing", traces_of(box, "operations: [Open], errors: true"));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  ASSERT_TRUE(traced(box));
  constexpr uint64_t kMany = 2000;
  const auto told = [&] {
    uint64_t sum = 0;
    for (const Span& span : kept_.spans()) sum += span.suppressed;
    return sum;
  };
  box.run([] {
    for (uint64_t i = 0; i < kMany; ++i) MUST(open("/nowhere/at/all", O_RDONLY | O_CLOEXEC) < 0);
  });
  ASSERT_TRUE(await([&] { return status()["spans"]["suppressed"] >= kMany - 60; })) << status()["spans"];
  EXPECT_LE(kept_.spans().size(), 60U);
  // One more when there is a token again.
  EXPECT_TRUE(await([&] {
    usleep(200'000);
    box.run([] { MUST(open("/nowhere/at/all", O_RDONLY | O_CLOEXEC) < 0); });
    return told() >= kMany - 60;
  })) << told();
  EXPECT_EQ(status()["spans"]["lost"]["buffer_full"], 0);
  EXPECT_EQ(status()["spans"]["lost"]["unknown_owner"], 0);
}

}  // namespace
}  // namespace sonde::test
