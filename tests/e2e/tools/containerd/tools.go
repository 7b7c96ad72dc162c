// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools names what is built from containerd, so that go.mod and go.sum pin it. A module of its own: its dependencies
// are not those of Kubernetes.
package tools

import (
	_ "github.com/containerd/containerd/v2/cmd/containerd"
	_ "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
	_ "github.com/containerd/containerd/v2/cmd/ctr"
)
