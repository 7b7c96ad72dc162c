#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# grafana-foundation-sdk for Go, v0.0.22. Dashboard.UnmarshalJSONStrict() reads a dashboard and says what is wrong with it.
#  1. For a valid dashboard it returns an error that is not nil: an interface that holds an empty list (cog.BuildErrors). With the
#     usual `if err != nil`, every dashboard is rejected.
#  2. A field that the schema does not have is reported, but a value that an enumeration does not have is not: graphTooltip
#     (DashboardCursorSync) is 0, 1 or 2 and takes 7, and Validate() does not object either.
# Observed: the three lines at the end of this script. Exits with 1 if that has changed.
# Needs Go 1.21 or newer and the Go module registry.
set -euo pipefail
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
export CGO_ENABLED=0 GOFLAGS="-modcacherw -mod=mod"

cat >main.go <<'GO'
package main

import (
	"errors"
	"fmt"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func entries(err error) int {
	var list cog.BuildErrors
	if errors.As(err, &list) {
		return len(list)
	}
	if err != nil {
		return 1
	}
	return 0
}

func read(rest string) (dashboard.Dashboard, error) {
	const start = `{"title": "Disks", "schemaVersion": 39, "editable": true, "templating": {}, "annotations": {}`
	var board dashboard.Dashboard
	err := board.UnmarshalJSONStrict([]byte(start + rest + "}"))
	return board, err
}

func main() {
	_, err := read(`, "graphTooltip": 1`)
	fmt.Printf("valid: error is nil: %t, entries: %d\n", err == nil, entries(err))
	_, err = read(`, "graphTooltip": 1, "titel": "Disks"`)
	fmt.Printf("unknown field: error is nil: %t, entries: %d\n", err == nil, entries(err))
	board, err := read(`, "graphTooltip": 7`)
	fmt.Printf("outside the enumeration: error is nil: %t, entries: %d, by Validate(): %d\n", err == nil, entries(err),
		entries(board.Validate()))
}
GO
go mod init example.org/strict >/dev/null 2>&1
go get github.com/grafana/grafana-foundation-sdk/go@v0.0.22 >/dev/null 2>&1
go run . | tee seen
diff seen - <<'SEEN'
valid: error is nil: false, entries: 0
unknown field: error is nil: false, entries: 1
outside the enumeration: error is nil: false, entries: 0, by Validate(): 0
SEEN
