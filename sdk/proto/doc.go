// SPDX-License-Identifier: Apache-2.0

// Package pb is the contract between the hub and a connector's process, generated
// from the .proto files beside it. They are what an author in another language
// works from; in Go, package sdk hides them.
package pb

//go:generate go tool -modfile=../../.ci/tools/go.mod buf generate
