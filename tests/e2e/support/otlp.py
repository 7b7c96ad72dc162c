# SPDX-License-Identifier: Apache-2.0
"""What OTLP/JSON lines say: the last state of every stream, by Resource, metric and attributes."""

import json


def _value(value):
    for kind, v in value.items():
        return int(v) if kind == "intValue" else v
    return None


def _attributes(pairs):
    return tuple(sorted((p["key"], _value(p["value"])) for p in pairs))


def has(resource, where):
    """Where is a value that one of the attributes has, or several; None: all Resources."""
    values = [value for _, value in resource]
    return where is None or all(one in values for one in (where if isinstance(where, tuple) else (where,)))


class Metrics:
    def __init__(self):
        self.streams = {}     # (resource, metric, attributes) -> last recorded point
        self.ended = set()    # those of them whose end was told
        self.metrics = {}     # name -> the metric's other fields, of its last appearance
        self.decreases = []   # cumulative streams that went down without a new start
        self.overlaps = []    # those that start anew before their last point
        self.requests = 0
        self.points = 0

    @staticmethod
    def read(path, offset=0):
        """offset: lines that begin before it are of no concern."""
        metrics = Metrics()
        try:
            with open(path, "rb") as file:
                if offset > 0:
                    file.seek(offset - 1)
                    file.readline()
                text = file.read().decode()
        except FileNotFoundError:
            return metrics
        for line in text.splitlines(keepends=True):
            if line.endswith("\n"):  # the last one may be half written
                metrics.add(json.loads(line))
        return metrics

    def add(self, request):
        self.requests += 1
        for resource_metrics in request.get("resourceMetrics", []):
            resource = _attributes(resource_metrics["resource"].get("attributes", []))
            for scope in resource_metrics["scopeMetrics"]:
                for metric in scope["metrics"]:
                    self._add_metric(resource, metric)

    def _add_metric(self, resource, metric):
        kind = next(k for k in ("sum", "gauge", "exponentialHistogram", "histogram") if k in metric)
        data = metric[kind]
        self.metrics[metric["name"]] = {"unit": metric.get("unit"), "kind": kind,
                                        "temporality": data.get("aggregationTemporality"),
                                        "monotonic": data.get("isMonotonic")}
        for point in data["dataPoints"]:
            self.points += 1
            key = (resource, metric["name"], _attributes(point.get("attributes", [])))
            if int(point.get("flags", 0)) & 1:  # no recorded value: the stream's end
                self.ended.add(key)
                continue
            self.ended.discard(key)
            self._check(key, kind, data, point)
            self.streams[key] = {**point, "kind": kind}

    def _check(self, key, kind, data, point):
        before = self.streams.get(key)
        if not before or data.get("aggregationTemporality") != 2:
            return
        if kind == "sum" and not data.get("isMonotonic"):
            return
        same_start = before.get("startTimeUnixNano") == point.get("startTimeUnixNano")
        if not same_start and int(point.get("startTimeUnixNano", 0)) <= int(before["timeUnixNano"]):
            self.overlaps.append((key, before, point))
        if same_start and number(point) < number(before):
            self.decreases.append((key, number(before), number(point)))

    def select(self, name, where, **attributes):
        """Points of a metric whose Resource has the attribute value `where` somewhere, or each of several; attributes: a__b means a.b."""
        wanted = {k.replace("__", "."): v for k, v in attributes.items()}
        found = []
        for (resource, metric, attrs), point in self.streams.items():
            if metric != name or not has(resource, where):
                continue
            have = dict(attrs)
            if all(have.get(k) == v for k, v in wanted.items()):
                found.append(point)
        return found

    def total(self, name, where, **attributes):
        """Sum of values (counts of histograms) over the points selected; None if there is none."""
        points = self.select(name, where, **attributes)
        return sum(number(p) for p in points) if points else None

    def has_ended(self, where):
        """Was the end of every stream of this Resource told?"""
        streams = [key for key in self.streams if has(key[0], where)]
        return bool(streams) and all(key in self.ended for key in streams)

    def resource(self, where):
        """Attributes of a Resource that has this value, or each of these, somewhere."""
        return next((dict(r) for r in self.resources() if has(r, where)), None)

    def resources(self):
        return {resource for resource, _, _ in self.streams}


def points(path, metric, **attributes):
    """(Resource's attributes, point) of every recorded point of a metric, in the order of the file; attributes: a__b means a.b."""
    wanted = {k.replace("__", "."): v for k, v in attributes.items()}
    for line in open(path, encoding="utf-8"):
        if not line.endswith("\n"):
            return  # it is half written
        for group in json.loads(line).get("resourceMetrics", []):
            resource = dict(_attributes(group["resource"].get("attributes", [])))
            for found in (m for scope in group["scopeMetrics"] for m in scope["metrics"] if m["name"] == metric):
                kind = next(k for k in ("sum", "gauge", "exponentialHistogram", "histogram") if k in found)
                for point in found[kind]["dataPoints"]:
                    have = dict(_attributes(point.get("attributes", [])))
                    if not int(point.get("flags", 0)) & 1 and all(have.get(k) == v for k, v in wanted.items()):
                        yield resource, {**point, "kind": kind}


def totals_by_start(path, metric, where, **attributes):
    """The last total of each start of the cumulative streams of a Resource, the earliest first."""
    last = {}
    for resource, point in points(path, metric, **attributes):
        if has(tuple(resource.items()), where):
            start = int(point["startTimeUnixNano"])
            last[start] = max(last.get(start, 0), number(point))
    return [last[start] for start in sorted(last)]


class Following:
    """A file that grows; each line of it is read once."""

    def __init__(self, path):
        self.path, self.offset, self.metrics = path, 0, Metrics()

    def now(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.offset)
                for line in file:
                    if line.endswith(b"\n"):
                        self.metrics.add(json.loads(line))
                        self.offset += len(line)
        except FileNotFoundError:
            pass
        return self.metrics


def number(point):
    if "count" in point or point.get("kind") in ("exponentialHistogram", "histogram"):
        return int(point.get("count", 0))
    if "asInt" in point:
        return int(point["asInt"])
    return point.get("asDouble", 0)


def quantile_bounds(point, q):
    """Lower and upper bound of the bucket that holds the quantile of an exponential histogram, in its unit."""
    base = 2 ** (2 ** -int(point.get("scale", 0)))
    rank = q * int(point["count"])
    seen = int(point.get("zeroCount", 0))
    if seen >= rank:
        return 0, 0
    offset = int(point["positive"].get("offset", 0))
    for i, count in enumerate(point["positive"]["bucketCounts"]):
        seen += int(count)
        if seen >= rank:
            return base ** (offset + i), base ** (offset + i + 1)
    raise AssertionError("the buckets hold less than the count")
