package account

import (
	"time"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// weathered: the store fails, or is back.
func (o *owner) weathered() {
	o.weather = o.m.storage.changed()
	doubtful, reason := o.m.storage.state()
	switch {
	case reason != "":
		o.stall(reason)
	case !doubtful:
		o.resume()
	}
}

// stall gives up the connection, or the making of one, until the store is back.
func (o *owner) stall(reason string) {
	if !o.want {
		return
	}
	o.stalled = true
	o.move(StateReconnecting, reason) // first: closing may take a moment
	if o.session != nil {
		o.m.metrics.reconnects.WithLabelValues(o.id, reason).Inc()
	}
	o.hangUp()
}

// resume makes up for what could not be written, and connects if that waited for the store.
func (o *owner) resume() {
	if o.unsaved {
		o.unsaved = false
		s := o.snapshot()
		o.publish(s.State, s.Reason)
	}
	if !o.stalled {
		return
	}
	o.stalled = false
	if !o.want || o.session != nil {
		return
	}
	o.attempt = 0 // it was not WhatsApp's fault
	spread := min(returnSpread, o.m.cfg.Reconnect.Max)
	o.after(time.Duration(o.m.deps.Rand()*float64(spread)), o.connect)
}

// publish writes a change of state down, and makes an event of it.
func (o *owner) publish(state, reason string) {
	_ = o.record(func(a *store.Account) { a.State, a.Reason = state, reason })
	if o.m.deps.Changed != nil {
		o.m.deps.Changed(o.id, o.lease.Epoch, sdk.AccountChange{State: state, Reason: reason})
	}
}

// park keeps an account on show that was let go of since its lease could not be renewed:
// until the store answers nobody knows better.
func (m *Manager) park(o *owner) {
	s := o.snapshot()
	s.QR, s.Epoch = "", 0
	m.mu.Lock()
	defer m.mu.Unlock()
	m.parked[o.id] = parked{status: s, record: o.lastRecord()}
}

// parkedStatus is the state of an account that is parked; false if it is not.
func (m *Manager) parkedStatus(id string) (Status, bool) {
	m.mu.Lock()
	p, ok := m.parked[id]
	m.mu.Unlock()
	if _, reason := m.storage.state(); reason != "" && p.status.Held {
		p.status.Reason = reason
	}
	p.status.Text = Text(p.status.Reason)
	return p.status, ok
}

// parked is an account that this hub held when the store failed.
type parked struct {
	status Status
	record store.Account
}

// unpark forgets those on show: the store answers, and tells who has them.
func (m *Manager) unpark() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.parked)
}

// remembered returns an account's record from memory, if it is or was this hub's.
func (m *Manager) remembered(id string) (store.Account, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o := m.owners[id]; o != nil {
		return o.lastRecord(), true
	}
	p, ok := m.parked[id]
	return p.record, ok
}
