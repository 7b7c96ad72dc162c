// SPDX-License-Identifier: Apache-2.0

//go:build tools

// Package tools names what is built from Kubernetes and etcd, so that go.mod and go.sum pin it. A module of its own: its
// dependencies are not those of the Collector and of Prometheus.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubectl"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
