// SPDX-License-Identifier: Apache-2.0
// The one table of settings. Flags, SONDE_* variables, the keys of the YAML file, --check-config and the table in
// docs/ops/configuration.md all follow from it.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/base/result.h"
#include "agent/config/config.h"

namespace sonde {

enum class SettingType : uint8_t {
  Text,
  Word,  // one of `allowed`
  List,  // YAML sequence, or comma-separated text
  Integer,
  Bytes,     // 64MiB
  Duration,  // 10s
  Boolean,   // true, false; as a flag without value: true
  Map,       // YAML map of text, or k=v,k=v
};

struct Setting {
  std::string name;  // path in the file: export.otlp.endpoint
  std::string flag;  // without dashes: otlp-endpoint. The variable follows: SONDE_OTLP_ENDPOINT
  SettingType type = SettingType::Text;
  std::string help;                       // one sentence without full stop
  std::vector<std::string_view> allowed;  // Word and List: the words
  std::string range;                      // for people: "from 1 to 3600", "grpc or http/protobuf"
  std::string otel;                       // OTEL_* variables that set it too, strongest first, separated by spaces
  std::string alias;                      // a variable of another name
  bool secret = false;                    // never shown
  bool reloadable = false;                // SIGHUP is enough; others need a restart

  // Checks and sets; the error says what is allowed, without the setting's name.
  std::function<Result<void>(Config&, std::string_view)> set;
  std::function<std::string(const Config&)> get;  // in the form `set` reads

  std::string env() const;  // SONDE_…
};

const std::vector<Setting>& settings();
const Setting* find_setting(std::string_view name);

// The table of docs/ops/configuration.md.
std::string settings_markdown();

}  // namespace sonde
