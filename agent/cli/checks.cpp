// SPDX-License-Identifier: Apache-2.0
#include "agent/cli/checks.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <spdlog/fmt/fmt.h>

#include "agent/base/json.h"
#include "agent/cli/terminal.h"

namespace sonde::cli {
namespace {

const char* mark_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::Ok: return "[+]";
    case Verdict::Warning: return "[!]";
    case Verdict::Failure: return "[-]";
  }
  return "[?]";
}

const char* word_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::Ok: return "ok";
    case Verdict::Warning: return "warning";
    case Verdict::Failure: return "failure";
  }
  return "unknown";
}

Colour colour_of(Verdict verdict) {
  if (verdict == Verdict::Ok) return Colour::Green;
  return verdict == Verdict::Warning ? Colour::Yellow : Colour::Red;
}

}  // namespace

std::string checks_text(const std::vector<Check>& checks) {
  std::size_t width = 0;
  for (const Check& check : checks) width = std::max(width, check.name.size());
  std::string text;
  for (const Check& check : checks) {
    text += fmt::format("{} {:<{}}  {}\n", paint(colour_of(check.verdict), mark_of(check.verdict)), check.name, width,
                        check.finding);
    if (!check.remedy.empty()) text += fmt::format("    {:<{}}  → {}\n", "", width, check.remedy);
  }
  return text;
}

std::string checks_json(const std::vector<Check>& checks) {
  auto list = nlohmann::ordered_json::array();
  for (const Check& check : checks) {
    nlohmann::ordered_json one{{"name", check.name}, {"verdict", word_of(check.verdict)}, {"finding", check.finding}};
    if (!check.remedy.empty()) one["remedy"] = check.remedy;
    list.push_back(std::move(one));
  }
  return json_text(list, 2) + "\n";
}

int checks_code(const std::vector<Check>& checks) {
  int code = 0;
  for (const Check& check : checks) code = std::max(code, static_cast<int>(check.verdict));
  return code;
}

}  // namespace sonde::cli
