// SPDX-License-Identifier: Apache-2.0
#include "tests/kernel/support/kernel_test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "agent/base/clock.h"
#include "agent/identity/members.h"
#include "tests/kernel/support/pod.h"

namespace sonde::test {
namespace {

std::string joined(std::string_view metric, const AttributeValues& values) {
  std::string name(metric);
  for (const auto value : values) {
    if (!value.empty()) name += "|" + std::string(value);
  }
  return name;
}

std::string name_of(std::span<const ModuleEntry> modules, SeriesId id) {
  const Module& module = *modules[id.module].module;
  const ModuleInfo& info = module.info();
  const SeriesSpec& series = info.series[id.series];
  if (is_keyed(series.source)) {
    const uint32_t key = id.cell ? id.cell - 1 : kOtherCells;
    const CellSeries cell = series.source == Source::Cells       ? module.decode_cell(key)
                            : series.source == Source::ReadKeyed ? module.decode_read(key)
                                                                 : module.decode_keyed(key);
    return joined(info.metrics[cell.metric].name, cell.values);
  }
  return joined(info.metrics[series.metric].name, series.values);
}

std::string joined(const std::string& metric, const std::vector<std::string>& values) {
  std::string name = metric;
  for (const auto& value : values) name += "|" + value;
  return name;
}

// A child holds copies of the engine's links, which would keep programs attached after the engine has let go of them.
void close_bpf_links() {
  for (int fd = 3; fd < 1024; ++fd) {
    std::array<char, 64> target{};
    const auto name = "/proc/self/fd/" + std::to_string(fd);
    if (readlink(name.c_str(), target.data(), target.size() - 1) < 0) continue;
    if (std::string_view(target.data()).starts_with("anon_inode:bpf")) ::close(fd);
  }
}

}  // namespace

std::string cgroup_root() {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string device, directory, type;
    words >> device >> directory >> type;
    if (type == "cgroup2") return directory;
  }
  return "/sys/fs/cgroup";
}

Cgroup::Cgroup(std::string path) : path_(std::move(path)) {
  made_ = std::filesystem::create_directories(directory());
  struct stat status {};
  if (stat(directory().c_str(), &status) == 0) id_ = status.st_ino;
}

std::string Cgroup::directory() const { return cgroup_root() + path_; }

Cgroup::~Cgroup() { remove(); }

void Cgroup::remove() {
  if (!id_ || !made_) return;
  std::ifstream procs(directory() + "/cgroup.procs");
  for (pid_t pid; procs >> pid;) kill(pid, SIGKILL);
  for (int i = 0; i < 200; ++i) {
    if (rmdir(directory().c_str()) == 0) break;
    usleep(10'000);
  }
  id_ = 0;
}

pid_t Cgroup::start(const std::function<void()>& work) const {
  int gate[2];
  if (pipe2(gate, O_CLOEXEC)) return -1;
  // The child says by memory that it waits, and waits by poll(): it is moved in no call that a test might count.
  void* memory = mmap(nullptr, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -1;
  int* waits = static_cast<int*>(memory);
  const pid_t child = fork();
  if (child == 0) {
    ::close(gate[1]);
    close_bpf_links();
    pollfd opened{gate[0], POLLIN, 0};
    __atomic_store_n(waits, 1, __ATOMIC_RELEASE);
    if (poll(&opened, 1, -1) != 1 || !(opened.revents & POLLIN)) _exit(99);
    ::close(gate[0]);
    work();
    _exit(::testing::Test::HasFailure() ? 98 : 0);
  }
  ::close(gate[0]);
  while (!__atomic_load_n(waits, __ATOMIC_ACQUIRE)) usleep(100);
  munmap(waits, sizeof(int));
  std::ofstream(directory() + "/cgroup.procs") << child << std::flush;
  const ssize_t written = write(gate[1], "g", 1);
  ::close(gate[1]);
  EXPECT_EQ(written, 1);
  return child;
}

void Cgroup::run(const std::function<void()>& work) const {
  const pid_t child = start(work);
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
}

void Totals::counter(uint32_t slot, SeriesId id, uint64_t delta) {
  values[slot][name_of(modules, id)] += static_cast<int64_t>(delta);
}

EngineOptions only(const std::string& module) {
  EngineOptions options;
  for (const ModuleEntry& entry : modules()) {
    if (entry.module->info().name != module) options.disabled_modules.emplace(entry.module->info().name);
  }
  return options;
}

void Totals::gauge(uint32_t slot, SeriesId id, int64_t value) { values[slot][name_of(modules, id)] = value; }

void Totals::histogram(uint32_t slot, SeriesId id, const HistogramDelta& delta) {
  auto& histogram = histograms[slot][name_of(modules, id)];
  histogram.count += delta.count;
  histogram.sum += delta.sum;
  for (const auto& bucket : delta.buckets) histogram.buckets[bucket.bucket] += bucket.count;
}

void KernelTest::SetUp() {
  if (geteuid() != 0) GTEST_SKIP() << "BPF programs can only be loaded by root";
  const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
  prefix_ = "/sonde-test-" + std::to_string(getpid()) + "-" + info->name();
  for (char& c : prefix_) {
    if (c == '/' && &c != prefix_.data()) c = '-';
  }
  EngineOptions wanted = options();
  if (Pod::wanted()) {
    wanted.proc_root = Pod::get().proc_root();
    wanted.cgroup_root = wanted.cgroup_root.empty() ? Pod::get().cgroup_root() : Pod::get().inside(wanted.cgroup_root);
    // As the agent's; cgroup.procs shows zeros there.
    wanted.members = [cgroups = Pod::get().cgroup_root(), proc = wanted.proc_root](const std::string& path) {
      auto pids = Members({.cgroup_root = cgroups, .proc_root = proc}).pids(path);
      return pids ? std::move(pids->pids) : std::vector<uint32_t>();
    };
  }
  as_agent([&] {
    auto engine = Engine::start(wanted);
    ASSERT_TRUE(engine) << engine.error().message();
    engine_ = std::move(*engine);
  });
  ASSERT_TRUE(engine_);
  totals_.modules = wanted.modules;
}

void KernelTest::as_agent(const std::function<void()>& work) const {
  if (Pod::wanted()) {
    Pod::get().run(work);
  } else {
    work();
  }
}

void KernelTest::watch_programs(uint64_t now_ns) {
  as_agent([&] { engine_->watch_programs(now_ns); });
}

void KernelTest::sync_programs() {
  as_agent([&] { engine_->sync_programs(); });
}

void KernelTest::TearDown() {
  cgroups_.clear();
  engine_.reset();
}

Cgroup& KernelTest::cgroup(const std::string& name) {
  cgroups_.push_back(std::make_unique<Cgroup>(prefix_ + "-" + name));
  return *cgroups_.back();
}

uint16_t KernelTest::module_id(const std::string& name) { return static_cast<uint16_t>(find_module(name)); }

uint32_t KernelTest::select(const Cgroup& cgroup, const std::map<std::string, uint8_t>& flags_by_module,
                            uint16_t sample, bool per_process) {
  auto slot = engine_->slots().enter(cgroup.id(), 0, cgroup.path(), SONDE_KIND_CONTAINER);
  EXPECT_TRUE(slot);
  if (!slot) return 0;
  SlotSetting setting;
  setting.per_process = per_process;
  for (const auto& [name, flags] : flags_by_module) {
    setting.flags[module_id(name)] = flags;
    setting.sample[module_id(name)] = sample;
  }
  as_agent([&] {
    engine_->configure(*slot, setting);
    engine_->sync_programs();
  });
  return *slot;
}

uint32_t KernelTest::slot_of(const Cgroup& cgroup) {
  sonde_subject entry{};
  return engine_->slots().find(cgroup.id(), entry) ? entry.slot : 0;
}

void KernelTest::collect(bool gauges) {
  collection_began_ns_ = boottime_ns();
  as_agent([&] { engine_->collect(totals_, cleanup_ == Cleanup::Clear ? ~0U : 0U, gauges); });
}

void KernelTest::release(uint32_t slot) {
  SlotLives& lives = engine_->lives();
  for (const auto kind : {SlotEventKind::Assigned, SlotEventKind::Selected}) lives.advance(slot, {kind});
  ASSERT_TRUE(lives.advance(slot, {SlotEventKind::Gone}).release);
  as_agent([&] { EXPECT_TRUE(engine_->release(slot)); });
  lives.advance(slot, {SlotEventKind::Unlinked, boottime_ns()});
}

void KernelTest::collect_released() {
  collection_began_ns_ = boottime_ns();
  as_agent([&] { engine_->collect_released(totals_, 0); });
}

std::vector<uint32_t> KernelTest::drained() {
  std::vector<uint32_t> slots;
  for (const uint32_t slot : engine_->lives().in(SlotStage::Released)) {
    if (!engine_->lives().advance(slot, {SlotEventKind::CollectionEnded, collection_began_ns_}).empty_rows) continue;
    engine_->empty_rows(slot);
    slots.push_back(slot);
  }
  return slots;
}

void KernelTest::give_back(uint32_t slot) {
  engine_->lives().advance(slot, {SlotEventKind::CollectionEnded, boottime_ns()});
  ASSERT_TRUE(engine_->lives().advance(slot, {SlotEventKind::CollectionBegan}).give_back);
  engine_->give_back(slot);
}

int64_t KernelTest::total(const Cgroup& cgroup, const std::string& metric, const std::vector<std::string>& values) {
  return totals_.values[slot_of(cgroup)][joined(metric, values)];
}

Totals::Histogram KernelTest::histogram(const Cgroup& cgroup, const std::string& metric,
                                        const std::vector<std::string>& values) {
  return totals_.histograms[slot_of(cgroup)][joined(metric, values)];
}

uint64_t KernelTest::everything(const Cgroup& cgroup) {
  uint64_t sum = 0;
  const uint32_t slot = slot_of(cgroup);
  for (const auto& [name, value] : totals_.values[slot]) sum += static_cast<uint64_t>(value);
  for (const auto& [name, value] : totals_.histograms[slot]) sum += value.count;
  return sum;
}

uint64_t KernelTest::losses(const std::string& module) {
  uint64_t sum = 0;
  const auto all = engine_->losses();  // by value: a loop over a part of it would outlive it
  for (const uint64_t n : all[module_id(module)]) sum += n;
  return sum;
}

uint64_t KernelTest::losses(const std::string& module, int reason) {
  return engine_->losses()[module_id(module)][static_cast<std::size_t>(reason)];
}

bool eventually(const std::function<bool()>& condition, double seconds) {
  const uint64_t until = monotonic_ns() + static_cast<uint64_t>(seconds * 1e9);
  while (!condition()) {
    if (monotonic_ns() > until) return false;
    usleep(5'000);
  }
  return true;
}

uint64_t scaled(uint64_t events) {
  const char* limit = std::getenv("SONDE_TEST_EVENTS");
  return limit ? std::min<uint64_t>(events, std::strtoull(limit, nullptr, 10)) : events;
}

}  // namespace sonde::test
