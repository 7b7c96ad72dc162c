// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools names Helm, so that go.mod and go.sum pin it. A module of its own: its dependencies are those of another
// Kubernetes release than the API server's.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
