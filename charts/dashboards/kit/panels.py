# SPDX-License-Identifier: Apache-2.0
"""Panels of Grafana. Each function returns the panel without its place, which kit/layout.py assigns."""

SOURCE = {"type": "prometheus", "uid": "$datasource"}
REFERENCES = "ABCDEFGHIJ"

GREEN, ORANGE, RED = "green", "orange", "red"


def target(expression, legend="__auto", instant=False, shape="time_series", exemplar=False):
    return {"datasource": SOURCE, "editorMode": "code", "expr": expression, "legendFormat": legend, "instant": instant,
            "range": not instant, "format": shape, "exemplar": exemplar}


def steps(*pairs):
    """thresholds: the color below the first number, then (number, color)…"""
    first, *rest = pairs
    return {"mode": "absolute", "steps": [{"color": first, "value": None},
                                          *({"color": color, "value": value} for value, color in rest)]}


def _panel(kind, title, description, targets, width, height, defaults, options, overrides=()):
    with_references = [{**one, "refId": REFERENCES[i]} for i, one in enumerate(targets)]
    return {"type": kind, "title": title, "description": description, "datasource": SOURCE, "targets": with_references,
            "gridPos": {"w": width, "h": height, "x": 0, "y": 0}, "options": options,
            "fieldConfig": {"defaults": defaults, "overrides": list(overrides)}}


def _targets(queries, **kwargs):
    """Queries are one text, or (expression, legend)…"""
    listed = [(queries, "__auto")] if isinstance(queries, str) else queries
    return [target(expression, legend, **kwargs) for expression, legend in listed]


def graph(title, description, queries, unit="short", width=12, height=8,
          stacked=False, most=None, exemplar=False, thresholds=None):
    """Lines over time, or areas on top of each other."""
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 60 if stacked else 8, "showPoints": "never",
              "spanNulls": False, "stacking": {"mode": "normal" if stacked else "none", "group": "A"}}
    defaults = {"unit": unit, "min": 0, "color": {"mode": "palette-classic"}, "custom": custom}
    if most is not None:
        defaults["max"] = most
    if thresholds:
        defaults["thresholds"] = thresholds
        custom["thresholdsStyle"] = {"mode": "line"}
    options = {"legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["mean", "max"]},
               "tooltip": {"mode": "multi", "sort": "desc"}}
    return _panel("timeseries", title, description, _targets(queries, exemplar=exemplar), width, height, defaults, options)


def stat(title, description, expression, unit="short", width=4, height=4, thresholds=None, empty="0"):
    """One number. `empty` is shown where the query returns nothing."""
    defaults = {"unit": unit, "color": {"mode": "thresholds"}, "thresholds": thresholds or steps(GREEN), "noValue": empty}
    options = {"colorMode": "background", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "textMode": "auto",
               "wideLayout": True, "showPercentChange": False, "percentChangeColorMode": "standard",
               "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
    return _panel("stat", title, description, _targets([(expression, title)]), width, height, defaults, options)


def table(title, description, expression, columns, value, unit="short",
          width=24, height=10, link=None, thresholds=None, most=None):
    """One row per series, the largest value first. columns: (label, heading)…; link: (heading, caption, address)."""
    defaults = {"unit": unit, "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
                "thresholds": thresholds or steps(GREEN)}
    cell = {"type": "gauge", "mode": "gradient"} if thresholds else {"type": "auto"}
    look = [{"id": "custom.cellOptions", "value": cell}, {"id": "min", "value": 0}]
    if most is not None:
        look.append({"id": "max", "value": most})
    overrides = [{"matcher": {"id": "byName", "options": value}, "properties": look}]
    if link:
        heading, caption, address = link
        overrides.append({"matcher": {"id": "byName", "options": heading},
                          "properties": [{"id": "links", "value": [{"title": caption, "url": address}]}]})
    names = {**dict(columns), "Value": value}
    order = {label: i for i, label in enumerate([*dict(columns), "Value"])}
    options = {"frameIndex": 0, "showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": value, "desc": True}]}
    made = _panel("table", title, description, _targets([(expression, "")], instant=True, shape="table"), width, height,
                  defaults,
                  options, overrides)
    made["transformations"] = [
        {"id": "filterFieldsByName", "options": {"include": {"names": [*dict(columns), "Value"]}}},
        {"id": "organize", "options": {"excludeByName": {}, "indexByName": order, "renameByName": names}}]
    return made


def _heat(title, description, expression, unit, width, height, shape, legend):
    options = {"calculate": False, "cellGap": 1, "showValue": "never", "legend": {"show": True},
               "color": {"mode": "scheme", "scheme": "Oranges", "exponent": 0.5, "fill": "dark-orange", "reverse": False,
                         "scale": "exponential", "steps": 64},
               "exemplars": {"color": "rgba(255,0,255,0.7)"}, "filterValues": {"le": 1e-9},
               "rowsFrame": {"layout": "auto"}, "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
               "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit}}
    defaults = {
    "custom": {
        "hideFrom": {
            "legend": False,
            "tooltip": False,
            "viz": False},
            "scaleDistribution": {
                "type": "linear"}}}
    return _panel("heatmap", title, description, _targets([(expression, legend)], shape=shape, exemplar=True), width, height,
                  defaults, options)


def native_heat(title, description, rate_of_histogram, unit="s", width=8, height=8):
    """From a native histogram: one series, whose samples are histograms."""
    return _heat(title, description, f"sum({rate_of_histogram})", unit, width, height, "time_series", "__auto")


def classic_heat(title, description, rate_of_buckets, unit="s", width=8, height=8):
    """From the buckets of a classic histogram."""
    return _heat(title, description, f"sum by (le) ({rate_of_buckets})", unit, width, height, "heatmap", "{{le}}")


def text(markdown, width=24, height=3):
    return {"type": "text", "title": "", "gridPos": {"w": width, "h": height, "x": 0, "y": 0},
            "options": {"mode": "markdown", "content": markdown}, "fieldConfig": {"defaults": {}, "overrides": []}}
