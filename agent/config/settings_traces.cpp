// SPDX-License-Identifier: Apache-2.0
// The settings for spans. Most of them are those for metrics, for spans alone.
#include "agent/config/setting_types.h"

#define SONDE_FIELD(path) \
  [](auto& c) -> auto& { return c.path; }

namespace sonde::setting {
namespace {

// export.otlp.<name> for spans alone: read and shown by the row of metrics, through a Config that has nothing else. Empty: not
// set.
template <typename Common, typename Own>
Setting own(const std::vector<Setting>& table, std::string_view name, Common common, Own field, std::string help,
            std::string_view variable) {
  const Setting& like = *std::ranges::find(table, "export.otlp." + std::string(name), &Setting::name);
  Setting s = like;
  s.name = "export.traces." + std::string(name);
  s.flag = "traces" + like.flag.substr(like.flag.find('-'));
  s.help = std::move(help) + "; default: as for metrics";
  s.otel = "OTEL_EXPORTER_OTLP_TRACES_" + std::string(variable);
  s.set = [set = like.set, common, field](Config& c, std::string_view text) -> Result<void> {
    field(c).reset();
    if (text.empty()) return {};
    Config scratch;
    if (auto done = set(scratch, text); !done) return done;
    field(c) = common(scratch);
    return {};
  };
  s.get = [get = like.get, common, field](const Config& c) {
    if (!field(c)) return std::string();
    Config scratch;
    common(scratch) = *field(c);
    return get(scratch);
  };
  return s;
}

#define SONDE_OWN(common, field) SONDE_FIELD(exports.otlp.common), SONDE_FIELD(exports.traces.field)

Setting endpoint(const std::vector<Setting>& t) {
  Setting s = own(t, "endpoint", SONDE_OWN(endpoint, endpoint), "The OTLP receiver of spans", "ENDPOINT");
  s.set = [set = s.set](Config& c, std::string_view text) -> Result<void> {
    c.exports.traces.endpoint_is_complete = text.ends_with("/v1/traces");
    return set(c, text);
  };
  return s;
}

}  // namespace

void add_traces(std::vector<Setting>& t) {
  t.push_back(word<TracesTo>("export.traces.to", "traces", SONDE_FIELD(exports.traces.to),
                             {{"auto", TracesTo::Auto},
                              {"otlp", TracesTo::Otlp},
                              {"file", TracesTo::File},
                              {"none", TracesTo::None}},
                             "Where to export spans; auto: where metrics are pushed, by OTLP and to the file",
                             {.otel = "OTEL_TRACES_EXPORTER"}));
  t.push_back(endpoint(t));
  t.push_back(own(t, "protocol", SONDE_OWN(protocol, protocol), "OTLP protocol for spans", "PROTOCOL"));
  t.push_back(own(t, "insecure", SONDE_OWN(insecure, insecure),
                  "Do not use TLS for an endpoint of spans given without http:// or https://", "INSECURE"));
  t.push_back(own(t, "headers", SONDE_OWN(headers, headers), "Headers to send with spans", "HEADERS"));
  t.push_back(own(t, "compression", SONDE_OWN(compression, compression), "Compression of spans", "COMPRESSION"));
  t.push_back(own(t, "timeout", SONDE_OWN(timeout_ns, timeout_ns), "Timeout of a request with spans", "TIMEOUT"));
  t.push_back(own(t, "tls.ca", SONDE_OWN(tls.ca, ca), "PEM file with the CAs for the certificate of the receiver of spans",
                  "CERTIFICATE"));
  t.push_back(own(t, "tls.certificate", SONDE_OWN(tls.certificate, certificate), "PEM file with the client certificate for spans",
                  "CLIENT_CERTIFICATE"));
  t.push_back(own(t, "tls.key", SONDE_OWN(tls.key, key), "PEM file with the key of that certificate", "CLIENT_KEY"));
  t.push_back(integer("export.traces.maxRequestSpans", "traces-max-request-spans", SONDE_FIELD(exports.traces.request_spans), 1,
                      100'000, "Maximum number of spans in a request"));
  t.push_back(integer("export.traces.queue.spans", "traces-queue-spans", SONDE_FIELD(exports.traces.queue_spans), 1, 10'000'000,
                      "Maximum number of spans queued in memory; the oldest are dropped and counted"));
  t.push_back(bytes("export.traces.queue.memory", "traces-queue-memory", SONDE_FIELD(exports.traces.queue_bytes), 64 << 10,
                    1ULL << 40, "Maximum size of queued spans in memory"));
}

}  // namespace sonde::setting
