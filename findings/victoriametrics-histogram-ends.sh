#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# VictoriaMetrics 1.153.0, OTLP metrics. A data point with the flag NO_RECORDED_VALUE (metrics data model, "Data Point Flags")
# says that its stream has ended. For an exponential histogram VictoriaMetrics writes a stale marker for `_count` and `_sum`, but
# none for the `_bucket` series with the label `vmrange` that it made of the earlier points, since the point that ends the stream
# has no buckets to name them. They are shown for five minutes more. An explicit-bucket histogram whose last point repeats its
# bounds ends whole.
# Observed: of the exponential histogram only `_bucket` is left; of the explicit one nothing. Exits with 1 if that has changed.
# Needs Go 1.21 or newer (which fetches Go 1.27.2 as a module), Python 3 with venv, and the Go and PyPI registries.
set -euo pipefail
work=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip -q install opentelemetry-proto==1.30.0
export GOTOOLCHAIN=go1.27.2 CGO_ENABLED=0 GOFLAGS=-modcacherw
mkdir build
GOBIN=$work/build go install github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics@v1.153.0

port=$((20000 + RANDOM % 20000))
build/victoria-metrics -storageDataPath=data -httpListenAddr=127.0.0.1:$port -search.latencyOffset=0s >log 2>&1 &
server=$!
venv/bin/python - "$port" <<'PYTHON'
import json
import sys
import time
import urllib.parse
import urllib.request

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

base = f"http://127.0.0.1:{sys.argv[1]}"
for _ in range(100):
    try:
        urllib.request.urlopen(base + "/health").read()
        break
    except OSError:
        time.sleep(0.1)


def push(ns, ended):
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    exponential, explicit = scope.metrics.add(name="exponential"), scope.metrics.add(name="explicit")
    exponential.exponential_histogram.aggregation_temporality = explicit.histogram.aggregation_temporality = 2
    one, two = exponential.exponential_histogram.data_points.add(), explicit.histogram.data_points.add()
    two.explicit_bounds.extend([1, 2])
    for point in (one, two):
        point.start_time_unix_nano, point.time_unix_nano, point.flags = start, ns, int(ended)
        point.count, point.sum = (0, 0) if ended else (3, 4.5)
    two.bucket_counts.extend([0, 0, 0] if ended else [0, 3, 0])
    if not ended:
        one.positive.offset = 0
        one.positive.bucket_counts.append(3)
    call = urllib.request.Request(base + "/opentelemetry/v1/metrics", request.SerializeToString(),
                                  {"Content-Type": "application/x-protobuf"})
    assert urllib.request.urlopen(call).status == 200


def shown(at):
    urllib.request.urlopen(base + "/internal/force_flush").read()
    query = urllib.parse.urlencode({"query": 'count({__name__=~"ex.*"}) by (__name__)', "time": at, "nocache": 1})
    answer = json.load(urllib.request.urlopen(f"{base}/api/v1/query?{query}"))
    return sorted(series["metric"]["__name__"] for series in answer["data"]["result"])


now = time.time_ns()
start = now - 30_000_000_000
push(now - 20_000_000_000, False)
before = shown(now / 1e9 - 15)
push(now - 10_000_000_000, True)
after = shown(now / 1e9)
print("shown while it goes on: ", ", ".join(before))
print("shown after its end:    ", ", ".join(after))
if before != ["explicit_bucket", "explicit_count", "explicit_sum",
              "exponential_bucket", "exponential_count", "exponential_sum"] or after != ["exponential_bucket"]:
    sys.exit("this is no longer as described")
PYTHON
echo "as described: the buckets of the exponential histogram have no end"
