// SPDX-License-Identifier: Apache-2.0
// What a data point costs on its way from a drained delta to bytes of an OTLP request, and what a container costs in
// memory, over the number of containers. Prints a table; --json FILE writes the same.
// Times are CPU time of the thread, page faults included: others on the machine do not count.
//   bench_pipeline [--json FILE] [--rounds N]
#include <sonde/abi.h>
#include <spdlog/fmt/fmt.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "agent/base/clock.h"
#include "agent/export/otlp_encoder.h"
#include "agent/pipeline/aggregator.h"
#include "agent/pipeline/bounded_queue.h"

namespace sonde {
namespace {

constexpr int kCounters = 35;
constexpr int kHistograms = 15;
constexpr int kSeries = kCounters + kHistograms;

// 50 series, as preset Standard has: 10 counters with up to five attribute values, 5 histograms with three.
class BenchModule final : public Module {
 public:
  BenchModule() {
    for (int i = 0; i < 15; ++i) names_.push_back(fmt::format("sonde.bench.metric{}", i));
    for (int i = 0; i < 15; ++i) {
      metrics_.push_back({.name = names_[i],
                          .unit = i < 10 ? "By" : "s",
                          .instrument = i < 10 ? Instrument::Counter : Instrument::Histogram,
                          .level = Level::Standard,
                          .attributes = kAttributes});
    }
    static constexpr std::string_view kValues[] = {"read", "write", "fsync", "open"};
    for (int i = 0; i < kCounters; ++i) {
      series_.push_back({.metric = static_cast<uint8_t>(i % 10), .values = {kValues[i / 10]}});
    }
    for (int i = 0; i < kHistograms; ++i) {
      series_.push_back({.metric = static_cast<uint8_t>(10 + i % 5),
                         .source = Source::Histogram,
                         .values = {kValues[i / 5]},
                         .scale = 1e-9});
    }
    info_.name = "bench";
    info_.metrics = metrics_;
    info_.series = series_;
  }
  const ModuleInfo& info() const override { return info_; }

 private:
  static constexpr AttributeSpec kAttributes[] = {{"sonde.file.operation", "read, write, fsync, open"}};
  std::vector<std::string> names_;
  std::vector<MetricSpec> metrics_;
  std::vector<SeriesSpec> series_;
  ModuleInfo info_;
};

struct Figures {
  uint64_t subjects = 0;
  double collect_ns = 0;  // per point
  double emit_ns = 0;
  double encode_ns = 0;
  double begin_ns = 0;     // per subject: a snapshot in which each has changed hands once
  double state_bytes = 0;  // per subject: accumulators, names
  double batch_bytes = 0;  // per subject: while a batch is alive
  double wire_bytes = 0;   // per point, before compression
};

class Bench {
 public:
  explicit Bench(uint64_t subjects) : subjects_(subjects) {
    static const BenchModule module;
    entries_ = {{&module, {}}};
    auto identity = std::make_shared<IdentitySnapshot>();
    auto policy = std::make_shared<PolicySnapshot>();
    auto decision = std::make_shared<Decision>();
    decision->selected = true;
    decision->period_ms = 1000;
    decision->series_per_node = 1'000'000;
    decision->probes.push_back({Level::Standard, ~uint64_t{0}, 1, 0xff});
    decision->pod_labels = {"app.kubernetes.io/name"};
    for (uint64_t i = 0; i < subjects; ++i) {
      identity->slots[slot(i)].subject = subject(i);
      policy->slots[slot(i)] = decision;
    }
    identity_ = identity;
    policy_ = policy;
    for (uint16_t i = 0; i < 6; ++i) buckets_.push_back({static_cast<uint16_t>(60 + 4 * i), 100u + i});
  }

  Figures run(int rounds) {
    Figures figures{.subjects = subjects_};
    const double before = resident();
    Aggregator aggregator({.modules = entries_, .max_series = 1'000'000});
    const double points = static_cast<double>(subjects_ * kSeries);
    uint64_t started = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    aggregator.begin_collection(identity_, policy_, now_);
    figures.begin_ns =
        static_cast<double>(clock_ns(CLOCK_THREAD_CPUTIME_ID) - started) / static_cast<double>(subjects_);
    drain(aggregator, 0);
    aggregator.end_collection(now_);
    figures.state_bytes = (resident() - before) / static_cast<double>(subjects_);

    std::vector<double> collect, emit, encode;
    OtlpEncoder encoder({});
    for (int round = 1; round <= rounds; ++round) {
      now_ = {now_.boot_ns + 1'000'000'000, now_.real_ns + 1'000'000'000};
      started = clock_ns(CLOCK_THREAD_CPUTIME_ID);
      aggregator.begin_collection(identity_, policy_, now_);
      drain(aggregator, round);
      aggregator.end_collection(now_);
      collect.push_back(static_cast<double>(clock_ns(CLOCK_THREAD_CPUTIME_ID) - started) / points);

      started = clock_ns(CLOCK_THREAD_CPUTIME_ID);
      const BatchPtr batch = aggregator.emit(now_);
      emit.push_back(static_cast<double>(clock_ns(CLOCK_THREAD_CPUTIME_ID) - started) / points);
      if (!batch || batch->points.size() != subjects_ * kSeries) {
        fmt::print(stderr, "wrong number of points: {}\n", batch ? batch->points.size() : 0);
        std::exit(1);
      }
      figures.batch_bytes = static_cast<double>(batch_memory(*batch)) / static_cast<double>(subjects_);

      started = clock_ns(CLOCK_THREAD_CPUTIME_ID);
      uint64_t wire = 0;
      for (BatchCursor at; !at_end(*batch, at);) wire += encoder.encode(*batch, at).bytes.size();
      encode.push_back(static_cast<double>(clock_ns(CLOCK_THREAD_CPUTIME_ID) - started) / points);
      figures.wire_bytes = static_cast<double>(wire) / points;
    }
    figures.collect_ns = median(collect);
    figures.emit_ns = median(emit);
    figures.encode_ns = median(encode);
    return figures;
  }

 private:
  static uint32_t slot(uint64_t i) { return static_cast<uint32_t>(SONDE_FIRST_FREE_SLOT + i); }
  static double resident() { return static_cast<double>(read_process_stats().resident_bytes); }
  static double median(std::vector<double>& values) {
    std::ranges::nth_element(values, values.begin() + static_cast<long>(values.size() / 2));
    return values[values.size() / 2];
  }

  static SubjectPtr subject(uint64_t i) {
    auto made = std::make_shared<Subject>();
    made->kind = SubjectKind::Container;
    made->cgroup_id = 1000 + i;
    made->cgroup_path =
        fmt::format("/kubepods.slice/kubepods-burstable.slice/pod{}/cri-containerd-{:064x}.scope", i, i);
    made->container_id = fmt::format("{:064x}", i);
    made->pod_uid = fmt::format("0f0f0f0f-0000-4000-8000-{:012x}", i / 3);
    made->namespace_name = fmt::format("team-{}", i % 20);
    made->pod_name = fmt::format("checkout-service-7d9f8b6c5-{:05x}", i / 3);
    made->container_name = fmt::format("container-{}", i % 3);
    made->node_name = "node-17.example.internal";
    made->owners = {{"ReplicaSet", "checkout-service-7d9f8b6c5"}, {"Deployment", "checkout-service"}};
    made->pod_labels = {{"app.kubernetes.io/name", "checkout"}};
    return made;
  }

  void drain(Aggregator& aggregator, int round) {
    for (uint64_t i = 0; i < subjects_; ++i) {
      for (uint16_t s = 0; s < kCounters; ++s) aggregator.counter(slot(i), {0, s, 0}, 4096 + s);
      const uint16_t shift = static_cast<uint16_t>((i + static_cast<uint64_t>(round)) % 4);
      for (BucketDelta& bucket : buckets_) bucket.bucket = static_cast<uint16_t>(bucket.bucket / 4 * 4 + shift);
      for (uint16_t s = kCounters; s < kSeries; ++s) {
        aggregator.histogram(slot(i), {0, s, 0}, {615, 123'456'789, buckets_});
      }
    }
  }

  const uint64_t subjects_;
  std::vector<ModuleEntry> entries_;
  std::shared_ptr<const IdentitySnapshot> identity_;
  std::shared_ptr<const PolicySnapshot> policy_;
  std::vector<BucketDelta> buckets_;
  Now now_ = Now::read();
};

// In a process of its own, so that one size does not warm the memory of the next.
Figures run_alone(uint64_t subjects, int rounds) {
  int pipe_fds[2];
  if (::pipe(pipe_fds) != 0) std::exit(1);
  const pid_t child = ::fork();
  if (child == 0) {
    const Figures figures = Bench(subjects).run(rounds);
    const bool written = ::write(pipe_fds[1], &figures, sizeof(figures)) == sizeof(figures);
    ::_exit(written ? 0 : 1);
  }
  ::close(pipe_fds[1]);
  Figures figures;
  const bool good = ::read(pipe_fds[0], &figures, sizeof(figures)) == sizeof(figures);
  ::close(pipe_fds[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (!good || status != 0) {
    fmt::print(stderr, "the run with {} subjects failed\n", subjects);
    std::exit(1);
  }
  return figures;
}

void print(const std::vector<Figures>& all, const std::string& json) {
  fmt::print("{:>9} {:>11} {:>9} {:>9} {:>9} {:>12} {:>13} {:>12} {:>11}\n", "subjects", "collect ns", "emit ns",
             "encode ns", "sum ns", "M points/s", "state B/subj", "batch B/subj", "wire B/pt");
  std::string rows;
  for (const Figures& f : all) {
    const double sum = f.collect_ns + f.emit_ns + f.encode_ns;
    fmt::print("{:>9} {:>11.1f} {:>9.1f} {:>9.1f} {:>9.1f} {:>12.2f} {:>13.0f} {:>12.0f} {:>11.1f}\n", f.subjects,
               f.collect_ns, f.emit_ns, f.encode_ns, sum, 1000.0 / sum, f.state_bytes, f.batch_bytes, f.wire_bytes);
    rows += fmt::format(
        "{}\n  {{\"subjects\": {}, \"series\": {}, \"collect_ns\": {:.1f}, \"emit_ns\": {:.1f}, \"encode_ns\": {:.1f}, "
        "\"points_per_second\": {:.0f}, \"snapshot_ns_per_subject\": {:.0f}, \"state_bytes_per_subject\": {:.0f}, "
        "\"batch_bytes_per_subject\": {:.0f}, \"wire_bytes_per_point\": {:.1f}}}",
        rows.empty() ? "" : ",", f.subjects, f.subjects * kSeries, f.collect_ns, f.emit_ns, f.encode_ns, 1e9 / sum,
        f.begin_ns, f.state_bytes, f.batch_bytes, f.wire_bytes);
  }
  if (!json.empty()) std::ofstream(json) << "{\"pipeline\": [" << rows << "\n]}\n";
}

}  // namespace
}  // namespace sonde

int main(int argc, char** argv) {
  std::string json;
  int rounds = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::strcmp(argv[i], "--json") == 0) json = argv[i + 1];
    if (std::strcmp(argv[i], "--rounds") == 0) rounds = std::atoi(argv[i + 1]);
  }
  std::vector<sonde::Figures> all;
  for (const uint64_t subjects : {10, 100, 1000, 10'000}) {
    const int own = rounds > 0 ? rounds : static_cast<int>(std::clamp<uint64_t>(100'000 / subjects, 9, 2000));
    all.push_back(sonde::run_alone(subjects, own));
  }
  sonde::print(all, json);
}
