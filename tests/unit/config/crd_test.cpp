// SPDX-License-Identifier: Apache-2.0
// crds/ and the agent must agree: what the API server admits the agent understands, with the same fields, words and ranges.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>

#include "agent/base/file.h"
#include "agent/config/policy_file.h"
#include "agent/config/yaml_tree.h"

namespace sonde {
namespace {

const std::string kCrds = std::string(SONDE_SOURCE_DIR) + "/crds/";

YamlNode parse_one(const std::string& file) {
  auto text = read_small_file(kCrds + file);
  EXPECT_TRUE(text) << file;
  auto documents = parse_yaml(text ? *text : "", file);
  EXPECT_TRUE(documents && documents->size() == 1) << file;
  return documents ? documents->front() : YamlNode();
}

const YamlNode& at(const YamlNode& node, std::initializer_list<std::string_view> keys) {
  const YamlNode* found = &node;
  for (std::string_view key : keys) {
    const YamlNode* next = key == "0" ? &found->items.at(0) : found->find(key);
    if (!next) throw std::out_of_range(std::string(key));
    found = next;
  }
  return *found;
}

const YamlNode& properties(const YamlNode& crd) {
  return at(crd, {"spec", "versions", "0", "schema", "openAPIV3Schema", "properties"});
}

std::string text_at(const YamlNode& schema, std::string_view key) {
  const YamlNode* found = schema.find(key);
  return found ? found->text : "";
}

std::vector<std::string> problems_of(const std::string& kind, const std::string& spec) {
  const std::string ns = kind == "MonitorPolicy" ? ", namespace: n" : "";
  return parse_policies(
             "apiVersion: sonde.dev/v1alpha1\nkind: " + kind + "\nmetadata: {name: p" + ns + "}\nspec: " + spec,
             "p.yaml", 0)
      .problems;
}

// The problem that holds these words, or nothing.
std::string problem_with(const std::vector<std::string>& problems, const std::string& words) {
  for (const std::string& problem : problems) {
    if (problem.find(words) != std::string::npos) return problem;
  }
  return {};
}

// A place in the schema: how messages call it, and how a whole spec is written that has a given value there.
struct Place {
  std::string name;
  std::function<std::string(const std::string&)> spec_with;
};

class Walk {
 public:
  explicit Walk(std::string kind) : kind_(std::move(kind)) {}
  std::size_t checked = 0;

  void visit(const YamlNode& schema, const Place& place) {
    const std::string type = text_at(schema, "type");
    if (schema.find("enum")) words(at(schema, {"enum"}), place);
    if (type == "integer") range(schema, place);
    if (type == "array") {
      const YamlNode& items = at(schema, {"items"});
      const bool maps = text_at(items, "type") == "object";
      visit(items, {maps ? place.name + "[0]" : place.name,
                    [=](const std::string& value) { return place.spec_with("[" + value + "]"); }});
    }
    if (const YamlNode* fields = schema.find("properties")) {
      names(*fields, place);
      for (const YamlEntry& field : fields->entries) {
        const std::string& key = field.key.text;
        const std::string others = required_beside(schema, key);
        visit(field.value, {place.name + "." + key, [=](const std::string& value) {
                              return place.spec_with("{" + others + key + ": " + value + "}");
                            }});
      }
    }
  }

 private:
  // The required fields of this object but for one, with some value each.
  static std::string required_beside(const YamlNode& schema, const std::string& but) {
    std::string text;
    const YamlNode* required = schema.find("required");
    for (const YamlNode& name : required ? required->items : std::vector<YamlNode>()) {
      if (name.text == but) continue;
      const YamlNode& field = at(schema, {"properties", name.text});
      const YamlNode* words = field.find("enum");
      const std::string number = text_at(field, "minimum");
      text += name.text + ": " + (words ? words->items[0].text : number.empty() ? "io" : number) + ", ";
    }
    return text;
  }

  // The parser lists what it allows when it meets a field it does not know.
  void names(const YamlNode& fields, const Place& place) {
    const std::string said = problem_with(problems_of(kind_, place.spec_with("{zzz: 1}")), "has no field 'zzz'");
    const std::size_t begin = said.find("(allowed: ");
    ASSERT_NE(begin, std::string::npos) << place.name << ": " << said;
    std::set<std::string> allowed, admitted;
    std::string word;
    for (char c : said.substr(begin + 10)) {
      if (c == ',' || c == ')')
        allowed.insert(std::exchange(word, {}));
      else if (c != ' ')
        word += c;
    }
    allowed.erase("cgroups");  // selectors of files only
    allowed.erase("commands");
    if (kind_ == "MonitorPolicy") allowed.erase("namespaceSelector");
    for (const YamlEntry& field : fields.entries) admitted.insert(field.key.text);
    EXPECT_EQ(allowed, admitted) << place.name;
    ++checked;
  }

  void words(const YamlNode& list, const Place& place) {
    const std::string said = problem_with(problems_of(kind_, place.spec_with("Zzz")), place.name + " must be ");
    EXPECT_FALSE(said.empty()) << place.name;
    for (const YamlNode& item : list.items) {
      EXPECT_NE(said.find(item.text), std::string::npos)
          << place.name << " admits " << item.text << "; agent: " << said;
      EXPECT_EQ(problem_with(problems_of(kind_, place.spec_with(item.text)), place.name + " must be "), "");
    }
    const auto commas = static_cast<std::size_t>(std::count(said.begin(), said.end(), ','));
    EXPECT_EQ(said.find(" or ") != std::string::npos, list.items.size() > 1) << said;
    EXPECT_LE(list.items.size(), commas + 2) << said;
    ++checked;
  }

  void range(const YamlNode& schema, const Place& place) {
    const long long low = std::stoll(text_at(schema, "minimum")), high = std::stoll(text_at(schema, "maximum"));
    const auto refused = [&](long long value) {
      return !problem_with(problems_of(kind_, place.spec_with(std::to_string(value))), place.name + " must be ")
                  .empty();
    };
    EXPECT_TRUE(refused(low - 1) && refused(high + 1)) << place.name << " " << low << ".." << high;
    EXPECT_FALSE(refused(low) || refused(high)) << place.name << " " << low << ".." << high;
    ++checked;
  }

  std::string kind_;
};

TEST(Crd, AdmitsWhatTheAgentReads) {
  for (const auto& [file, kind] : {std::pair{"clustermonitorpolicies.yaml", "ClusterMonitorPolicy"},
                                   std::pair{"monitorpolicies.yaml", "MonitorPolicy"}}) {
    const YamlNode crd = parse_one(file);
    EXPECT_EQ(at(crd, {"spec", "names", "kind"}).text, kind);
    Walk walk(kind);
    walk.visit(at(properties(crd), {"spec"}), {"spec", [](const std::string& value) { return value; }});
    EXPECT_GT(walk.checked, 35u);
  }
}

bool equal(const YamlNode& a, const YamlNode& b) {
  const auto same_entry = [](const YamlEntry& x, const YamlEntry& y) {
    return x.key.text == y.key.text && equal(x.value, y.value);
  };
  return a.kind == b.kind && a.text == b.text &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), equal) &&
         std::equal(a.entries.begin(), a.entries.end(), b.entries.begin(), b.entries.end(), same_entry);
}

// Everything but what a namespaced policy must not have.
TEST(Crd, BothPoliciesAreOne) {
  const YamlNode cluster = parse_one("clustermonitorpolicies.yaml"), tenant = parse_one("monitorpolicies.yaml");
  YamlNode wide = at(properties(cluster), {"spec"}), own = at(properties(tenant), {"spec"});
  const auto fields = [](YamlNode& spec) -> std::vector<YamlEntry>& {
    return std::ranges::find(spec.entries, "properties", [](const YamlEntry& e) { return e.key.text; })->value.entries;
  };
  EXPECT_EQ(std::erase_if(fields(wide), [](const YamlEntry& e) { return e.key.text == "namespaceSelector"; }), 1u);
  const auto functions = [&](YamlNode& spec) -> YamlNode& {
    return std::ranges::find(fields(spec), "functions", [](const YamlEntry& e) { return e.key.text; })->value;
  };
  EXPECT_FALSE(equal(functions(wide), functions(own)));  // one rule more: no kernel functions
  functions(wide) = functions(own) = YamlNode();
  EXPECT_TRUE(equal(wide, own));
  EXPECT_TRUE(equal(at(properties(cluster), {"status"}), at(properties(tenant), {"status"})));
}

// `kubectl explain` shows the description of each field. Those of apiVersion, kind and metadata come from the API server.
void expect_described(const YamlNode& schema, const std::string& path, std::size_t& fields) {
  if (const YamlNode* properties = schema.find("properties")) {
    for (const YamlEntry& field : properties->entries) {
      const std::string name = path + "." + field.key.text;
      const bool of_the_server = path.empty() && field.key.text != "spec" && field.key.text != "status";
      EXPECT_TRUE(of_the_server || !text_at(field.value, "description").empty()) << name << " has no description";
      expect_described(field.value, name, ++fields);
    }
  }
  if (const YamlNode* items = schema.find("items")) expect_described(*items, path + "[]", fields);
}

TEST(Crd, EveryFieldIsDescribed) {
  for (const char* file : {"clustermonitorpolicies.yaml", "monitorpolicies.yaml", "sondenodes.yaml"}) {
    SCOPED_TRACE(file);
    std::size_t fields = 0;
    const YamlNode crd = parse_one(file);
    expect_described(at(crd, {"spec", "versions", "0", "schema", "openAPIV3Schema"}), "", fields);
    EXPECT_GT(fields, 30u);
  }
}

TEST(Crd, ExamplesAreGood) {
  std::size_t seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kCrds + "examples")) {
    auto text = read_small_file(entry.path().string());
    ASSERT_TRUE(text);
    EXPECT_EQ(parse_policies(*text, entry.path().filename().string(), 0).problems, std::vector<std::string>());
    ++seen;
  }
  EXPECT_GE(seen, 6u);
}

}  // namespace
}  // namespace sonde
