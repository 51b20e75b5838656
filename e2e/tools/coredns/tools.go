//go:build tools

// Package tools pins the CoreDNS server that the end-to-end cluster runs.
package tools

import _ "github.com/coredns/coredns"
