// SPDX-License-Identifier: Apache-2.0
#include "agent/policy/resolve.h"

#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <bit>

#include "agent/base/text.h"
#include "agent/policy/listed.h"
#include "agent/policy/trace_rules.h"

namespace sonde {

namespace {

// What one policy asks of one module.
struct Ask {
  Level level = Level::None;
  uint64_t metrics = 0;
  uint64_t excluded = 0;
  std::optional<int> sample_every;
};

bool refused(const MetricSpec& metric, Level ceiling) {
  return metric.level > ceiling && !(metric.level == Level::OptIn && ceiling >= Level::Detailed);
}

bool is_namespaced(const Policy& policy) { return !policy.namespace_name.empty(); }

void apply(const ProbeRequest& request, Level base, const ModuleInfo& info, Ask& ask) {
  ask.level = request.level.value_or(base == Level::None ? Level::Standard : base);
  if (request.sample_histograms_every) ask.sample_every = request.sample_histograms_every;
  for (std::size_t i = 0; i < info.metrics.size(); ++i) {
    if (contains(request.include_metrics, info.metrics[i].name)) ask.metrics |= 1ULL << i;
    if (contains(request.exclude_metrics, info.metrics[i].name)) ask.excluded |= 1ULL << i;
  }
}

// How exactly it names the module: not at all, as all of them, as a part of the probe, as itself.
enum class Naming : uint8_t { None, All, Whole, Own };

Naming naming_of(const ProbeRequest& request, const ModuleInfo& info, const ResolveContext& context) {
  if (request.name == "all") return Naming::All;
  if (!stands_for(context.modules, request.name, info)) return Naming::None;
  const int named = module_index(context.modules, request.name);
  const bool own = named >= 0 && &context.modules[static_cast<std::size_t>(named)].module->info() == &info;
  return own ? Naming::Own : Naming::Whole;
}

// Of an Exclude: does it name this module? One without probes is not asked: it excludes all.
bool excludes(const Policy& policy, const ModuleInfo& info, const ResolveContext& context) {
  return std::ranges::any_of(
      policy.probes, [&](const ProbeRequest& request) { return naming_of(request, info, context) != Naming::None; });
}

bool excludes_every_module(const Policy& policy, const ResolveContext& context) {
  return policy.probes.empty() || std::ranges::all_of(context.modules, [&](const ModuleEntry& entry) {
           return excludes(policy, entry.module->info(), context);
         });
}

// Is it in force, and for whoever is on this node?
bool excludes_everybody(const Policy& policy, const ResolveContext& context) {
  if (policy.mode != Mode::Exclude || is_namespaced(policy) || expired(policy, context.now_ns)) return false;
  Subject nobody;  // belongs to policies that select everything
  nobody.kind = SubjectKind::Unattributed;
  return selects(policy, nobody, {}, context);
}

constexpr std::string_view kOfNamespaces = "the ceiling for namespaced policies,";

class Resolver {
 public:
  // `excluding`: Excludes of some probes that select the same.
  Resolver(std::vector<const Policy*> policies, std::vector<const Policy*> excluding, const ResolveContext& context,
           bool node = false)
      : policies_(std::move(policies)), excluding_(std::move(excluding)), context_(context), node_(node) {
    for (auto* list : {&policies_, &excluding_}) {
      std::ranges::sort(*list, [](const Policy* a, const Policy* b) { return precedes(*a, *b); });
    }
  }

  Decision run() {
    for (const auto* list : {&policies_, &excluding_}) {
      for (const Policy* policy : *list) decision_.policies.push_back(display_name(*policy));
    }
    decision_.probes.resize(context_.modules.size());
    decide_functions();
    if (!node_) decide_traces();
    for (std::size_t i = 0; i < context_.modules.size(); ++i) decide_probe(i);
    const auto recorded = [](uint32_t threshold) { return threshold != 0; };
    if (std::ranges::none_of(decision_.traces.threshold_us, recorded)) decision_.traces = {};
    if (decision_.selected) decide_values();
    return std::move(decision_);
  }

 private:
  Ask ask_of(const Policy& policy, const ModuleInfo& info) {
    Ask ask;
    Level base = base_level(policy);
    ask.level = base;
    // `all` gives the ground, a probe's own entry the exception, that of a part of it another one, whatever stands first.
    for (const Naming naming : {Naming::All, Naming::Whole, Naming::Own}) {
      for (const ProbeRequest& request : policy.probes) {
        if (naming_of(request, info, context_) == naming) apply(request, base, info, ask);
      }
    }
    const Ceilings& ceilings = context_.ceilings;
    const bool lower = is_namespaced(policy) && ceilings.namespaced.level < ceilings.level;
    const Level ceiling = lower ? ceilings.namespaced.level : ceilings.level;
    const std::string_view whose = lower ? kOfNamespaces : "the agent's ceiling";
    if (ask.level > ceiling) {
      say(policy, fmt::format("{} at {} exceeds {} {}", info.name, word_of(ask.level), whose, word_of(ceiling)));
      ask.level = ceiling;
    }
    for (std::size_t i = 0; i < info.metrics.size(); ++i) {
      const MetricSpec& metric = info.metrics[i];
      uint64_t bit = 1ULL << i;
      if (ask.level != Level::None && metric.level <= ask.level) ask.metrics |= bit;
      if ((ask.metrics & bit) && refused(metric, ceiling)) {
        say(policy, fmt::format("{} exceeds {} {}", metric.name, whose, word_of(ceiling)));
        ask.metrics &= ~bit;
      }
      if (metric.node != node_) ask.metrics &= ~bit;
    }
    ask.metrics &= ~ask.excluded;
    return ask;
  }

  void decide_functions() {
    if (context_.ceilings.level < Level::Detailed) return;  // as with opt-in metrics
    const int module = function_module(context_.modules);
    const ModuleInfo* info = module < 0 ? nullptr : &context_.modules[static_cast<std::size_t>(module)].module->info();
    const Policy* excluder = info ? excluder_of(*info) : nullptr;
    for (const Policy* policy : policies_) {
      if (policy->functions.empty()) continue;
      if (excluder) {
        say(*policy,
            fmt::format("its functions are not measured: {} is excluded by {}", info->name, display_name(*excluder)));
        continue;
      }
      if (!policy->namespace_name.empty() && !context_.allow_user_functions) {
        say(*policy,
            "its functions are not measured: namespaced policies may not measure functions "
            "(tenancy.allowUserFunctions)");
        continue;
      }
      for (const FunctionRequest& request : policy->functions) add_function(*policy, request);
    }
    std::ranges::sort(decision_.functions, {},
                      [](const FunctionAsk& ask) -> const std::string& { return ask.request.name; });
  }

  // The same function requested twice is measured for both; a different one with the same name is overridden.
  void add_function(const Policy& policy, const FunctionRequest& request) {
    if (request.type == "Kernel" && !policy.namespace_name.empty()) return;  // refused when it was read
    const auto known = std::ranges::find_if(decision_.functions,
                                            [&](const FunctionAsk& ask) { return ask.request.name == request.name; });
    if (known == decision_.functions.end()) {
      decision_.functions.push_back({request, display_name(policy)});
      return;
    }
    FunctionRequest same = known->request;
    same.measure = request.measure;
    if (same != request) {
      return say(policy, fmt::format("function {} is overridden by that of {}", request.name, known->policy));
    }
    for (const std::string& measure : request.measure) {
      if (!contains(known->request.measure, measure)) known->request.measure.push_back(measure);
    }
  }

  // Bits of the probe's metrics that the declared functions bring.
  uint64_t function_metrics(const ModuleInfo& info) const {
    uint64_t bits = 0;
    for (const MeasureSpec& measure : info.measures) {
      const bool asked = std::ranges::any_of(
          decision_.functions, [&](const FunctionAsk& ask) { return contains(ask.request.measure, measure.word); });
      if (asked) bits |= 1ULL << measure.metric;
    }
    return bits;
  }

  // All of `traces` comes from one policy: the first that has it enabled or disabled.
  void decide_traces() {
    const Policy* chosen = nullptr;
    for (const Policy* policy : policies_) {
      if (!policy->traces_enabled) continue;
      if (!chosen) {
        chosen = policy;
        decision_.winners["traces"] = display_name(*policy);
      } else if (*policy->traces_enabled || *chosen->traces_enabled) {
        say(*policy, fmt::format("traces is overridden by that of {}", decision_.winners["traces"]));
      }
    }
    if (!chosen || !*chosen->traces_enabled) return;
    const bool tenant = is_namespaced(*chosen);
    TraceRules rules(context_.modules, *chosen, decision_.functions);
    decision_.traces = rules.settings();
    decision_.traces.policy = display_name(*chosen);
    for (const std::string& sentence : rules.sentences()) say(*chosen, sentence);
    double& trees = decision_.traces.trees_per_second;
    const double ceiling = context_.ceilings.trees_per_second, of_tenants = context_.ceilings.namespaced.trees_per_second;
    const double most = tenant ? std::min(ceiling, of_tenants) : ceiling;
    if (trees > most && chosen->trees_per_second) {
      say(*chosen, fmt::format("treesPerSecondPerNode {} exceeds {} {}", *chosen->trees_per_second,
                               tenant && of_tenants < ceiling ? kOfNamespaces : "the agent's ceiling", most));
    }
    trees = std::min(trees, most);
  }

  // The bits that the recorded operations need of this module. An excluded or sampled one has none of them.
  uint8_t span_flags(const ModuleInfo& info, const ProbeDecision& probe, bool excluded) {
    uint8_t flags = 0;
    std::vector<std::string_view> sampled;
    for (const SpanSpec& span : info.spans) {
      const auto operation = static_cast<SpanOperation>(span.operation);
      if (decision_.traces.policy.empty() || !decision_.traces.records(operation)) continue;
      const bool is_function = operation == SpanOperation::Function;  // it has its own way to be measured
      if (excluded || (probe.sample_every > 1 && info.samples_histograms)) {
        decision_.traces.threshold_us[span.operation] = 0;
        if (!excluded) sampled.push_back(word_of(operation));
      } else if (!is_function) {
        flags |= span.flags;
      }
    }
    if (!sampled.empty()) {
      decision_.overridden.push_back(fmt::format("{}: traces does not record {}: {} takes the time of one operation in {} "
                                                 "(sampleHistogramsEvery)",
                                                 decision_.traces.policy, join(sampled), info.name, probe.sample_every));
    }
    return flags;
  }

  const Policy* excluder_of(const ModuleInfo& info) const {
    const auto found =
        std::ranges::find_if(excluding_, [&](const Policy* policy) { return excludes(*policy, info, context_); });
    return found == excluding_.end() ? nullptr : *found;
  }

  void decide_probe(std::size_t module) {
    const ModuleInfo& info = context_.modules[module].module->info();
    ProbeDecision& probe = decision_.probes[module];
    if (const Policy* excluder = excluder_of(info)) {
      const std::string by = display_name(*excluder);
      for (const Policy* policy : policies_) {
        if (ask_of(*policy, info).metrics) say(*policy, fmt::format("{} is excluded by {}", info.name, by));
      }
      decision_.winners[fmt::format("{}.level", info.name)] = by;
      span_flags(info, probe, true);
      return;
    }
    const Policy* winner = nullptr;
    uint64_t excluded = 0;  // by a policy seen so far, before anybody asked
    std::optional<int> sample_every;
    for (const Policy* policy : policies_) {
      Ask ask = ask_of(*policy, info);
      if (uint64_t lost = ask.metrics & excluded) {
        std::vector<std::string_view> names;
        for (; lost; lost &= lost - 1) names.push_back(info.metrics[std::countr_zero(lost)].name);
        say(*policy, join(names) + " is excluded by a policy of higher precedence");
      }
      probe.metrics |= ask.metrics & ~excluded;
      excluded |= ask.excluded & ~probe.metrics;
      if (ask.level > probe.level || (!winner && ask.metrics)) {
        probe.level = ask.level;
        winner = policy;
      }
      pick(sample_every, ask.sample_every, *policy, fmt::format("{}.sampleHistogramsEvery", info.name));
    }
    probe.metrics |= function_metrics(info) & ~excluded;
    if (probe.metrics == 0) {
      probe = {};
      probe.span_flags = span_flags(info, probe, false);
      probe.flags = probe.span_flags;
      decision_.selected |= probe.flags != 0;
      return;
    }
    // Only metrics named one by one: they bring their own series (see exports()).
    if (probe.level == Level::None) probe.level = Level::Minimal;
    if (winner) decision_.winners[fmt::format("{}.level", info.name)] = display_name(*winner);
    probe.sample_every = static_cast<uint16_t>(std::clamp(sample_every.value_or(1), 1, 65535));
    probe.span_flags = span_flags(info, probe, false);
    probe.flags = flags_of(probe, info);
    decision_.selected = true;
  }

  void decide_values() {
    const DecisionDefaults& defaults = context_.defaults;
    const Ceilings& ceilings = context_.ceilings;
    const NamespacedCeilings& tenant = ceilings.namespaced;
    const int shortest = static_cast<int>((tenant.min_period_ms + 999) / 1000);
    const auto slower = [&](int asked) { return std::max(asked, shortest); };
    const auto coarser = [&](Granularity asked) { return std::min(asked, tenant.granularity); };
    const auto fewer = [&](int asked) { return std::min(asked, tenant.series_per_container); };
    auto period = first("periodSeconds", &Policy::period_seconds, slower);
    decision_.period_ms = period ? static_cast<uint32_t>(*period) * 1000 : defaults.period_ms;
    if (period && decision_.period_ms < ceilings.min_period_ms) {
      clamped("periodSeconds", *period, fmt::format("{}", ceilings.min_period_ms / 1000.0));
      decision_.period_ms = ceilings.min_period_ms;
    }
    decision_.granularity = first("granularity", &Policy::granularity, coarser).value_or(defaults.granularity);
    if (decision_.granularity > ceilings.granularity) {
      clamped("granularity", word_of(decision_.granularity), word_of(ceilings.granularity));
      decision_.granularity = ceilings.granularity;
    }
    decision_.cleanup = first("cleanup", &Policy::cleanup).value_or(defaults.cleanup);
    decision_.idle_seconds = first("idleSeconds", &Policy::idle_seconds).value_or(defaults.idle_seconds);
    decision_.series_per_container =
        limited("seriesPerContainer", first("seriesPerContainer", &Policy::series_per_container, fewer),
                defaults.series_per_container, ceilings.series_per_container);
    decision_.series_per_node = limited("seriesPerNode", first("seriesPerNode", &Policy::series_per_node),
                                        defaults.series_per_node, ceilings.series_per_node);
    using Words = std::vector<std::string>;
    decision_.pod_labels = first("podLabels", &Policy::pod_labels).value_or(Words());
    decision_.pod_annotations = first("podAnnotations", &Policy::pod_annotations).value_or(Words());
  }

  int limited(const std::string& field, std::optional<int> value, int otherwise, int ceiling) {
    int chosen = value.value_or(otherwise);
    if (chosen <= ceiling) return chosen;
    if (value) clamped(field, chosen, ceiling);
    return ceiling;
  }

  template <typename T>
  std::optional<T> first(const std::string& field, std::optional<T> Policy::*value) {
    return first(field, value, [](const T& asked) { return asked; });
  }

  // `allowed`: what a policy of a namespace gets of what it asks.
  template <typename T, typename Allowed>
  std::optional<T> first(const std::string& field, std::optional<T> Policy::*value, const Allowed& allowed) {
    std::optional<T> chosen;
    for (const Policy* policy : policies_) {
      std::optional<T> offered = policy->*value;
      if (offered && is_namespaced(*policy) && allowed(*offered) != *offered) {
        const T most = allowed(*offered);
        say(*policy, fmt::format("{} {} exceeds {} {}", field, text_of(*offered), kOfNamespaces, text_of(most)));
        offered = most;
      }
      pick(chosen, offered, *policy, field);
    }
    return chosen;
  }

  // The first value stays; who comes later with another one is told.
  template <typename T>
  void pick(std::optional<T>& chosen, const std::optional<T>& offered, const Policy& policy, const std::string& field) {
    if (!offered) return;
    if (!chosen) {
      chosen = offered;
      decision_.winners[field] = display_name(policy);
    } else if (*chosen != *offered) {
      say(policy, fmt::format("{} {} is overridden by {} of {}", field, text_of(*offered), text_of(*chosen),
                              decision_.winners[field]));
    }
  }

  template <typename T, typename U>
  void clamped(const std::string& field, const T& value, const U& ceiling) {
    decision_.overridden.push_back(
        fmt::format("{}: {} {} exceeds the agent's ceiling {}", decision_.winners[field], field, value, ceiling));
  }

  void say(const Policy& policy, const std::string& sentence) {
    decision_.overridden.push_back(display_name(policy) + ": " + sentence);
  }

  static std::string text_of(int value) { return std::to_string(value); }
  static std::string text_of(Granularity value) { return std::string(word_of(value)); }
  static std::string text_of(CleanupStrategy value) { return std::string(word_of(value)); }
  static std::string text_of(const std::vector<std::string>& value) { return "[" + join(value) + "]"; }

  std::vector<const Policy*> policies_;
  std::vector<const Policy*> excluding_;
  const ResolveContext& context_;
  const bool node_;
  Decision decision_;
};

}  // namespace

bool covered(const ProbeDecision& decision, const ModuleInfo& info, const SeriesSpec& series) {
  if (series.source != Source::Histogram) return false;
  return std::ranges::any_of(info.series, [&](const SeriesSpec& keyed) {
    return keyed.source == Source::KeyedHistogram && keyed.metric == series.metric && keyed.level > series.level &&
           exports(decision, info, keyed);
  });
}

uint8_t flags_of(const ProbeDecision& decision, const ModuleInfo& info) {
  uint8_t flags = decision.span_flags;
  for (const SeriesSpec& series : info.series) {
    if (exports(decision, info, series) && !covered(decision, info, series)) flags |= series.flag;
  }
  return flags;
}

int module_index(std::span<const ModuleEntry> modules, std::string_view name) {
  for (std::size_t i = 0; i < modules.size(); ++i) {
    const ModuleInfo& info = modules[i].module->info();
    if (info.name == name || std::ranges::find(info.aliases, name) != info.aliases.end()) return static_cast<int>(i);
  }
  return -1;
}

Level base_level(const Policy& policy) {
  if (policy.preset) return *policy.preset;
  return policy.probes.empty() && policy.functions.empty() ? Level::Standard : Level::None;
}

Decision resolve(std::span<const Policy> policies, const Subject& subject, std::span<const std::string> commands,
                 const ResolveContext& context) {
  std::vector<const Policy*> matching, in_part;
  const Policy* excluding = nullptr;
  for (const Policy& policy : policies) {
    if (expired(policy, context.now_ns) || !selects(policy, subject, commands, context)) continue;
    if (policy.mode == Mode::Monitor) {
      matching.push_back(&policy);
    } else if (!excludes_every_module(policy, context)) {
      in_part.push_back(&policy);
    } else if (!excluding || precedes(policy, *excluding)) {
      excluding = &policy;
    }
  }
  if (!excluding) return Resolver(std::move(matching), std::move(in_part), context).run();
  Decision decision;
  decision.probes.resize(context.modules.size());
  decision.policies = {display_name(*excluding)};
  decision.winners["mode"] = display_name(*excluding);
  for (const Policy* policy : matching) {
    decision.overridden.push_back(display_name(*policy) + ": excluded by " + display_name(*excluding));
  }
  std::ranges::sort(decision.overridden);
  return decision;
}

Decision resolve_node(std::span<const Policy> policies, const ResolveContext& context) {
  std::vector<const Policy*> asking, excluding;
  for (const Policy& policy : policies) {
    if (excludes_everybody(policy, context)) excluding.push_back(&policy);
    if (policy.mode == Mode::Exclude || !policy.namespace_name.empty() || expired(policy, context.now_ns)) continue;
    if (policy.node_selector && !policy.node_selector->matches(context.node_labels)) continue;
    asking.push_back(&policy);
  }
  if (excludes_all(policies, context)) asking.clear();
  Decision decision = Resolver(std::move(asking), std::move(excluding), context, true).run();
  decision.granularity = Granularity::Container;
  return decision;
}

Decision resolve_alone(const Policy& policy, const ResolveContext& context) {
  if (policy.mode == Mode::Exclude) return Resolver({}, {}, context).run();
  return Resolver({&policy}, {}, context).run();
}

const Policy* excludes_all(std::span<const Policy> policies, const ResolveContext& context) {
  const Policy* first = nullptr;
  for (const Policy& policy : policies) {
    if (!excludes_everybody(policy, context) || !excludes_every_module(policy, context)) continue;
    if (!first || precedes(policy, *first)) first = &policy;
  }
  return first;
}

uint64_t excluded_everywhere(std::span<const Policy> policies, const ResolveContext& context) {
  uint64_t modules = 0;
  for (const Policy& policy : policies) {
    if (!excludes_everybody(policy, context)) continue;
    for (std::size_t i = 0; i < context.modules.size(); ++i) {
      if (policy.probes.empty() || excludes(policy, context.modules[i].module->info(), context)) modules |= 1ULL << i;
    }
  }
  return modules;
}

std::string series_limit_owner(const Decision& decision) {
  const auto winner = decision.winners.find("seriesPerNode");
  if (winner != decision.winners.end()) return winner->second;
  return decision.policies.empty() ? std::string() : decision.policies.front();
}

}  // namespace sonde
