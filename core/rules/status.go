package rules

import (
	"context"
	"time"

	"github.com/wildcathub/wildcat/core/lua"
)

// Failure is a change of the rules that did not come into force on this hub.
type Failure struct {
	At time.Time
	// Version is that of the rules that were refused; "" where files could not be read.
	Version string
	Err     error
}

// Status is what is in force on this hub.
type Status struct {
	// Version is that of the rules; its Number is 0 before Start.
	Version Version
	Rules   []lua.RuleStatus
	// Behind says that other rules are in force than this hub can load; nil if not.
	Behind *Failure
	// Failure is that of the last change that was asked for on this hub; nil once one succeeded.
	Failure *Failure
}

// Status shows the rules in force on this hub.
func (m *Manager) Status() Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	return Status{Version: m.present, Rules: m.live.Set().Status(), Behind: m.behind, Failure: m.failure}
}

// Versions lists the versions that are kept, the one in force first.
func (m *Manager) Versions(ctx context.Context) ([]Version, error) {
	rec, _, err := m.history.read(ctx)
	return rec.Versions, err
}
