// SPDX-License-Identifier: Apache-2.0

// Command connector-go is a complete Wildcat connector: it appends each event, as
// one line of JSON, to a file. Copy this folder to begin one of your own; it imports
// package sdk and nothing else of Wildcat.
package main

import "github.com/wildcathub/wildcat/sdk"

func main() { sdk.Serve(New) }
