// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools names VictoriaMetrics, so that go.mod and go.sum pin it. A module of its own: it wants a newer Go than the others.
package tools

import _ "github.com/VictoriaMetrics/VictoriaMetrics/app/victoria-metrics"
