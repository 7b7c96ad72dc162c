// SPDX-License-Identifier: Apache-2.0
// /statusz has the form that docs/ops/status.schema.json publishes: no field is missing, none is there that it does not name.
#include <algorithm>
#include <fstream>

#include "tests/kernel/support/agent_test.h"

namespace sonde::test {
namespace {

using Json = nlohmann::json;

bool is_of_type(const Json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  return type == "number" && value.is_number();
}

// As much of JSON Schema as the file uses; each violation is a sentence.
void validate(const Json& schema, const Json& value, const std::string& where, std::vector<std::string>& wrong) {
  if (!is_of_type(value, schema["type"])) return wrong.push_back(where + " is no " + schema["type"].get<std::string>());
  if (schema.contains("enum")) {
    const auto& words = schema["enum"];
    if (std::find(words.begin(), words.end(), value) == words.end()) wrong.push_back(where + " is " + value.dump());
  }
  if (schema.contains("minimum") && value < schema["minimum"]) wrong.push_back(where + " is " + value.dump());
  if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      validate(schema["items"], value[i], where + "[" + std::to_string(i) + "]", wrong);
    }
  }
  if (!value.is_object()) return;
  for (const auto& name : schema.value("required", Json::array())) {
    if (!value.contains(name)) wrong.push_back(where + "." + name.get<std::string>() + " is missing");
  }
  for (const auto& [name, field] : value.items()) {
    const Json& more = schema["additionalProperties"];
    if (schema.contains("properties") && schema["properties"].contains(name)) {
      validate(schema["properties"][name], field, where + "." + name, wrong);
    } else if (more.is_object()) {
      validate(more, field, where + "." + name, wrong);
    } else {
      wrong.push_back(where + "." + name + " is not in the schema");
    }
  }
}

Json published_schema() {
  std::ifstream file(SONDE_SOURCE_DIR "/docs/ops/status.schema.json");
  return Json::parse(file, nullptr, false);
}

std::vector<std::string> violations(const Json& status) {
  std::vector<std::string> wrong;
  validate(published_schema(), status, "status", wrong);
  return wrong;
}

class AgentStatusTest : public AgentTest {
 protected:
  void SetUp() override {
    AgentTest::SetUp();
    if (!published_schema().is_object()) GTEST_SKIP() << "the source tree is not here";
  }
};

TEST_F(AgentStatusTest, HasThePublishedForm) {
  const Cgroup& box = cgroup("box");
  policy("mine", io_of(box.path()));
  policy("ends", io_of(box.path() + "/none", "activeForSeconds: 1"));
  policy_text("broken", "kind: nothing\n");
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return measured(box.path()); }));
  box.run([] { read_bytes(4096); });
  ASSERT_TRUE(await([&] { return bytes_read(box) == 4096; }));
  ASSERT_TRUE(await([&] { return !status()["policies"].empty() && !status()["policy_errors"].empty(); }));
  EXPECT_EQ(violations(status()), std::vector<std::string>());
}

TEST_F(AgentStatusTest, HasItWithABrokenProgramToo) {
  break_program_ = "io_sys_enter";
  policy("mine", io_of("/sonde-agent-*"));
  ASSERT_NO_FATAL_FAILURE(start());
  ASSERT_TRUE(await([&] { return status().dump().find("io_sys_enter") != std::string::npos; }));
  EXPECT_EQ(violations(status()), std::vector<std::string>());
}

TEST_F(AgentStatusTest, TheCheckFindsWhatIsWrong) {
  policy("mine", io_of("/sonde-agent-*"));
  ASSERT_NO_FATAL_FAILURE(start());
  Json changed = status();
  ASSERT_EQ(violations(changed), std::vector<std::string>());
  changed["uptime_seconds"] = "long";
  changed["modules"][0]["health"] = "fine";
  changed["modules"][0].erase("losses");
  changed["surprise"] = 1;
  changed["subjects"]["known"] = -1;
  EXPECT_EQ(violations(changed).size(), 5U);
}

}  // namespace
}  // namespace sonde::test
