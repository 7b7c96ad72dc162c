// SPDX-License-Identifier: Apache-2.0
// Which format a scraper wants, and the three writers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/base/result.h"
#include "agent/export/prometheus_family.h"

namespace sonde {

enum class PrometheusFormat : uint8_t { Text, OpenMetrics, Protobuf };

struct Negotiated {
  PrometheusFormat format = PrometheusFormat::Text;
  std::string content_type;
};

// From the Accept header, by q-values; on a tie protobuf, then OpenMetrics, then text. Text 0.0.4 if nothing fits.
// All names are plain ASCII, which every escaping but `dots` leaves as they are: it is echoed, and for `dots`
// (and none) `underscores` is said.
Negotiated negotiate_format(std::string_view accept);

// From the Accept-Encoding header: is gzip welcome?
bool accepts_gzip(std::string_view accept_encoding);

std::string render_text(const PrometheusFamilies& families);
std::string render_openmetrics(const PrometheusFamilies& families, bool created);
std::string render_protobuf(const PrometheusFamilies& families);

}  // namespace sonde
