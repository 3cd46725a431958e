// SPDX-License-Identifier: Apache-2.0

// Package wire is the hub's side of the connector contract in sdk/proto: the
// conversions, one stream that many Deliver calls share, and the Host service. It
// starts no process and restarts nothing; that is the hub's, and the conformance
// suite's. Authors of connectors do not need it.
package wire
