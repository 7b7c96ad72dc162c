// SPDX-License-Identifier: Apache-2.0
// Which paths the agent's two listeners serve. What they show comes from functions, so that this layer knows no
// runtime.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "agent/api/health.h"
#include "agent/api/http_server.h"
#include "agent/export/prometheus_exporter.h"

namespace sonde {

using JsonProvider = std::function<std::string()>;

// /livez, /readyz, /healthz (the old name of livez); each with ?verbose, ?exclude=NAME (repeatable) and /livez/NAME for
// one check. 200 "ok" or 500. `checks` must outlive the server.
void serve_health(HttpServer& server, const HealthChecks& checks);

// /metrics. `metrics` must outlive the server.
void serve_metrics(HttpServer& server, PrometheusExporter& metrics);

// A JSON document at a path: /statusz, /report, …
void serve_json(HttpServer& server, const std::string& path, JsonProvider provider);

// "/": a plain list of the paths, for people.
void serve_index(HttpServer& server, std::vector<std::pair<std::string, std::string>> paths);

}  // namespace sonde
