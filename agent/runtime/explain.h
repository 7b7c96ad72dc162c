// SPDX-License-Identifier: Apache-2.0
// Why a pod is measured as it is: for `sonde explain`. From snapshots, so any thread may ask.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/functions/functions.h"
#include "agent/identity/identity.h"
#include "agent/kernel/engine.h"
#include "agent/policy/decision.h"
#include "agent/policy/resolve.h"

namespace sonde {

// The policies in force and what they are resolved with.
struct Rules {
  std::vector<Policy> policies;
  ResolveContext context;
};

// What servers see of the loop's state: made by the loop in one piece, never changed afterwards, replaced as a whole.
struct Served {
  std::shared_ptr<const Rules> rules;
  IdentitySnapshotPtr identity;
  std::shared_ptr<const PolicySnapshot> decisions;
  friend bool operator==(const Served&, const Served&) = default;
};

struct ExplainSources {
  std::shared_ptr<const Served> served;
  const Enricher* names = nullptr;  // who knows the pods, any thread; null: what the identity snapshot has
  std::string cgroup_root;
  std::string proc_root;
  std::vector<FunctionReport> functions;
  std::vector<ModuleReport> modules;
};

// Why the policy does not select this subject; empty if it does. A clause with the field's name.
std::string why_not_selected(const Policy& policy, const Subject& subject, std::span<const std::string> commands,
                             const ResolveContext& context);

// One subject: which policies select it and which not, who won each value, what results, what is refused. JSON.
// `in_force`: the decision that the agent obeys for it now, if it has one.
std::string explain_subject(const Subject& subject, std::span<const std::string> commands, const Rules& rules,
                            const Decision* in_force, const ExplainSources& sources);

// Every container of the pod (namespace/name, or its UID), or the one named. The containers are looked up now, also those
// that no policy selects. {"pod", "containers": []} if there is none.
std::string explain_pod(const ExplainSources& sources, const std::string& pod, const std::string& container);

}  // namespace sonde
