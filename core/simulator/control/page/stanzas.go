package page

import (
	"slices"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/simulator"
)

// stanzasShown is how many of the newest the page shows.
const stanzasShown = 120

type stanzaRow struct {
	N         uint64
	At        time.Time
	In        bool
	Tag, Line string
	Device    string
	Fault     string
	XML       string
}

// stanzas are those of a phone's devices, or of all when it has none, the newest first.
func (p *page) stanzas(number string) (rows []stanzaRow, ofAll bool) {
	filter := simulator.TraceFilter{Device: number}
	if phone := p.s.Phone(number); phone == nil || len(phone.Companions()) == 0 {
		filter.Device, ofAll = "", true
	}
	list, err := p.s.Trace().Stanzas(filter)
	if err != nil {
		return nil, ofAll
	}
	for _, s := range slices.Backward(list[max(0, len(list)-stanzasShown):]) {
		device, _, _ := strings.Cut(s.Device, "@")
		rows = append(rows, stanzaRow{
			N: s.N, At: s.At, In: s.Direction == simulator.In, Tag: s.Tag, Line: lineOf(s), Device: device, Fault: s.Fault, XML: s.XML,
		})
	}
	return rows, ofAll
}

// lineOf is what tells stanzas of one tag apart at a glance.
func lineOf(s simulator.Stanza) string {
	if s.Node == nil {
		return ""
	}
	var parts []string
	for _, name := range []string{"class", "type", "xmlns"} {
		if v, ok := s.Node.Attrs[name].(string); ok && v != "" {
			parts = append(parts, v)
		}
	}
	for _, child := range s.Node.GetChildren() {
		if parts = append(parts, "<"+child.Tag+">"); len(parts) > 3 {
			break
		}
	}
	return strings.Join(parts, " ")
}
