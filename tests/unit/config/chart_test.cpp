// SPDX-License-Identifier: Apache-2.0
// The Helm chart takes the agent's own settings under `config`, as strictly as the agent: its schema follows from the one
// table of settings. SONDE_UPDATE_DOCS=1 regenerates it and copies the CRDs.
#include <gtest/gtest.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "agent/base/file.h"
#include "agent/base/json.h"
#include "agent/base/text.h"
#include "agent/config/settings.h"
#include "agent/module/module.h"

namespace sonde {
namespace {

using Json = nlohmann::ordered_json;
const std::string kTop = SONDE_SOURCE_DIR;
const std::string kChart = kTop + "/charts/sonde";

// What the chart says itself, since it makes the mounts, the port and the pod; and what makes no sense in a DaemonSet.
const std::set<std::string> kOfTheChart = {
    "procRoot",        "cgroupRoot",    "listen.http", "nodeName",    "kubernetes.apiServer", "kubernetes.tokenFile",
    "policies",        "duration",      "target.pid",  "target.comm", "kubernetes.caFile",    "kubernetes.policyCache",
    "kubelet.address", "stateDirectory"};

Json typed(const char* type) { return {{"type", type}}; }

// Written as a list, or as one text with commas.
Json list_or_text(const std::vector<std::string_view>& words) {
  Json item = typed("string"), both = {{"type", Json::array({"array", "string"})}};
  if (!words.empty()) {
    const std::string one = fmt::format("({})", join(words, "|"));
    item["enum"] = words;
    both["pattern"] = fmt::format("^({0}( *, *{0})*)?$", one);
  }
  both["items"] = std::move(item);
  return both;
}

// 0 to 65535, and what is beyond.
const std::string kPort = "([0-9]{1,4}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
const std::string kNoPort = "(0+|6553[6-9]|655[4-9][0-9]|65[6-9][0-9]{2}|6[6-9][0-9]{3}|[7-9][0-9]{4}|[1-9][0-9]{5,})";

// Of texts the schema knows what a pattern can say; the agent knows the rest.
Json text_schema(const Setting& setting) {
  Json schema = typed("string");
  if (setting.name.ends_with(".endpoint")) {
    schema["not"] = {{"pattern", "^(https?://)?[^/]*:" + kNoPort + "(/.*)?$"}};
  } else if (setting.range.starts_with("host:port on loopback")) {
    schema["pattern"] = "^(off|(127(\\.[0-9]{1,3}){3}|localhost|\\[::1\\])?:" + kPort + ")$";
  } else if (setting.range.starts_with("host:port, :port")) {
    schema["pattern"] = "^(off|(\\[[^ \\]]*\\]|[^:/ \\[\\]]*):" + kPort + ")$";
  }
  return schema;
}

std::vector<std::string_view> words_of(const Setting& setting) {
  if (setting.name != "defaultPolicy.probes") return setting.allowed;
  std::vector<std::string_view> names{"all"};
  for (const ModuleEntry& entry : modules()) {
    const ModuleInfo& info = entry.module->info();
    names.push_back(info.name);
    names.insert(names.end(), info.aliases.begin(), info.aliases.end());
  }
  return names;
}

Json word_schema(const Setting& setting) {
  Json words = setting.allowed;
  // YAML's own true and false beside the words.
  if (std::ranges::find(setting.allowed, "true") != setting.allowed.end()) words.insert(words.end(), {true, false});
  return {{"enum", std::move(words)}};
}

Json schema_of(const Setting& setting) {
  Json schema;
  switch (setting.type) {
    case SettingType::Text: schema = text_schema(setting); break;
    case SettingType::Word: schema = word_schema(setting); break;
    case SettingType::List: schema = list_or_text(words_of(setting)); break;
    case SettingType::Boolean: schema = typed("boolean"); break;
    case SettingType::Duration:
      schema = {{"type", "string"}, {"pattern", "^([0-9]+(\\.[0-9]+)?(h|m|s|ms|us|ns))+$"}};
      break;
    case SettingType::Bytes:
      schema = {{"type", Json::array({"string", "integer"})},
                {"pattern", "^[0-9]+(\\.[0-9]+)? *([KMGT]i?)?B$|^[0-9]+$"}};
      break;
    case SettingType::Map:
      schema = {{"type", Json::array({"object", "string"})}, {"additionalProperties", typed("string")}};
      break;
    case SettingType::Integer: {
      const auto words = split(setting.range, ' ');  // "from 16 to 1000000"
      schema = {{"type", "integer"}};
      if (words.size() == 4 && words[0] == "from") {
        schema["minimum"] = std::stoll(std::string(words[1]));
        schema["maximum"] = std::stoll(std::string(words[3]));
      }
    }
  }
  Json described = {{"description", setting.help}};
  described.update(schema);
  return described;
}

Json group() { return {{"type", "object"}, {"additionalProperties", false}, {"properties", Json::object()}}; }

Json config_schema() {
  Json all = {{"description", "The agent's configuration file; docs/ops/configuration.md"}};
  all.update(group());
  for (const Setting& setting : settings()) {
    if (kOfTheChart.contains(setting.name)) continue;
    Json* at = &all;
    const auto keys = split(setting.name, '.');
    for (std::size_t i = 0; i + 1 < keys.size(); ++i) {
      Json& properties = (*at)["properties"];
      const std::string key(keys[i]);
      if (!properties.contains(key)) properties[key] = group();
      at = &properties[key];
    }
    (*at)["properties"][std::string(keys.back())] = schema_of(setting);
  }
  return all;
}

TEST(Chart, SchemaOfConfigFollowsFromTheSettings) {
  const std::string path = kChart + "/values.schema.json";
  const auto text = read_small_file(path);
  ASSERT_TRUE(text) << text.error().message();
  const Json schema = parse_json<Json>(*text);
  Json wanted = schema;
  wanted["definitions"]["config"] = config_schema();
  if (std::getenv("SONDE_UPDATE_DOCS")) {
    ASSERT_TRUE(write_file_atomically(path, json_text(wanted, 2) + "\n"));
    return;
  }
  EXPECT_EQ(schema.at("definitions").at("config"), wanted.at("definitions").at("config")) << "run `make generate`";
}

// Whatever is an object says what it may have; only what Kubernetes itself checks is left open, and what a parent chart shares
// with all its charts.
void expect_strict(const Json& schema, const std::string& where) {
  if (where == "/properties/global") return;
  if (schema.is_object() && schema.contains("properties")) {
    EXPECT_EQ(schema.value("additionalProperties", Json(true)), Json(false)) << where;
  }
  for (const auto& [key, value] : schema.items()) {
    if (value.is_structured()) expect_strict(value, where + "/" + key);
  }
}

TEST(Chart, SchemaIsStrictEverywhere) {
  const auto text = read_small_file(kChart + "/values.schema.json");
  ASSERT_TRUE(text);
  const Json schema = parse_json<Json>(*text);
  ASSERT_FALSE(schema.at("additionalProperties").get<bool>());
  expect_strict(schema, "");
}

TEST(Chart, KeysThatTheChartSetsItselfAreSettings) {
  for (const std::string& name : kOfTheChart) EXPECT_NE(find_setting(name), nullptr) << name;
}

TEST(Chart, CrdsAreThoseOfTheTopLevel) {
  const std::string copies[] = {kChart + "/crds", kTop + "/manifests/base/crds"};
  std::set<std::string> names;
  for (const std::string& folder : {kTop + "/crds", copies[0], copies[1]}) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.is_regular_file()) names.insert(entry.path().filename().string());
    }
  }
  EXPECT_GE(names.size(), 3U);
  for (const std::string& name : names) {
    const auto ours = read_small_file(kTop + "/crds/" + name);
    ASSERT_TRUE(ours) << ours.error().message();
    for (const std::string& folder : copies) {
      const std::string copy = folder + "/" + name;
      if (std::getenv("SONDE_UPDATE_DOCS")) {
        ASSERT_TRUE(write_file_atomically(copy, *ours));
        continue;
      }
      const auto theirs = read_small_file(copy);
      ASSERT_TRUE(theirs) << theirs.error().message();
      EXPECT_EQ(*ours, *theirs) << copy << " is not crds/" << name << ": run `make generate`";
    }
  }
}

}  // namespace
}  // namespace sonde
