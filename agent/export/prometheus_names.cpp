// SPDX-License-Identifier: Apache-2.0
#include "agent/export/prometheus_names.h"

#include <array>
#include <utility>

#include "agent/base/text.h"

namespace sonde {
namespace {

constexpr std::array<std::pair<std::string_view, std::string_view>, 26> kUnits{{
    {"d", "days"},          {"h", "hours"},        {"min", "minutes"},   {"s", "seconds"},      {"ms", "milliseconds"},
    {"us", "microseconds"}, {"ns", "nanoseconds"}, {"By", "bytes"},      {"KiBy", "kibibytes"}, {"MiBy", "mebibytes"},
    {"GiBy", "gibibytes"},  {"TiBy", "tibibytes"}, {"KBy", "kilobytes"}, {"MBy", "megabytes"},  {"GBy", "gigabytes"},
    {"TBy", "terabytes"},   {"m", "meters"},       {"V", "volts"},       {"A", "amperes"},      {"J", "joules"},
    {"W", "watts"},         {"g", "grams"},        {"Cel", "celsius"},   {"Hz", "hertz"},       {"%", "percent"},
    {"bit", "bits"},
}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kPer{{
    {"s", "second"},
    {"min", "minute"},
    {"h", "hour"},
    {"d", "day"},
    {"wk", "week"},
    {"mo", "month"},
    {"y", "year"},
}};

template <std::size_t N>
std::string_view find_word(const std::array<std::pair<std::string_view, std::string_view>, N>& table,
                           std::string_view unit) {
  for (const auto& [ucum, word] : table)
    if (ucum == unit) return word;
  return {};
}

bool is_name_char(char c, bool first) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

std::string sanitized(std::string_view text, std::string_view before_digit) {
  std::string out;
  if (!text.empty() && text[0] >= '0' && text[0] <= '9') out = before_digit;
  for (char c : text) {
    char good = is_name_char(c, false) ? c : '_';
    if (good == '_' && !out.empty() && out.back() == '_') continue;
    out.push_back(good);
  }
  return out.empty() ? std::string("_") : out;
}

bool has_word(std::string_view name, std::string_view word) {
  for (std::string_view part : split(name, '_'))
    if (part == word) return true;
  return false;
}

void remove_suffix(std::string& name, std::string_view suffix) {
  if (name.size() > suffix.size() && name.ends_with(suffix)) name.resize(name.size() - suffix.size());
}

}  // namespace

std::string prometheus_unit(std::string_view ucum, Instrument instrument) {
  std::string bare;  // without {annotations}
  int depth = 0;
  for (char c : ucum) {
    if (c == '{') depth++;
    if (depth == 0) bare.push_back(c);
    if (c == '}') depth--;
  }
  if (bare.empty()) return {};
  if (bare == "1") return instrument == Instrument::Gauge ? "ratio" : "";
  auto word = [](std::string_view unit, const auto& table) {
    std::string_view known = find_word(table, unit);
    return known.empty() ? sanitized(unit, "_") : std::string(known);
  };
  std::size_t slash = bare.find('/');
  if (slash == std::string::npos) return word(bare, kUnits);
  std::string_view over = std::string_view(bare).substr(0, slash);
  std::string_view under = std::string_view(bare).substr(slash + 1);
  std::string out = over.empty() ? std::string() : word(over, kUnits);
  if (under.empty()) return out;
  return out + (out.empty() ? "per_" : "_per_") + word(under, kPer);
}

PrometheusName prometheus_name(const MetricSpec& metric) {
  PrometheusName out;
  out.name = sanitized(metric.name, "_");
  bool counter = metric.instrument == Instrument::Counter;
  if (counter) remove_suffix(out.name, "_total");
  out.unit = prometheus_unit(metric.unit, metric.instrument);
  if (!out.unit.empty() && !out.name.ends_with("_" + out.unit)) {
    // A unit inside of the name is not said twice; OpenMetrics' UNIT wants it at the end, so there it is left out.
    if (has_word(out.name, out.unit))
      out.unit.clear();
    else
      out.name += "_" + out.unit;
  }
  return out;
}

std::string prometheus_label(std::string_view key) {
  std::string out = sanitized(key, "key_");
  // Leading "__" is Prometheus' own (the run is one by now); "le" and "quantile" mark buckets.
  if (out == "le" || out == "quantile") return "exported_" + out;
  return out;
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && quotes)
      out += "\\\"";
    else
      out.push_back(c);
  }
}

}  // namespace sonde
