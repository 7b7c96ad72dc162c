// SPDX-License-Identifier: Apache-2.0
#include "agent/export/prometheus_format.h"

#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "agent/base/text.h"

namespace sonde {
namespace {

// One element of Accept or Accept-Encoding: `type/subtype;a=b;q=0.5`. Names in lower case.
struct Offer {
  std::string name;
  std::vector<std::pair<std::string, std::string>> parameters;
  double q = 1;

  std::string_view parameter(std::string_view key) const {
    for (const auto& [name_, value] : parameters)
      if (name_ == key) return value;
    return {};
  }
};

// RFC 9110: 0 to 1 with at most three digits; what is no number counts as 0, so that it is not chosen by accident.
double quality(std::string_view text) {
  double value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !(value >= 0)) return 0;
  return value > 1 ? 1 : value;
}

std::string unquoted(std::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
  return std::string(value);
}

std::vector<Offer> parse_offers(std::string_view header) {
  constexpr std::size_t kMaxOffers = 32;
  std::vector<Offer> out;
  for (std::string_view element : split(header, ',')) {
    if (out.size() == kMaxOffers) break;
    std::vector<std::string_view> parts = split(element, ';');
    Offer offer;
    offer.name = lower(trim(parts[0]));
    if (offer.name.empty()) continue;
    for (std::size_t i = 1; i < parts.size(); i++) {
      std::size_t equals = parts[i].find('=');
      if (equals == std::string_view::npos) continue;
      std::string key = lower(trim(parts[i].substr(0, equals)));
      std::string value = unquoted(trim(parts[i].substr(equals + 1)));
      if (key == "q")
        offer.q = quality(value);
      else
        offer.parameters.emplace_back(std::move(key), std::move(value));
    }
    out.push_back(std::move(offer));
  }
  return out;
}

std::string escaping_of(const Offer& offer) {
  std::string_view asked = offer.parameter("escaping");
  if (asked == "allow-utf-8" || asked == "allow-utf8" || asked == "values") return std::string(asked);
  return "underscores";
}

std::optional<Negotiated> answer(const Offer& offer) {
  std::string_view version = offer.parameter("version");
  if (offer.name == "application/vnd.google.protobuf") {
    std::string_view proto = offer.parameter("proto");
    std::string_view encoding = offer.parameter("encoding");
    if (!proto.empty() && proto != "io.prometheus.client.MetricFamily") return std::nullopt;
    if (!encoding.empty() && encoding != "delimited") return std::nullopt;
    return Negotiated{PrometheusFormat::Protobuf,
                      "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited; "
                      "escaping=" +
                          escaping_of(offer)};
  }
  if (offer.name == "application/openmetrics-text") {
    if (version == "0.0.1")
      return Negotiated{PrometheusFormat::OpenMetrics,
                        "application/openmetrics-text; version=0.0.1; charset=utf-8; escaping=" + escaping_of(offer)};
    if (!version.empty() && version != "1.0.0") return std::nullopt;
    return Negotiated{PrometheusFormat::OpenMetrics,
                      "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=" + escaping_of(offer)};
  }
  if (offer.name == "text/plain") {
    if (version == "1.0.0")
      return Negotiated{PrometheusFormat::Text,
                        "text/plain; version=1.0.0; charset=utf-8; escaping=" + escaping_of(offer)};
    if (!version.empty() && version != "0.0.4") return std::nullopt;
    return Negotiated{PrometheusFormat::Text, "text/plain; version=0.0.4; charset=utf-8"};
  }
  if (offer.name == "*/*" || offer.name == "text/*")
    return Negotiated{PrometheusFormat::Text, "text/plain; version=0.0.4; charset=utf-8"};
  return std::nullopt;
}

}  // namespace

Negotiated negotiate_format(std::string_view accept) {
  Negotiated best{PrometheusFormat::Text, "text/plain; version=0.0.4; charset=utf-8"};
  double best_q = 0;
  for (const Offer& offer : parse_offers(accept)) {
    if (offer.q <= 0 || offer.q < best_q) continue;
    std::optional<Negotiated> possible = answer(offer);
    if (!possible) continue;
    if (offer.q > best_q || possible->format > best.format) {
      best = std::move(*possible);
      best_q = offer.q;
    }
  }
  return best;
}

bool accepts_gzip(std::string_view accept_encoding) {
  double named = -1, any = -1;
  for (const Offer& offer : parse_offers(accept_encoding)) {
    if (offer.name == "gzip" || offer.name == "x-gzip") named = offer.q;
    if (offer.name == "*") any = offer.q;
  }
  return named >= 0 ? named > 0 : any > 0;
}

}  // namespace sonde
