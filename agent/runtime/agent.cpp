// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/agent.h"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <random>

#include "agent/api/http_pool.h"
#include "agent/base/clock.h"
#include "agent/base/code_pages.h"
#include "agent/base/duration.h"
#include "agent/base/text.h"
#include "agent/config/settings.h"
#include "agent/identity/cgroup_root.h"
#include "agent/runtime/cluster_options.h"
#include "agent/runtime/documents.h"
#include "agent/runtime/explain.h"
#include "agent/runtime/kernel_stats.h"
#include "agent/runtime/pod_names.h"
#include "agent/runtime/policy_reports.h"
#include "agent/runtime/status.h"

namespace sonde {
namespace {

constexpr uint64_t kPoliciesEvery = kSecond;           // where no descriptor tells of changes, and for activeForSeconds
constexpr uint64_t kStatusFresh = 500 * kMillisecond;  // so old it may be for whoever asks
constexpr uint64_t kStatusWait = kSecond;              // so long an asker waits for a newer one
// What the kernel side does wakes the loop; slots of processes, which come in numbers, wait for its next turn.
constexpr uint64_t kLongestWait = kSecond;
constexpr uint64_t kStuckAfter = 60 * kSecond;  // a loop that has not turned for so long is not alive
constexpr uint64_t kLastFlush = 5 * kSecond;
constexpr uint64_t kTurnEvery = 20 * kMillisecond;  // nobody counts between the old agent's last look and our first
constexpr uint64_t kTellEvery = 2 * kSecond;        // what the SondeNode is to say; when it is written is decided there

// Empty where the configuration names no directory.
std::string lock_file(const Config& config, const char* name) {
  return config.state_directory.empty() ? "" : config.state_directory + "/" + name;
}

}  // namespace

Agent::Agent(AgentOptions options)
    : options_(std::move(options)),
      counting_(lock_file(config_, "counting.lock")),
      writing_(lock_file(config_, "writing.lock")),
      status_(std::make_shared<const Status>()) {}

Agent::~Agent() {
  servers_.reset();  // first: its handlers ask the rest
  control_.reset();  // it asks the table of pods for names
}

Result<std::unique_ptr<Agent>> Agent::start(AgentOptions options) {
  std::unique_ptr<Agent> agent(new Agent(std::move(options)));
  if (auto begun = agent->begin(); !begun) return begun.error();
  return agent;
}

AggregatorOptions Agent::aggregator_options(const std::string& host) const {
  AggregatorOptions options;
  options.modules = sonde::modules();
  options.resource.host_name = host;
  options.resource.node_name = config_.node_name;
  options.resource.cluster_name = config_.cluster_name;
  for (const auto& [key, value] : config_.resource_attributes) add_attribute(options.resource.extra, key, value);
  options.attached_ns = started_ns_;
  options.not_before_ns = boottime_ns();
  options.node_period_ms = static_cast<uint32_t>(config_.interval_ns / kMillisecond);
  // Nodes that start together must not send together. Short intervals are for people, who want no surprise.
  if (config_.interval_ns >= 10 * kSecond) options.phase_ns = std::random_device{}() % config_.interval_ns;
  options.may_return = [this](const Subject& subject, StreamScope scope) {
    return control_->may_return(subject, scope == StreamScope::Workload);
  };
  options.max_slots = config_.limits.slots;
  options.max_series =
      std::max<std::size_t>(options.max_series, static_cast<std::size_t>(config_.ceilings.series_per_node));
  return options;
}

Result<void> Agent::begin() {
  epoll_ = Fd(epoll_create1(EPOLL_CLOEXEC));
  auto root = find_cgroup_root({.configured = config_.cgroup_root, .proc_root = config_.proc_root});
  if (!root) return root.error();
  cgroup_root_ = root->path;
  proc_root_ = config_.proc_root;
  members_.emplace(MembersOptions{.cgroup_root = root->path, .proc_root = config_.proc_root});

  sandboxed_.emplace(*members_, proc_root_);

  ControlOptions control;
  control.cgroup_root = root->path;
  control.proc_root = config_.proc_root;
  auto target = named_target(Proc(config_.proc_root), root->path, config_.target.pid, config_.target.comm);
  if (!target) return target.error();
  control.target = std::move(*target);
  auto policies = Policies::open(config_);
  if (!policies) return policies.error();
  policies_ = std::move(*policies);

  if (auto joined = join_cluster(); !joined) return joined.error();
  note_exclusion(policies_->all(), resolve_context());
  if (!excluded_by_.empty()) return {};
  if (const auto rebooted = guard_.obstacle()) return Error(rebooted->message);
  if (auto noted = guard_.attaching(); !noted) {
    spdlog::warn("the guard against a node that goes down when the agent starts is off: {}", noted.error().message());
  }
  auto engine = Engine::start(engine_options());
  if (!engine) return engine.error();
  engine_ = std::move(*engine);
  started_ns_ = boottime_ns();
  if (config_.duration_ns) end_ns_ = started_ns_ + config_.duration_ns;
  names_ = pods_.get();
  control.names = names_;
  self_ = std::make_unique<SelfMetrics>(Now::read());
  auto outputs = Outputs::open(config_, &self_->export_duration);
  if (!outputs) return outputs.error();
  outputs_ = std::move(*outputs);
  counting_.follow(boottime_ns());
  self_->start_at(Now::read());
  aggregator_ = std::make_unique<Aggregator>(aggregator_options(host_name()), self_.get());
  auto sinks = options_.span_sinks;
  sinks.push_back(outputs_.get());
  spans_ = std::make_unique<SpanFeed>(engine_->spans(), aggregator_options(host_name()).resource, std::move(sinks));
  failures_ = std::make_unique<Failures>(sonde::modules().size(), options_.backoff);
  overhead_ = std::make_unique<Overhead>(*engine_, config_.overhead.milli_cpu);
  FunctionsOptions functions;
  functions.cgroup_root = root->path;
  functions.proc_root = config_.proc_root;
  functions_ = std::make_unique<Functions>(*engine_, std::move(functions));
  control_ = std::make_unique<Control>(*engine_, std::move(control));
  add_self_metrics();
  writing_.follow(boottime_ns());
  follow_policies(true);
  functions_->update(control_->identity(), control_->decisions());
  alive_ns_ = boottime_ns();
  publish_status();

  if (options_.servers) {
    ServerSources sources;
    sources.metrics = &outputs_->newest();
    sources.status = [this] { return status_json(); };
    sources.pods = [this] { return pods_json(); };
    sources.report = [this] { return report_json(newest()); };
    sources.explain = [this](const std::string& pod, const std::string& container) {
      return explain_json(pod, container);
    };
    sources.policies = [this] { return policies_json(); };
    sources.alive = [this]() -> Result<void> {
      if (boottime_ns() - alive_ns_ < kStuckAfter) return {};
      return Error("the agent's loop has been stuck for a minute");
    };
    sources.ready = [this]() -> Result<void> {
      const auto modules = engine_->modules();
      if (std::ranges::any_of(modules, [](const auto& m) { return m.health != ModuleHealth::Failed; })) return {};
      return Error("no probe works on this kernel: run `sonde doctor`");
    };
    auto servers = Servers::start(config_, std::move(sources));
    if (!servers) return servers.error();
    servers_ = std::move(*servers);
  }
  epoll_event event{};
  event.events = EPOLLIN;
  for (const int fd : {doorbell_.fd(), engine_->wake_fd(), policies_->watch_fd()}) {
    event.data.fd = fd;
    if (fd >= 0) epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  }
  next_collect_ns_ = aggregator_->next_due(boottime_ns());
  if (options_.greet) greet();
  return {};
}

void Agent::greet() const {
  utsname name{};
  uname(&name);
  spdlog::info("Sonde {} on {} {} {}", SONDE_VERSION, name.sysname, name.release, name.machine);
  const ControlStats stats = control_->stats();
  if (control_->options().target) {
    spdlog::info("target: {}", describe(*control_->options().target));
  } else {
    const std::size_t policies = control_->policies().size();
    spdlog::info("target: {} of {} cgroups below {} are measured, as {} select{}", stats.selected, stats.subjects,
                 cgroup_root_, policies == 1 ? "1 policy" : fmt::format("{} policies", policies),
                 policies == 1 ? "s" : "");
  }
  spdlog::info("{}", attached_line(engine_->modules()));
  auto destinations = outputs_->destinations();
  if (servers_) std::ranges::copy(servers_->addresses(), std::back_inserter(destinations));
  spdlog::info("output: {}", destinations.empty() ? "nowhere" : join(destinations, ", "));
}

Agent::End Agent::run() {
  if (!engine_) return End::Excluded;
  turning_ = true;
  while (!stopping_) {
    const uint64_t before = boottime_ns();
    if (end_ns_ && before >= end_ns_) break;
    wait(wait_ns(before));
    const uint64_t now = boottime_ns();
    alive_ns_ = now;
    if (reloading_.exchange(false)) do_reload();
    follow_turns(now);
    follow_spans(now);
    control_->follow();
    control_->enter_waiting(now);
    if (const bool news = follow_cluster(); news || now >= next_policies_ns_) follow_policies(news);
    control_->rename(now);
    overhead_->tick(now);
    obey_steps(now);
    watch_programs(now);
    follow_periods(now);
    if (now >= next_collect_ns_) {
      collect(false);
      if (++collections_ == 2) let_go_of_code_pages();  // the first was sent: all that a start needs has run
    } else if (control_->pending() && now >= next_released_ns_) {
      collect_released();
    }
    functions_->update(control_->identity(), control_->decisions());
    publish_served();
    tell_cluster(now);
    guard_.tick(now);
    if (status_wanted_.exchange(false)) publish_status();
    if (may_leave(now)) break;
  }
  turning_ = false;
  if (!excluded_by_.empty()) engine_->detach_all();  // before what may take its time
  if (servers_) servers_->not_ready();
  control_->follow();
  control_->stop_waiting();
  if (may_write()) spans_->finish(*control_->identity(), *control_->decisions());
  collect(true);
  counting_.release();
  outputs_->flush(kLastFlush);
  writing_.release();
  publish_status();
  guard_.detached();
  return excluded_by_.empty() || stopping_ ? End::Stopped : End::Excluded;
}

uint64_t Agent::wait_ns(uint64_t now) const {
  uint64_t until = std::min({next_collect_ns_, now + kLongestWait, overhead_->next_ns(), next_policies_ns_});
  if (control_->pending()) until = std::min(until, next_released_ns_);
  if (leave_ns_) until = std::min(until, std::max(leave_ns_, now + 50 * kMillisecond));
  if (end_ns_) until = std::min(until, end_ns_);
  if (!may_write()) until = std::min(until, now + kTurnEvery);
  return until > now ? until - now : 0;
}

void Agent::wait(uint64_t timeout_ns) {
  epoll_event events[4];
  const int n = epoll_wait(epoll_.get(), events, 4, static_cast<int>((timeout_ns + kMillisecond - 1) / kMillisecond));
  for (int i = 0; i < n; ++i) {
    if (events[i].data.fd == engine_->wake_fd()) {
      engine_->hush();
    } else if (events[i].data.fd == doorbell_.fd()) {
      doorbell_.hush();
    } else {
      next_policies_ns_ = 0;
    }
  }
}

// Where the names of pods come from, where policies do, as far as there is a cluster.
Result<void> Agent::join_cluster() {
  auto options = cluster_options(config_, options_.inputs.env);
  if (options.api.url.empty()) return follow_pods(node_name(config_), {});
  options.changed = [this] { doorbell_.ring(); };
  limit_http_pool();
  if (auto followed = follow_pods(options.node_name, options.api); !followed) return followed.error();
  options.pods = pods_.get();
  cluster_ = std::make_unique<kube::Cluster>(std::move(options));
  cluster_->start();
  policies_->set_objects(cluster_->policies());  // of the last run
  return {};
}

Result<void> Agent::follow_pods(const std::string& node_name, const kube::ApiOptions& api) {
  kube::PodTableOptions table;
  table.namespaces = !api.url.empty();  // who tells their labels
  auto pods = std::make_unique<kube::PodTable>(table);
  auto entries = pod_sources(config_, {.node_name = node_name, .api = api}, *pods);
  if (!entries) return entries.error();
  if (entries->empty()) return {};
  pods_ = std::move(pods);
  pod_sources_ = std::make_unique<kube::PodSources>(*pods_, std::move(*entries), [this] { doorbell_.ring(); });
  pod_sources_->start();
  return {};
}

// True if policies or labels of the node are others now.
bool Agent::follow_cluster() {
  if (!cluster_) return false;
  const uint64_t policies = cluster_->policies_version(), node = cluster_->node_version();
  if (policies == cluster_policies_ && node == cluster_node_) return false;
  if (policies != cluster_policies_) policies_->set_objects(cluster_->policies());
  cluster_policies_ = policies;
  cluster_node_ = node;
  return true;
}

void Agent::follow_policies(bool force) {
  const uint64_t now = boottime_ns();
  next_policies_ns_ = now + kPoliciesEvery;
  bool changed = policies_->refresh() || force;
  const ResolveContext context = resolve_context();
  for (const Policy& policy : control_->policies()) {  // one whose time is over since the last look
    changed = changed || (expired(policy, context.now_ns) && !expired(policy, control_->context().now_ns));
  }
  if (!changed) return;
  control_->decide_all(policies_->all(), context);
  note_exclusion(control_->policies(), context);
  rules_ = std::make_shared<const Rules>(Rules{control_->policies(), control_->context()});
  next_collect_ns_ = std::min(next_collect_ns_, aggregator_->next_due(now));
  if (!force) spdlog::info("policies changed: {} in force", control_->policies().size());
}

uint32_t Agent::clear_mask() const {
  uint32_t mask = 0;
  const Plan& plan = control_->plan();
  for (std::size_t i = 0; i < plan.probes.size(); ++i) {
    if (plan.probes[i].cleanup == CleanupStrategy::ClearAfterRead) mask |= 1U << i;
  }
  return mask;
}

void Agent::collect(bool everything) {
  last_collect_ = read_rows(Rows::All);
  self_->collection_duration.observe(last_collect_.duration_ns);
  failures_->note(last_collect_.failures, failures_->over(overhead_->steps(), boottime_ns()), boottime_ns());
  const Now now = Now::read();
  if (may_write()) {
    if (BatchPtr batch = everything ? aggregator_->emit_all(now) : aggregator_->emit(now))
      outputs_->push(std::move(batch));
  }
  settle();
  if (series_limit_.tick(aggregator_->stats().series_limited, now.boot_ns, 2 * config_.interval_ns)) {
    control_->set_lowered(series_limit_.lowered());
    for (const auto& [policy, levels] : series_limit_.lowered()) {
      spdlog::warn("policy {} is lowered by {} level(s): seriesPerNode is reached", policy, levels);
    }
  }
  control_->expire_idle(now.boot_ns);
  sandboxed_->look(*control_->identity(), now.boot_ns);
  next_collect_ns_ = std::max(aggregator_->next_due(now.boot_ns), now.boot_ns + kMillisecond);
}

// What the budget allows, less what keeps failing. Costs a comparison while nothing changed.
void Agent::obey_steps(uint64_t now) { control_->set_steps(failures_->over(overhead_->steps(), now)); }

void Agent::stop() {
  stopping_ = true;
  doorbell_.ring();
}

void Agent::hurry() {
  reloading_ = true;
  doorbell_.ring();
}

void Agent::do_reload() {
  auto loaded = load_config(options_.inputs);
  if (!loaded) {
    spdlog::error("the configuration was not reloaded, the old one stays in force: {}", loaded.error().message());
    return;
  }
  const auto changed = changed_settings(config_, loaded->config);
  if (changed.empty()) {
    spdlog::info("reloaded: nothing changed");
    return;
  }
  for (const auto& warning : loaded->warnings) spdlog::warn("{}", warning);
  options_.loaded = std::move(*loaded);
  spdlog::set_level(spdlog::level::from_str(config_.log.level));
  overhead_->set_budget(config_.overhead.milli_cpu);
  policies_->set_config(config_);
  follow_policies(true);
  std::vector<std::string> later;
  for (const auto& name : changed) {
    const Setting* setting = find_setting(name);
    if (setting && !setting->reloadable) later.push_back(name);
  }
  spdlog::info("reloaded: {}{}", join(changed, ", "),
               later.empty() ? "" : "; needs a restart to take effect: " + join(later, ", "));
}

void Agent::add_self_metrics() {
  self_->add_source([this](SelfSink& sink) {
    const Now now = Now::read();
    const KernelStats kernel = kernel_stats(*engine_, *overhead_, *failures_, functions_->missed());
    fullness_.note(kernel, realtime_ns());
    report(sink, kernel);
    report(sink, aggregator_->stats());
    report(sink, span_stats());
    report(sink, names_stats(), now);
    report(sink, "export", outputs_->queue());
    for (const ExportStats& stats : outputs_->stats()) report(sink, stats);
    sink.value(SelfMetric::OverheadUsage, overhead_->budget().used_milli_cpu() / 1000);
    sink.value(SelfMetric::OverheadBudget, overhead_->milli_cpu() / 1000);
  });
}

// Without a source of pods the names are what the paths tell, and as old as the snapshot of them.
NamesStats Agent::names_stats() const {
  if (!pod_sources_) return {"cgroup", control_->identity()->made_ns};
  return {pod_sources_->last_used(), pod_sources_->fresh_ns()};
}

// By the loop's thread alone: what it reads belongs to it.
StatusSources Agent::status_sources() const {
  StatusSources sources{*engine_,   *control_,  *functions_, *aggregator_, *outputs_,
                        *overhead_, *failures_, *policies_,  config_};
  sources.cgroup_root = cgroup_root_;
  sources.started_ns = started_ns_;
  sources.spans = span_stats();
  sources.last_collect = last_collect_;
  sources.cluster = cluster_.get();
  sources.pods = pods_.get();
  sources.pod_sources = pod_sources_.get();
  sources.warnings = fullness_.warnings();
  warn_of_turns(sources.warnings);
  std::ranges::move(sandboxed_->warnings(), std::back_inserter(sources.warnings));
  sources.conditions = {fullness_.condition()};
  return sources;
}

void Agent::tell_cluster(uint64_t now) {
  if (!cluster_ || now < next_tell_ns_) return;
  next_tell_ns_ = now + kTellEvery;
  cluster_->report(node_report(status_sources()));
}

void Agent::publish_status() {
  auto status = std::make_shared<const Status>(make_status(status_sources()));
  publish_served();
  const MutexLock lock(published_);
  status_ = std::move(status);
  status_made_ns_ = boottime_ns();
  status_ready_.notify_all();
}

void Agent::publish_served() {
  Served now{rules_, control_->identity(), control_->decisions()};
  const MutexLock lock(published_);
  if (served_ && now == *served_) return;
  served_ = std::make_shared<const Served>(std::move(now));
}

std::shared_ptr<const Status> Agent::status() const {
  const MutexLock lock(published_);
  const uint64_t asked_ns = boottime_ns();
  if (asked_ns < status_made_ns_ + kStatusFresh || !turning_) return status_;
  status_wanted_ = true;
  doorbell_.ring();
  status_ready_.wait_for(published_, std::chrono::nanoseconds(kStatusWait),
                         [this, asked_ns]()
                             SONDE_REQUIRES(published_) { return status_made_ns_ >= asked_ns || !turning_; });
  return status_;
}

IdentitySnapshotPtr Agent::identity() const {
  const MutexLock lock(published_);
  return served_->identity;
}

std::string Agent::explain_json(const std::string& pod, const std::string& container) const {
  ExplainSources sources;
  {
    const MutexLock lock(published_);
    sources.served = served_;
  }
  sources.names = names_;
  sources.cgroup_root = cgroup_root_;
  sources.proc_root = proc_root_;
  sources.functions = functions_->reports();
  sources.modules = engine_->modules();
  return explain_pod(sources, pod, container);
}

std::string Agent::pods_json() const { return make_pods_json(*identity(), *members_); }

}  // namespace sonde
