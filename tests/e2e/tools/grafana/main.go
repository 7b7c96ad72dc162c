// SPDX-License-Identifier: Apache-2.0

// Command dashboard-schema reads dashboards with the types of Grafana's own SDK, which are generated from its schema, and prints
// every field that the schema does not have or that is of another type. It exits with 1 if there is one.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The SDK returns an empty list of errors for a valid dashboard, which is not nil.
func found(err error) []error {
	var list cog.BuildErrors
	if errors.As(err, &list) {
		all := make([]error, 0, len(list))
		for _, one := range list {
			all = append(all, one)
		}
		return all
	}
	if err != nil {
		return []error{err}
	}
	return nil
}

func check(path string) []error {
	content, err := os.ReadFile(path)
	if err != nil {
		return []error{err}
	}
	if !json.Valid(content) {
		return []error{errors.New("no JSON")}
	}
	var board dashboard.Dashboard
	if all := found(board.UnmarshalJSONStrict(content)); len(all) > 0 {
		return all
	}
	return found(board.Validate())
}

func main() {
	plugins.RegisterDefaultPlugins()
	code := 0
	for _, path := range os.Args[1:] {
		for _, err := range check(path) {
			fmt.Printf("%s: %v\n", path, err)
			code = 1
		}
	}
	os.Exit(code)
}
