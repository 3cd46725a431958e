// SPDX-License-Identifier: Apache-2.0

// Package sdk is everything that the author of a Wildcat connector imports.
//
// A connector is a Go value that implements [Connector]. The same value runs
// inside the hub (the built-in webhook), in a process of its own (call [Serve]
// from main and name the binary under `connectors:` in wildcat.yaml), or in a
// test. The package holds plain Go types only; no type of a dependency is
// exported. It owns the words of the hub (event, message, delivery, result) and
// none of its behaviour: storing, ordering and retrying belong to the hub.
//
// Licence: Apache-2.0, unlike the hub itself, so that a connector may be
// anyone's and under any licence.
package sdk
