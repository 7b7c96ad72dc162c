// SPDX-License-Identifier: Apache-2.0
// Policy files and configuration files of any content: a sentence or a result, nothing else. The first byte chooses.
// Layers: config
#include <string_view>

#include "agent/base/text.h"
#include "agent/config/config_layers.h"
#include "agent/config/policy_file.h"
#include "agent/policy/plan.h"

using namespace sonde;

namespace {

// For a person's terminal and for a status object: one line of UTF-8.
void check_sentences(const std::vector<std::string>& sentences) {
  for (const std::string& sentence : sentences) {
    if (one_line(sentence, std::string::npos) != sentence) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2) {
    Loading loading;
    apply_file(loading, "c.yaml", text, "testing");
    check_sentences(loading.problems);
    return 0;
  }
  PolicyFile file = parse_policies(text, "p.yaml", 1);
  check_sentences(file.problems);
  if (!file.problems.empty()) return 0;
  ResolveContext context;
  context.now_ns = 2;
  Subject subject;
  subject.cgroup_path = "/a";
  static_cast<void>(resolve(file.policies, subject, {}, context));
  static_cast<void>(provisional_flags(file.policies, context));
  return 0;
}
