package simulator

import (
	"strconv"
	"strings"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// verdict is what the rules decided about one stanza.
type verdict struct {
	rule  *FaultRule // nil: it goes its way
	node  waBinary.Node
	delay time.Duration
	notes []string  // what was done to it so far, for the trace
	seen  []seenKey // to be remembered by rules that deduplicate, once it is handled
	by    []*FaultRule
}

// seenKey names a message as a rule that deduplicates does.
type seenKey struct {
	from *Device
	to   types.JID
	id   string
}

// judge asks the rules about a stanza. Mutations are done when it returns.
func (b *faultBook) judge(c *conn, dir Direction, node *waBinary.Node) verdict {
	v := verdict{node: *node}
	for _, r := range b.list() {
		if r.kind.stage != onStanza || !r.matchesStanza(c.dev, dir, &v.node) {
			continue
		}
		if r.fault.Action == FaultDeduplicate {
			if b.isCopy(r, c, &v) {
				v.decide(r)
				return v
			}
			continue
		}
		b.mu.Lock()
		fired := r.fires()
		if fired && r.fault.Action == FaultDelay {
			v.delay = r.delay()
		}
		b.mu.Unlock()
		switch {
		case !fired:
		case r.fault.Action == FaultMutate:
			b.mutate(r, c, dir, &v)
		default:
			v.decide(r)
			return v
		}
	}
	return v
}

// decide makes r the rule that has the last word.
func (v *verdict) decide(r *FaultRule) {
	v.rule = r
	v.did(r)
}

func (v *verdict) did(r *FaultRule) {
	v.notes = append(v.notes, string(r.fault.Action)+" #"+strconv.Itoa(r.id))
}

// note is what the trace says of a verdict.
func (v *verdict) note() string { return strings.Join(v.notes, ", ") }

func (r *FaultRule) matchesStanza(d *Device, dir Direction, node *waBinary.Node) bool {
	f := &r.fault
	return f.Direction == dir && r.device.matches(d) &&
		(r.kind.tag == "" || r.kind.tag == node.Tag) && (f.Tag == "" || f.Tag == node.Tag) &&
		matchesAttr(f.Class, node, "class") && matchesAttr(f.Type, node, "type") &&
		matchesAttr(f.XMLNS, node, "xmlns") && matchesAttr(f.ID, node, "id")
}

func matchesAttr(want string, node *waBinary.Node, attr string) bool {
	switch want {
	case "":
		return true
	case "-":
		return text(node, attr) == ""
	}
	return text(node, attr) == want
}

// isCopy says whether the rule has seen the message before; if not, it is noted in v.
func (b *faultBook) isCopy(r *FaultRule, c *conn, v *verdict) bool {
	to, _ := v.node.Attrs["to"].(types.JID)
	for _, enc := range v.node.GetChildrenByTag("enc") {
		if _, retry := enc.Attrs["count"]; retry {
			return false // the same id, but asked for
		}
	}
	key := seenKey{c.dev, to, text(&v.node, "id")}
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.seen[key] {
		return r.fires()
	}
	v.seen, v.by = append(v.seen, key), append(v.by, r)
	return false
}

// handled lets rules that deduplicate remember a message: only now, since one that was
// dropped on its way is to be taken when it comes again.
func (b *faultBook) handled(v *verdict) {
	if len(v.seen) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, r := range v.by {
		if r.seen == nil || len(r.seen) >= seenKept {
			r.seen = map[seenKey]bool{}
		}
		r.seen[v.seen[i]] = true
	}
}

// at returns the first fault of a stage that happens now to a device, nil for unknown.
func (b *faultBook) at(where stage, d *Device, match func(*Fault) bool) *Fault {
	for _, r := range b.list() {
		if r.kind.stage != where || !r.device.matches(d) || match != nil && !match(&r.fault) {
			continue
		}
		b.mu.Lock()
		fired := r.fires()
		b.mu.Unlock()
		if fired {
			f := r.fault
			return &f
		}
	}
	return nil
}

// attrs are the attributes of a <failure>, as connectionevents.go of whatsmeow reads them.
func (f *Fault) attrs() waBinary.Attrs {
	attrs := waBinary.Attrs{"reason": strconv.Itoa(f.Code), "location": "sim"}
	if f.Text != "" {
		attrs["message"] = f.Text
	}
	switch f.Code {
	case 402:
		attrs["code"], attrs["expire"] = strconv.Itoa(f.BanCode), strconv.Itoa(f.ExpireS)
	case 403:
		attrs["logout_message_header"], attrs["logout_message_subtext"] = "Logged out", f.Text
	}
	return attrs
}
