# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry Collector, Prometheus, VictoriaMetrics, and the receiver that answers as told."""

import json
import pathlib
import urllib.error
import urllib.parse
import urllib.request

from . import machine, otlp

COLLECTOR = """
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "{address}:{grpc}"{limit}{tls}}}
      http: {{endpoint: "{address}:{http}"{tls}}}
  json_lines: {{path: "{lines}"}}
exporters:
  file: {{path: "{file}", flush_interval: 200ms, append: true}}
  file/spans: {{path: "{spans}", flush_interval: 200ms, append: true}}
  otlphttp: {{endpoint: "{forward}", sending_queue: {{enabled: false}}}}
service:
  telemetry: {{metrics: {{level: none}}, logs: {{level: info}}}}
  pipelines:
    metrics: {{receivers: [{receivers}], {processors}exporters: [{exporters}]}}
    traces: {{receivers: [otlp], exporters: [file/spans]}}
"""

TO_DELTA = """
processors:
  cumulativetodelta: {}
"""


def attributes_of(thing):
    """Of a Resource or a span in OTLP/JSON: {key: value}, integers as such."""
    values = {}
    for one in thing.get("attributes", []):
        (kind, value), = one["value"].items()
        values[one["key"]] = int(value) if kind == "intValue" else value
    return values


class Collector:
    """A real Collector that writes what arrives into `file`."""

    def __init__(self, directory, certificate=None, key=None, client_ca=None, max_mib=None, address="127.0.0.1", ports=None,
                 to_delta=False, lines=None, forward=None):
        """to_delta: through cumulativetodelta. lines: a file of OTLP/JSON lines that it reads as well, whole, while it starts.
        forward: an OTLP address where it sends what it has, instead of the file."""
        self.directory = pathlib.Path(directory)
        self.grpc, self.http = ports or (machine.free_port(), machine.free_port())
        self.file = self.directory / "received.jsonl"
        self.spans_file = self.directory / "received-spans.jsonl"
        tls = ""
        if certificate:
            ca = f', client_ca_file: "{client_ca}"' if client_ca else ""
            tls = f', tls: {{cert_file: "{certificate}", key_file: "{key}"{ca}}}'
        limit = f", max_recv_msg_size_mib: {max_mib}" if max_mib else ""
        self.config = self.directory / "collector.yaml"
        config = COLLECTOR.format(address=address, grpc=self.grpc, http=self.http, file=self.file, spans=self.spans_file, tls=tls,
                                  limit=limit,
                                  lines=lines or "", forward=forward or "http://127.0.0.1:1",
                                  exporters="otlphttp" if forward else "file", receivers="otlp, json_lines" if lines else "otlp",
                                  processors="processors: [cumulativetodelta], " if to_delta else "")
        self.config.write_text(config + (TO_DELTA if to_delta else ""))
        self.service = None

    def start(self):
        self.service = machine.Service(self.directory, "collector", [machine.tool("collector"), f"--config={self.config}"])
        # Its ports are open before its receivers have all started, which for `lines` means: before they are read.
        self.service.wait_until(lambda: "Everything is ready" in self.service.log(), 90, "the Collector is ready")
        return self

    def metrics(self):
        return otlp.Metrics.read(self.file)

    def spans(self):
        """[(attributes of the Resource, scope, span)] of all that arrived, each as OTLP/JSON has it."""
        found = []
        if not self.spans_file.exists():
            return found
        for line in self.spans_file.read_text().splitlines():
            for resource in json.loads(line)["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    found += [(attributes_of(resource["resource"]), scope["scope"], span) for span in scope["spans"]]
        return found

    def finish(self):
        """All that arrived, once it is written."""
        self.service.stop()
        return self.metrics()

    def stop(self):
        if self.service:
            self.service.kill()


class Moody:
    def __init__(self, directory, answers, http=False):
        self.port = machine.free_port()
        argv = [machine.tool("moody"), "-listen", f"127.0.0.1:{self.port}", "-answers", answers]
        self.service = machine.Service(directory, "moody", argv + (["-http"] if http else []))
        self.service.wait_until(lambda: machine.listens(self.port), 60, "moody listens")

    def requests(self):
        return [json.loads(line) for line in self.service.out().splitlines() if line.endswith("}")]

    def stop(self):
        self.service.kill()


PROMETHEUS = """
global: {{scrape_interval: {interval}}}
scrape_configs:
  - job_name: sonde
    honor_labels: true
    scrape_native_histograms: {native}
    always_scrape_classic_histograms: {native}
    static_configs: [{{targets: [{targets}]}}]
"""


def _targets(ports):
    """One port or several, as YAML."""
    return ", ".join(f'"127.0.0.1:{port}"' for port in ([ports] if isinstance(ports, int) else ports))


class Queried:
    """What answers Prometheus's query API at `port`."""

    def _get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return answer.read()

    def query(self, expression, **arguments):
        """[(labels, value)]"""
        answer = json.loads(self._get("/api/v1/query?" + urllib.parse.urlencode({"query": expression, **arguments})))
        assert answer["status"] == "success", answer
        return [(r["metric"], r["value"][1] if "value" in r else r["histogram"][1]) for r in answer["data"]["result"]]

    def samples(self, series, within):
        """[(labels, [(time, value)])]"""
        answer = json.loads(self._get("/api/v1/query?" + urllib.parse.urlencode({"query": f"{series}[{within}]"})))
        return [(r["metric"], r.get("values")) for r in answer["data"]["result"]]

    def names(self):
        """Of all metrics."""
        return json.loads(self._get("/api/v1/label/__name__/values"))["data"]

    def number(self, expression):
        """The one value, or 0 where nothing is."""
        found = self.query(expression)
        assert len(found) < 2, found
        return float(found[0][1]) if found else 0.0

    def stop(self):
        self.service.kill()


class Prometheus(Queried):
    def __init__(self, directory, target=1, native=True, interval="1s", name="prometheus", features=()):
        """target: the port that it scrapes, or several."""
        self.port = machine.free_port()
        directory = pathlib.Path(directory)
        config = directory / f"{name}.yaml"
        config.write_text(PROMETHEUS.format(targets=_targets(target), native=str(native).lower(), interval=interval))
        self.service = machine.Service(directory, name, [
            machine.tool("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={directory / (name + '-tsdb')}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--web.enable-otlp-receiver",
            *(f"--enable-feature={feature}" for feature in features)])
        self.service.wait_until(self._ready, 120, "Prometheus is ready")

    def _ready(self):
        try:
            return b"Ready" in self._get("/-/ready")
        except (urllib.error.URLError, OSError):
            return False

    def targets(self):
        return json.loads(self._get("/api/v1/targets"))["data"]["activeTargets"]

    def otlp(self):
        return f"http://127.0.0.1:{self.port}/api/v1/otlp"


VICTORIA = """
scrape_configs:
  - job_name: sonde
    honor_labels: true
    scrape_interval: 1s
    static_configs: [{{targets: [{targets}]}}]
"""


class VictoriaMetrics(Queried):
    def __init__(self, directory, target=None):
        """target: the port that it scrapes, or several."""
        self.port = machine.free_port()
        directory = pathlib.Path(directory)
        argv = [machine.tool("victoria-metrics"), f"-storageDataPath={directory / f'victoria-metrics-{self.port}'}",
                f"-httpListenAddr=127.0.0.1:{self.port}", "-search.latencyOffset=0s", "-opentelemetry.usePrometheusNaming"]
        if target:
            config = directory / "victoria-metrics.yaml"
            config.write_text(VICTORIA.format(targets=_targets(target)))
            argv.append(f"-promscrape.config={config}")
        self.service = machine.Service(directory, "victoria-metrics", argv)
        self.service.wait_until(lambda: machine.listens(self.port), 60, "VictoriaMetrics listens")

    def query(self, expression, **arguments):
        self._get("/internal/force_flush")  # what has arrived can be asked for
        return super().query(expression, nocache=1, **arguments)

    def otlp(self):
        return f"http://127.0.0.1:{self.port}/opentelemetry"
