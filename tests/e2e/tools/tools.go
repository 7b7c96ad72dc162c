// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools names what is built from other modules, so that go.mod and go.sum pin it.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
