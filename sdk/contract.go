// SPDX-License-Identifier: Apache-2.0

package sdk

// The contract between the hub and a connector process, for those who write one
// without this package. They are part of the promise: they do not change within
// a protocol version.
const (
	// ProtocolVersion is the major version of the contract in sdk/proto.
	ProtocolVersion = 1
	// ContractMinor counts additions to the contract within its major version.
	ContractMinor = 0
	// HandshakeKey and HandshakeValue are set in a connector's environment by the hub.
	HandshakeKey   = "WILDCAT_CONNECTOR"
	HandshakeValue = "0d5a2c1e-connector"
	// PluginName is the name under which the process serves the contract to go-plugin.
	PluginName = "connector"
	// LifelineEnv, when it is "stdin", says that standard input is a pipe which the
	// hub holds open as long as it lives: end of file means that the hub is gone.
	LifelineEnv = "WILDCAT_LIFELINE"
)

// The limits of the contract.
const (
	// MaxMessage is the largest gRPC message in either direction, in bytes.
	MaxMessage = 4 << 20
	// MaxCredit is the most deliveries that may be out without a result.
	MaxCredit = 1024
	// MaxBody and MaxReason bound Result.Body and Result.Reason, in bytes.
	MaxBody   = 4 << 10
	MaxReason = 256
)
