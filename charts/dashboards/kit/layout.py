# SPDX-License-Identifier: Apache-2.0
"""Puts panels into rows of Grafana's grid, which is 24 wide, and makes a dashboard of them."""

from .panels import SOURCE

COLUMNS = 24
TAGS = ["sonde"]


def row(title, *panels, collapsed=False):
    return {"title": title, "panels": panels, "collapsed": collapsed}


def _placed(panels, top):
    """From left to right, in lines as high as their highest panel."""
    x = line = 0
    placed = []
    for panel in panels:
        width, height = panel["gridPos"]["w"], panel["gridPos"]["h"]
        if x + width > COLUMNS:
            top, x, line = top + line, 0, 0
        placed.append({**panel, "gridPos": {"w": width, "h": height, "x": x, "y": top}})
        x, line = x + width, max(line, height)
    return placed, top + line


def _rows(rows):
    panels, y = [], 0
    for one in rows:
        heading = {"type": "row", "title": one["title"], "collapsed": one["collapsed"], "panels": [],
                   "gridPos": {"w": COLUMNS, "h": 1, "x": 0, "y": y}}
        placed, end = _placed(one["panels"], y + 1)
        if one["collapsed"]:  # Grafana keeps the panels of a folded row inside it
            heading["panels"], y = placed, y + 1
            panels.append(heading)
        else:
            panels, y = [*panels, heading, *placed], end
    return panels


def _numbered(panels):
    number = 0
    for panel in panels:
        for one in (panel, *panel.get("panels", [])):
            number += 1
            one["id"] = number
    return panels


def event(name, expression, title, color):
    """Marks on every graph where the query returns something."""
    return {"name": name, "datasource": SOURCE, "enable": True, "hide": False, "iconColor": color, "expr": expression,
            "titleFormat": title, "step": "60s", "useValueForTime": False}


def dashboard(uid, title, description, variables, rows, events=()):
    builtin = {"builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": True, "hide": True,
               "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard"}
    others = {"type": "dashboards", "title": "Sonde", "tags": TAGS, "asDropdown": True, "includeVars": True, "keepTime": True,
              "targetBlank": False, "icon": "external link", "tooltip": "", "url": ""}
    return {"uid": uid, "title": f"Sonde / {title}", "description": description, "tags": TAGS, "schemaVersion": 39,
            "version": 1,
            "editable": True, "graphTooltip": 1, "refresh": "1m", "time": {"from": "now-1h", "to": "now"}, "timezone": "",
            "fiscalYearStartMonth": 0, "weekStart": "", "liveNow": False, "links": [others], "timepicker": {},
            "annotations": {"list": [builtin, *events]}, "templating": {"list": variables}, "panels": _numbered(_rows(rows))}
