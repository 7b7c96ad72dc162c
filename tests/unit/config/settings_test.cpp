// SPDX-License-Identifier: Apache-2.0
#include "agent/config/settings.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <set>

#include "agent/base/file.h"
#include "agent/base/text.h"

namespace sonde {
namespace {

TEST(Settings, NamesFlagsAndVariablesAreUnique) {
  std::set<std::string> names, flags, variables;
  for (const Setting& setting : settings()) {
    EXPECT_TRUE(names.insert(setting.name).second) << setting.name;
    EXPECT_TRUE(flags.insert(setting.flag).second) << setting.flag;
    EXPECT_TRUE(variables.insert(setting.env()).second) << setting.env();
    EXPECT_FALSE(setting.help.empty() || setting.help.ends_with('.')) << setting.name;
    EXPECT_EQ(setting.help.find('|'), std::string::npos) << setting.name;
  }
}

TEST(Settings, FlagsFixedForScriptsExist) {
  for (const char* flag : {"policies", "export", "otlp-endpoint", "file", "interval", "duration", "log-level",
                           "log-format", "target-pid", "target-comm", "probes"}) {
    EXPECT_TRUE(std::ranges::any_of(settings(), [&](const Setting& s) { return s.flag == flag; })) << flag;
  }
  EXPECT_EQ(find_setting("export.otlp.endpoint")->env(), "SONDE_OTLP_ENDPOINT");
}

TEST(Settings, WhatIsShownIsRead) {
  const Config defaults;
  for (const Setting& setting : settings()) {
    std::string value = setting.get(defaults);
    if (value.empty()) continue;
    Config config;
    auto set = setting.set(config, value);
    EXPECT_TRUE(set) << setting.name << ": " << set.error().message();
    EXPECT_EQ(setting.get(config), value) << setting.name;
  }
}

TEST(Settings, EveryWordIsTakenAndShown) {
  for (const Setting& setting : settings()) {
    for (std::string_view word : setting.allowed) {
      Config config;
      ASSERT_TRUE(setting.set(config, word)) << setting.name << " " << word;
      EXPECT_EQ(setting.get(config), word) << setting.name;
    }
  }
}

TEST(Settings, SettingOneChangesOnlyIt) {
  const std::pair<const char*, const char*> values[] = {
      {"log.level", "trace"}, {"interval", "7s"},        {"export.otlp.timeout", "3s"}, {"limits.subjects", "17"},
      {"export.to", "file"},  {"listen.grpc", "off"},    {"collection.idle", "17s"},    {"ceilings.period", "5s"},
      {"target.pid", "4"},    {"export.promote", "true"}};
  for (auto [name, value] : values) {
    Config config;
    ASSERT_TRUE(find_setting(name)->set(config, value)) << name;
    EXPECT_EQ(changed_settings(Config(), config), std::vector<std::string>{name});
  }
}

struct Wrong {
  const char* setting;
  const char* value;
  const char* sentence;
};

TEST(Settings, WrongValuesAreToldWithWhatIsAllowed) {
  const Wrong cases[] = {
      {"log.level", "verbose", "must be trace, debug, info, warn, error or off, not 'verbose'"},
      {"log.level", "inof", "must be trace, debug, info, warn, error or off, not 'inof', did you mean 'info'"},
      {"interval", "10", "'10' is not a duration: write for example 10s, 1m30s or 250ms"},
      {"interval", "1ms", "must be from 10ms to 1h, not '1ms'"},
      {"interval", "10 seconds", "'10 seconds' is not a duration: write for example 10s, 1m30s or 250ms"},
      {"collection.idle", "1500ms", "must be from 1s to 24h in whole seconds, not '1500ms'"},
      {"export.to", "otpl", "must be otlp, prometheus, file or none, not 'otpl', did you mean 'otlp'"},
      {"export.to", "", "must be otlp, prometheus, file or none, not ''"},
      {"export.to", "none,file", "must be none alone or a list without it"},
      {"export.file.maxBytes", "10 apples", "'10 apples' is not a size: write for example 64MiB, 10MB or 4096"},
      {"export.otlp.queue.memory", "1KiB", "must be from 64KiB to 1TiB, not '1KiB'"},
      {"export.otlp.protocol", "http", "must be grpc or http/protobuf, not 'http', did you mean 'http/protobuf'"},
      {"export.otlp.headers", "secret", "headers are name=value pairs, separated by commas"},
      {"limits.subjects", "many", "'many' is not a whole number from 16 to 1000000"},
      {"target.pid", "-1", "'-1' is not a whole number from 0 to 4194304"},
      {"listen.http", "18080",
       "'18080' is not an address: write for example 127.0.0.1:18080, [::]:18080, :18080 or off"},
      {"listen.grpc", "localhost:70000",
       "'localhost:70000' is not an address: write for example 127.0.0.1:18080, [::]:18080, :18080 or off"},
      {"listen.http", "::1:80",
       "'::1:80' is not an address: write for example 127.0.0.1:18080, [::]:18080, :18080 or off"},
      {"defaultPolicy.enabled", "yes", "must be true or false, not 'yes'"},
      {"defaultPolicy.preset", "High", "must be None, Minimal, Standard or Detailed, not 'High'"},
      {"resourceAttributes", "a", "must be key=value pairs, separated by commas"},
      {"resourceAttributes", "a=%zz", "has a % without two hex digits, write %25 for a %"},
  };
  for (const Wrong& c : cases) {
    Config config;
    auto set = find_setting(c.setting)->set(config, c.value);
    ASSERT_FALSE(set) << c.setting << " " << c.value;
    EXPECT_EQ(set.error().message(), c.sentence);
    EXPECT_TRUE(changed_settings(Config(), config).empty()) << c.setting;
  }
}

TEST(Settings, UnknownProbesNameTheNearest) {
  Config config;
  auto set = find_setting("defaultPolicy.probes")->set(config, "al");
  ASSERT_FALSE(set);
  EXPECT_TRUE(set.error().message().ends_with("not 'al', did you mean 'all'")) << set.error().message();
  EXPECT_TRUE(find_setting("defaultPolicy.probes")->set(config, "all"));
  for (const ModuleEntry& entry : modules()) {
    EXPECT_TRUE(find_setting("defaultPolicy.probes")->set(config, entry.module->info().name));
  }
}

TEST(Settings, ListsAndMapsKeepWhatIsInThem) {
  Config config;
  ASSERT_TRUE(find_setting("export.to")->set(config, " file , otlp,file"));
  EXPECT_EQ(config.exports.to, (std::vector<ExportKind>{ExportKind::File, ExportKind::Otlp}));
  ASSERT_TRUE(find_setting("export.otlp.headers")->set(config, "Authorization=Basic%20a%3Db%2Cc,x=1"));
  ASSERT_EQ(config.exports.otlp.headers.size(), 2u);
  EXPECT_EQ(config.exports.otlp.headers[0], std::pair(std::string("authorization"), std::string("Basic a=b,c")));
  Config copy;
  ASSERT_TRUE(find_setting("export.otlp.headers")->set(copy, find_setting("export.otlp.headers")->get(config)));
  EXPECT_EQ(copy.exports.otlp.headers, config.exports.otlp.headers);
}

// SONDE_UPDATE_DOCS=1 regenerates the table.
TEST(Settings, TableInTheDocumentationIsThisOne) {
  const std::string path = std::string(SONDE_SOURCE_DIR) + "/docs/ops/configuration.md";
  const std::string begin = "<!-- settings: generated from agent/config/settings_table.cpp -->\n";
  const std::string end = "<!-- end of settings -->\n";
  auto page = read_small_file(path);
  ASSERT_TRUE(page) << page.error().message();
  auto from = page->find(begin), to = page->find(end);
  ASSERT_TRUE(from != std::string::npos && to != std::string::npos);
  from += begin.size();
  if (std::getenv("SONDE_UPDATE_DOCS")) {
    std::string fresh = page->substr(0, from) + settings_markdown() + page->substr(to);
    ASSERT_TRUE(write_file_atomically(path, fresh));
    return;
  }
  EXPECT_EQ(page->substr(from, to - from), settings_markdown())
      << "run SONDE_UPDATE_DOCS=1 unit_config --gtest_filter=Settings.*";
}

}  // namespace
}  // namespace sonde
