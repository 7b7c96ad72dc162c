// SPDX-License-Identifier: Apache-2.0
// What can never select anything is refused with a sentence; what the API server takes and adds is read.
#include <gtest/gtest.h>

#include "agent/config/policy_file.h"
#include "agent/policy/label_syntax.h"
#include "tests/unit/policy/made_up_modules.h"

namespace sonde {
namespace {

PolicyFile parse(const std::string& spec, const std::string& metadata = "name: p") {
  return parse_policies(
      "apiVersion: sonde.dev/v1alpha1\nkind: ClusterMonitorPolicy\nmetadata: {" + metadata + "}\nspec: " + spec + "\n",
      "p.yaml", 0, made_up::modules());
}

TEST(PolicyLabels, AreThoseOfKubernetes) {
  const std::string most(63, 'a'), domain(253, 'd');
  for (const std::string& key : {std::string("app"), std::string("A.b_c-9"), std::string("app.kubernetes.io/name"),
                                 most, domain + "/" + most, std::string("x/Y")}) {
    EXPECT_TRUE(is_label_key(key)) << key;
  }
  for (const std::string& key : {std::string(), std::string("a b"), std::string("-a"), std::string("a."), most + "a",
                                 domain + "d/a", std::string("/a"), std::string("a/"), std::string("a/b/c"),
                                 std::string("Upper.Domain/a"), std::string("*"), std::string("\xc3\xa9")}) {
    EXPECT_FALSE(is_label_key(key)) << key;
  }
  EXPECT_TRUE(is_label_value("") && is_label_value("1.2-B_c") && is_label_value(most));
  EXPECT_FALSE(is_label_value("a b") || is_label_value("a/b") || is_label_value(".a") || is_label_value(most + "a"));
  EXPECT_TRUE(is_container_name("web-0") && is_container_name(most));
  EXPECT_FALSE(is_container_name("") || is_container_name("Web") || is_container_name("a_b") ||
               is_container_name("a."));
}

TEST(PolicyLabels, WhatCanNeverSelectIsRefused) {
  const std::pair<const char*, const char*> cases[] = {
      {"{podSelector: {matchLabels: {a b: c}}}",
       "p.yaml:4:36: spec.podSelector.matchLabels: 'a b' is not a label key; write letters, digits, '-', '_' and "
       "'.', optionally after a domain and '/', like app.kubernetes.io/name"},
      {"{namespaceSelector: {matchLabels: {a: c d}}}",
       "p.yaml:4:45: spec.namespaceSelector.matchLabels.a: 'c d' is not a label value; write at most 63 letters, "
       "digits, '-', '_' and '.', starting and ending with a letter or digit"},
      {"{nodeSelector: {matchExpressions: [{key: -a, operator: Exists}]}}",
       "p.yaml:4:48: spec.nodeSelector.matchExpressions[0].key: '-a' is not a label key; write letters, digits, '-', "
       "'_' and '.', optionally after a domain and '/', like app.kubernetes.io/name"},
      {"{podSelector: {matchExpressions: [{key: a, operator: In, values: [b, c/d]}]}}",
       "p.yaml:4:76: spec.podSelector.matchExpressions[0].values: 'c/d' is not a label value; write at most 63 "
       "letters, digits, '-', '_' and '.', starting and ending with a letter or digit"},
      {"{containers: {names: [Web]}}",
       "p.yaml:4:29: spec.containers.names: 'Web' is not a container name; write at most 63 lower-case letters, "
       "digits and '-'"},
      {"{attributes: {podLabels: [app*]}}",
       "p.yaml:4:32: spec.attributes.podLabels: 'app*' is not a label key; write one, like app.kubernetes.io/name "
       "(patterns are not supported)"},
  };
  for (const auto& [spec, sentence] : cases) {
    EXPECT_EQ(parse(spec).problems, std::vector<std::string>{sentence}) << spec;
  }
}

TEST(PolicyLabels, EmptyValuesAreValues) {
  const PolicyFile file =
      parse(R"({podSelector: {matchLabels: {a: ""}, matchExpressions: [{key: b, operator: In, values: ["", x]}]}})");
  ASSERT_EQ(file.problems, std::vector<std::string>());
  const LabelSelector& selector = *file.policies.at(0).pod_selector;
  EXPECT_TRUE(selector.matches({{"a", ""}, {"b", ""}}));
  EXPECT_FALSE(selector.matches({{"a", ""}}));
  EXPECT_FALSE(selector.matches({{"b", "x"}}));
}

// Of `kubectl create` with generateName, and of one that waits for its finalizers.
TEST(PolicyLabels, WhatTheApiServerAddsIsReadOver) {
  const PolicyFile file = parse("{preset: Minimal}",
                                "name: p-x7k2p, generateName: p-, finalizers: [a.dev/b], deletionTimestamp: "
                                "'2026-01-01T00:00:00Z', deletionGracePeriodSeconds: 0");
  EXPECT_EQ(file.problems, std::vector<std::string>());
}

}  // namespace
}  // namespace sonde
