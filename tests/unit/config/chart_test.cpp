// SPDX-License-Identifier: Apache-2.0
// The Helm chart takes the agent's own settings under `config`, as strictly as the agent: its schema follows from the one
// table of settings. SONDE_UPDATE_DOCS=1 writes it anew, and copies the CRDs.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "agent/base/file.h"
#include "agent/base/text.h"
#include "agent/config/settings.h"

namespace sonde {
namespace {

using Json = nlohmann::ordered_json;
const std::string kTop = SONDE_SOURCE_DIR;
const std::string kChart = kTop + "/charts/sonde";

// What the chart says itself, since it makes the mounts, the port and the pod; and what makes no sense in a DaemonSet.
const std::set<std::string> kOfTheChart = {
    "procRoot",       "cgroupRoot", "listen.http", "nodeName",    "kubernetes.apiServer", "kubernetes.tokenFile",
    "policies",       "duration",   "target.pid",  "target.comm", "kubernetes.caFile",    "kubernetes.policyCache",
    "kubelet.address"};

Json typed(const char* type) { return {{"type", type}}; }

Json list_or_text(const std::vector<std::string_view>& words) {
  Json item = typed("string");
  if (!words.empty()) item["enum"] = words;
  return {{"type", Json::array({"array", "string"})}, {"items", std::move(item)}};
}

Json schema_of(const Setting& setting) {
  Json schema;
  switch (setting.type) {
    case SettingType::Text: schema = typed("string"); break;
    case SettingType::Word: schema = {{"enum", setting.allowed}}; break;
    case SettingType::List: schema = list_or_text(setting.allowed); break;
    case SettingType::Boolean: schema = typed("boolean"); break;
    case SettingType::Duration:
      schema = {{"type", "string"}, {"pattern", "^([0-9]+(\\.[0-9]+)?(h|m|s|ms|us|ns))+$"}};
      break;
    case SettingType::Bytes:
      schema = {{"type", Json::array({"string", "integer"})}, {"pattern", "^[0-9]+(\\.[0-9]+)?([KMGT]i?)?B?$"}};
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
  const Json schema = Json::parse(*text);
  Json wanted = schema;
  wanted["definitions"]["config"] = config_schema();
  if (std::getenv("SONDE_UPDATE_DOCS")) {
    ASSERT_TRUE(write_file_atomically(path, wanted.dump(2) + "\n"));
    return;
  }
  EXPECT_EQ(schema.at("definitions").at("config"), wanted.at("definitions").at("config")) << "run `make generate`";
}

// Whatever is an object says what it may have; only what Kubernetes itself checks is left open.
void expect_strict(const Json& schema, const std::string& where) {
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
  const Json schema = Json::parse(*text);
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
