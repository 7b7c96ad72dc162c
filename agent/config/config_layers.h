// SPDX-License-Identifier: Apache-2.0
// The layers of a configuration, each put over the one before. Used by load_config only.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "agent/config/settings.h"

namespace sonde {

// What is being put together: the configuration, who said what, what is wrong.
struct Loading {
  Config config;
  std::map<std::string, std::string> sources;
  std::vector<std::string> warnings;
  std::vector<std::string> problems;

  void refuse(std::string_view sentence);  // a problem: the words in it may be anybody's, the sentence is one line
  // `where` goes in front of a problem ("--interval", "sonde.yaml:3:11: interval") and, unless `source` says
  // otherwise, is remembered as the source.
  void set(const Setting& setting, std::string_view value, const std::string& where, const std::string& source = {});
};

// What a profile says; the name is a value of the setting `profile`.
void apply_profile(Loading& loading, std::string_view profile);
// Keys, then the part `profiles.<profile>` of the file.
void apply_file(Loading& loading, const std::string& path, std::string_view text, std::string_view profile);
void apply_otel(Loading& loading, const GetEnv& env);
void apply_aliases(Loading& loading, const GetEnv& env);
void apply_sonde_variables(Loading& loading, const GetEnv& env, const std::vector<std::string>& names);
void apply_flags(Loading& loading, const std::map<std::string, std::string>& flags);
// What no single setting can know.
void check_together(Loading& loading);

// The profile a file asks for; empty if none.
std::string profile_in(std::string_view text, const std::string& path);

}  // namespace sonde
