//go:build tools

// Package tools pins the programs that check the Helm chart: it is never compiled, it only keeps them in go.mod and go.sum.
package tools

import (
	_ "github.com/yannh/kubeconform/cmd/kubeconform"
	_ "helm.sh/helm/v4/cmd/helm"
	_ "sigs.k8s.io/kustomize/kustomize/v5"
)
