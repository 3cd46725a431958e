package page

import "time"

type stanzaRow struct {
	N         uint64
	At        time.Time
	In        bool
	Tag, Line string
	Device    string
	Fault     string
	XML       string
}

func (p *page) stanzas(string) []stanzaRow { return nil }
