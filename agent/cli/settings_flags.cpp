// SPDX-License-Identifier: Apache-2.0
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "agent/base/json.h"
#include "agent/base/text.h"
#include "agent/cli/cli.h"
#include "agent/config/settings.h"

namespace sonde::cli {
namespace {

constexpr const char* kJsonPattern = R"({"time":"%Y-%m-%dT%H:%M:%S.%fZ","level":"%l","message":%j})";
constexpr const char* kTextPattern = "%Y-%m-%d %H:%M:%S.%e %^%-5l%$ %v";

// %j: the message as a JSON string.
class JsonMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string text(message.payload.data(), message.payload.size());
    const std::string json = json_text(nlohmann::json(text));
    out.append(json.data(), json.data() + json.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JsonMessage>(); }
};

// The first part of a setting's name groups the flags in --help.
std::string group_of(const Setting& setting) {
  const auto dot = setting.name.find('.');
  std::string group = dot == std::string::npos ? "General" : setting.name.substr(0, dot);
  group[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(group[0])));
  return group;
}

}  // namespace

void add_settings(CLI::App& command, std::map<std::string, std::string>& flags) {
  for (const Setting& setting : settings()) {
    if (setting.flag.empty()) continue;
    const auto keep = [&flags, flag = setting.flag](const std::string& value) { flags[flag] = value; };
    std::string help = setting.help;
    if (!setting.range.empty()) help += " (" + setting.range + ")";
    CLI::Option* option = command.add_option_function<std::string>("--" + setting.flag, keep, help);
    if (setting.type == SettingType::Boolean) option->expected(0, 1)->default_str("true");
    option->group(group_of(setting))->type_name("");
    option->take_last();
  }
}

Result<LoadedConfig> read_config(const std::map<std::string, std::string>& flags, const std::string& file,
                                 ConfigInputs* inputs) {
  ConfigInputs all = process_inputs();
  all.flags = flags;
  all.file = file;
  auto loaded = load_config(all);
  if (inputs) *inputs = all;
  return loaded;
}

void log_to_stderr() {
  auto log = spdlog::get("sonde");
  spdlog::set_default_logger(log ? log : spdlog::stderr_color_mt("sonde"));
}

void set_up_log(const LogConfig& log) {
  spdlog::set_level(spdlog::level::from_str(log.level));
  if (log.format == LogFormat::Json) {
    auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
    formatter->add_flag<JsonMessage>('j').set_pattern(kJsonPattern);
    spdlog::set_formatter(std::move(formatter));
  } else {
    spdlog::set_pattern(kTextPattern);
  }
}

}  // namespace sonde::cli
