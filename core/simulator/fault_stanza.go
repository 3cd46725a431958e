package simulator

import (
	"slices"
	"strconv"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// receive takes a stanza of the client: to the fault rules, if there are any, and to its
// handler. It is of the reader; an error ends the connection.
func (c *conn) receive(node *waBinary.Node) error {
	if !c.s.faults.any() {
		c.s.trace.record(c, In, node, "")
		return c.handle(node)
	}
	v := c.s.faults.judge(c, In, node)
	c.s.trace.record(c, In, node, v.note())
	if v.rule == nil {
		return c.handleJudged(&v)
	}
	f := &v.rule.fault
	switch f.Action {
	case FaultDelay:
		c.delayed.add(c, &v, func() { c.handleLate(&v) })
	case FaultDuplicate:
		for range max(f.Copies, 1) {
			more := cloneNode(&v.node)
			if err := c.handle(&more); err != nil {
				return err
			}
		}
		return c.handleJudged(&v)
	case FaultHold:
		if !v.rule.hold(heldStanza{c, In, v}) {
			return c.handleJudged(&v)
		}
	case FaultIQError:
		refused := iqError{f.Code, f.Text}
		c.pushNow(waBinary.Node{
			Tag: "iq", Attrs: waBinary.Attrs{"from": answerFrom(&v.node), "type": "error", "id": v.node.Attrs["id"]},
			Content: []waBinary.Node{refused.node()},
		})
	case FaultAckError, FaultDeduplicate:
		ack := waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{
			"class": "message", "id": v.node.Attrs["id"], "from": answerFrom(&v.node), "t": strconv.FormatInt(c.s.now(), 10),
		}}
		if f.Action == FaultAckError {
			ack.Attrs["error"] = strconv.Itoa(f.Code)
		}
		c.pushNow(ack)
	case FaultCutBefore:
		return errEnded
	case FaultCutAfter:
		c.mu.Lock()
		c.dead = true
		c.mu.Unlock()
		if err := c.handleJudged(&v); err != nil {
			return err
		}
		return errEnded
	case FaultStreamError:
		c.end(false, streamError(f.Code))
	}
	return nil
}

// answerFrom is who answers a stanza: whoever it was sent to.
func answerFrom(node *waBinary.Node) types.JID {
	if to, ok := node.Attrs["to"].(types.JID); ok {
		return to
	}
	return types.ServerJID
}

// push hands stanzas to the writer, past the fault rules, if there are any. It never
// blocks, and does nothing on a connection that is closing.
func (c *conn) push(nodes ...waBinary.Node) {
	if !c.s.faults.any() {
		c.pushNow(nodes...)
		return
	}
	for i := range nodes {
		c.pushFaulty(&nodes[i])
	}
}

func (c *conn) pushFaulty(node *waBinary.Node) {
	v := c.s.faults.judge(c, Out, node)
	if len(v.notes) > 0 {
		c.s.trace.record(c, Out, &v.node, v.note())
	}
	if v.rule == nil {
		c.pushNow(v.node)
		return
	}
	f := &v.rule.fault
	switch f.Action {
	case FaultDelay:
		c.delayed.add(c, &v, func() { c.pushNow(v.node) })
	case FaultDuplicate:
		for range max(f.Copies, 1) + 1 {
			c.pushNow(v.node)
		}
	case FaultHold:
		if !v.rule.hold(heldStanza{c, Out, v}) {
			c.pushNow(v.node)
		}
	case FaultCutBefore:
		c.hangUp()
	case FaultCutAfter:
		c.end(false, v.node)
	case FaultStreamError:
		c.end(false, streamError(f.Code))
	}
}

// handle gives one stanza to its handler, one at a time for each connection: those that
// a rule held back or delayed come from other goroutines than the reader.
func (c *conn) handle(node *waBinary.Node) error {
	c.handling.Lock()
	defer c.handling.Unlock()
	return c.s.dispatch(c, node)
}

// handleJudged handles a stanza that the rules let through in the end.
func (c *conn) handleJudged(v *verdict) error {
	if err := c.handle(&v.node); err != nil {
		return err
	}
	c.s.faults.handled(v)
	return nil
}

// handleLate handles a stanza that a rule kept, unless its connection is over by now.
func (c *conn) handleLate(v *verdict) {
	select {
	case <-c.gone:
		return
	default:
	}
	if c.isClosing() {
		c.s.stats.ignored.Add(1)
		return
	}
	if err := c.handleJudged(v); err != nil {
		c.s.log.Debug("handle a stanza that was kept back", "conn", c.id, "err", err)
		c.cut()
	}
}

func (b *faultBook) any() bool { return b.rules.Load() != nil }

// delayLine hands on the delayed stanzas of one connection when their time has come,
// those of one time in their order. Its goroutine runs while something waits.
type delayLine struct {
	items   []delayedItem // guarded by the connection's lock, like the rest
	running bool
	more    chan struct{} // capacity 1: the first item may have changed
}

type delayedItem struct {
	due  time.Time
	do   func()
	rule *FaultRule
}

func (l *delayLine) add(c *conn, v *verdict, do func()) {
	// Not the clock of Options, which may stand still: this is how long a network takes.
	item := delayedItem{time.Now().Add(v.delay), do, v.rule}
	c.mu.Lock()
	at := len(l.items)
	for at > 0 && l.items[at-1].due.After(item.due) {
		at--
	}
	l.items = append(l.items, delayedItem{})
	copy(l.items[at+1:], l.items[at:])
	l.items[at] = item
	start := !l.running
	l.running = true
	if l.more == nil {
		l.more = make(chan struct{}, 1)
	}
	c.mu.Unlock()
	if start && !c.s.spawn(func() { l.run(c) }) {
		return // the server is closing, and with it the connection
	}
	if v.rule.isRemoved() { // between its verdict and this: whoever removed it saw no item
		l.hurry(c, v.rule)
		return
	}
	l.wake()
}

// hurry makes what a rule delayed due now, in its order and before all else.
func (l *delayLine) hurry(c *conn, rule *FaultRule) {
	c.mu.Lock()
	if l.more == nil { // nothing was ever delayed here
		c.mu.Unlock()
		return
	}
	now := time.Now()
	for i := range l.items {
		if item := &l.items[i]; item.rule == rule && item.due.After(now) {
			item.due = now
		}
	}
	slices.SortStableFunc(l.items, func(a, b delayedItem) int { return a.due.Compare(b.due) })
	c.mu.Unlock()
	l.wake()
}

// wake makes the goroutine look at the first item; more is there once an item was.
func (l *delayLine) wake() {
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *delayLine) run(c *conn) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-l.more:
		case <-c.gone:
			return
		}
		for {
			c.mu.Lock()
			if len(l.items) == 0 {
				l.running = false
				c.mu.Unlock()
				return
			}
			first := l.items[0]
			wait := time.Until(first.due)
			if wait <= 0 {
				l.items = l.items[1:]
			}
			c.mu.Unlock()
			if wait > 0 {
				timer.Reset(wait)
				break
			}
			first.do()
		}
	}
}
