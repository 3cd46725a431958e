// SPDX-License-Identifier: Apache-2.0

// Package sdktest is the suite that every connector passes. Call [Run] from a test
// of the connector's package:
//
//	func TestConnector(t *testing.T) {
//		sdktest.Run(t, New, json.RawMessage(`{"path":"…"}`))
//	}
//
// It runs the connector twice: as a Go value within the test, and over gRPC in a
// process of its own, as the hub does.
package sdktest
