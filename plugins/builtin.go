// Package plugins is the one list of connectors that are built into the hub. Each
// lives in a folder of its own and imports nothing of Wildcat but its sdk.
package plugins

import (
	"net/http"
	"time"

	"github.com/wildcathub/wildcat/plugins/webhook"
	"github.com/wildcathub/wildcat/sdk"
)

// Deps is what built-in connectors may use.
type Deps struct {
	// HTTP is guarded against addresses that a user must not reach.
	HTTP *http.Client
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// Builtin returns the built-in connectors by the name that `use:` gives them. Each
// call of a value makes a new one.
func Builtin(deps Deps) map[string]func() sdk.Connector {
	return map[string]func() sdk.Connector{
		"webhook": func() sdk.Connector { return webhook.New(webhook.Deps{HTTP: deps.HTTP, Now: deps.Now}) },
	}
}
