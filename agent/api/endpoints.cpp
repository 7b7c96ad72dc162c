// SPDX-License-Identifier: Apache-2.0
#include "agent/api/endpoints.h"

#include <algorithm>
#include <set>
#include <utility>

namespace sonde {
namespace {

WebReply all_checks(const std::string& path, std::vector<HealthResult> results, const WebRequest& request) {
  std::set<std::string> excluded;
  for (const auto& [key, value] : request.query)
    if (key == "exclude") excluded.insert(value);
  std::string lines;
  bool ok = true;
  for (const HealthResult& result : results) {
    if (excluded.erase(result.name) > 0) {
      lines += "[+]" + result.name + " excluded: ok\n";
    } else if (result.ok) {
      lines += "[+]" + result.name + " ok\n";
    } else {
      lines += "[-]" + result.name + " failed: " + result.message + "\n";
      ok = false;
    }
  }
  for (const std::string& name : excluded) lines += "warn: there is no check to exclude named \"" + name + "\"\n";
  if (ok && !request.has("verbose")) return {.body = "ok"};
  return {.status = ok ? 200 : 500, .body = lines + path.substr(1) + (ok ? " check passed\n" : " check failed\n")};
}

WebReply one_check(const std::string& name, const std::vector<HealthResult>& results) {
  auto found = std::find_if(results.begin(), results.end(), [&](const auto& result) { return result.name == name; });
  if (found == results.end()) {
    std::string names;
    for (const HealthResult& result : results) names += (names.empty() ? "" : ", ") + result.name;
    return {.status = 404, .body = "There is no such check. Available: " + names + "\n"};
  }
  if (found->ok) return {.body = "ok"};
  return {.status = 500, .body = "[-]" + found->name + " failed: " + found->message + "\n"};
}

std::string html_escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

}  // namespace

void serve_health(HttpServer& server, const HealthChecks& checks) {
  const std::pair<const char*, HealthKind> paths[] = {
      {"/livez", HealthKind::Live}, {"/readyz", HealthKind::Ready}, {"/healthz", HealthKind::Live}};
  for (const auto& [path, kind] : paths) {
    server.route(path, [&checks, path = std::string(path), kind = kind](const WebRequest& request) {
      return all_checks(path, checks.run(kind), request);
    });
    std::string below = std::string(path) + "/";
    server.route(below, [&checks, below, kind = kind](const WebRequest& request) {
      return one_check(request.path.substr(below.size()), checks.run(kind));
    });
  }
}

void serve_metrics(HttpServer& server, PrometheusExporter& metrics) {
  server.route("/metrics", [&metrics](const WebRequest& request) {
    const ScrapePeer peer{request.peer, request.user_agent, request.scrape_timeout, request.connection};
    const bool reads = request.method == "GET";
    Exposition made = metrics.render({request.accept, request.accept_encoding, reads ? &peer : nullptr});
    WebReply reply{.content_type = std::move(made.content_type),
                   .content_encoding = std::move(made.content_encoding),
                   .body = std::move(made.body)};
    if (!reads) return reply;
    reply.on_sent = [&metrics, visit = made.visit] { metrics.delivered(visit); };
    reply.comes_again = !request.scrape_timeout.empty();
    return reply;
  });
}

void serve_json(HttpServer& server, const std::string& path, JsonProvider provider) {
  server.route(path, [provider = std::move(provider)](const WebRequest&) {
    return WebReply{.content_type = "application/json", .body = provider() + "\n"};
  });
}

void serve_index(HttpServer& server, std::vector<std::pair<std::string, std::string>> paths) {
  std::string page = "<!doctype html><meta charset=\"utf-8\"><title>Sonde</title><h1>Sonde</h1><ul>\n";
  for (const auto& [path, says] : paths)
    page += "<li><a href=\"" + html_escaped(path) + "\">" + html_escaped(path) + "</a> " + html_escaped(says) + "\n";
  page += "</ul>\n";
  server.route(
      "/", [page](const WebRequest&) { return WebReply{.content_type = "text/html; charset=utf-8", .body = page}; });
}

}  // namespace sonde
