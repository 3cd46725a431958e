// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"log/slog"

	"google.golang.org/grpc"
)

// RegisterForTest serves create on g as Serve would, for tests in sdk_test, which
// may import package wire.
func RegisterForTest(g *grpc.Server, create func() Connector, dial func(uint32) (Host, error)) {
	newServer(create, dial, slog.New(slog.DiscardHandler)).register(g)
}

// NewHostClientForTest is the Host that a process of its own gets.
func NewHostClientForTest(conn grpc.ClientConnInterface) Host { return newHostClient(conn) }

// WatchParentForTest is watchParent.
var WatchParentForTest = watchParent
