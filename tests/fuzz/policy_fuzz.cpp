// SPDX-License-Identifier: Apache-2.0
// Policy files: YAML that anybody who may write to the directory wrote.
// Layers: config
#include "agent/config/policy_file.h"
#include "agent/config/yaml_tree.h"
#include "tests/fuzz/support.h"

namespace {

using sonde::fuzz::require;

void check_tree(const sonde::YamlNode& node, int depth) {
  require(depth <= sonde::kYamlMaxDepth + 1);
  require(node.line >= 1 && node.column >= 1);
  sonde::describe(node);
  for (const auto& item : node.items) check_tree(item, depth + 1);
  for (const auto& [key, value] : node.entries) {
    check_tree(key, depth + 1);
    check_tree(value, depth + 1);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto tree = sonde::parse_yaml(text, "f.yaml")) {
    for (const auto& document : *tree) check_tree(document, 0);
  } else {
    require(tree.error().message().starts_with("f.yaml:"));
  }
  const sonde::PolicyFile file = sonde::parse_policies(text, "f.yaml", 1);
  require(!file.problems.empty() || file.policies.size() == file.fingerprints.size());
  for (const std::string& problem : file.problems) {
    require(problem.starts_with("f.yaml"));
    require(problem.find('\n') == std::string::npos);
  }
  const sonde::PolicyFile again = sonde::parse_policies(text, "f.yaml", 1);
  require(again.fingerprints == file.fingerprints && again.problems == file.problems);
  return 0;
}
