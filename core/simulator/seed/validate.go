package seed

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wildcathub/wildcat/core/simulator"
)

const dayMinutes = 24 * 60

var number = regexp.MustCompile(`^\+?[1-9][0-9]{4,14}$`)

// validate adds what is wrong with values, and with how they fit together.
func (s *Seed) validate(d *decoder) {
	known := map[string]bool{}
	for i := range s.Phones {
		path := fmt.Sprintf("phones[%d]", i)
		if d.places[path] != nil { // nil is an empty entry, which is a mistake already
			s.validatePhone(d, &s.Phones[i], path, known)
		}
	}
	// Only now: a phone may know one that comes after it.
	for i := range s.Phones {
		for j := range s.Phones[i].Contacts {
			c, at := &s.Phones[i].Contacts[j], fmt.Sprintf("phones[%d].contacts[%d]", i, j)
			c.Number = clean(d, at+".number", c.Number, nil)
			if c.Number == s.Phones[i].Number {
				d.at(at+".number", "the phone's own number")
			} else if slices.ContainsFunc(s.Phones[i].Contacts[:j], func(o Contact) bool { return o.Number == c.Number }) {
				d.at(at+".number", "contact %s is given twice", c.Number)
			}
			if c.Name == "" {
				d.at(at, "a contact without a name")
			}
		}
	}
	for i := range s.Groups {
		path := fmt.Sprintf("groups[%d]", i)
		if d.places[path] != nil {
			g := &s.Groups[i]
			g.validate(d, path, known)
			if slices.ContainsFunc(s.Groups[:i], func(o Group) bool { return o.Owner == g.Owner && o.Subject == g.Subject }) {
				d.at(path+".subject", "the group %q of this owner is given twice", g.Subject)
			}
		}
	}
	for i := range s.Faults {
		path := fmt.Sprintf("faults[%d]", i)
		if d.places[path] == nil {
			continue
		}
		if err := s.Faults[i].Validate(); err != nil {
			d.at(path, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
	}
}

// clean is a number without its plus; known, unless nil, are the numbers that there are.
func clean(d *decoder, path, text string, known map[string]bool) string {
	plain := strings.TrimPrefix(text, "+")
	switch {
	case !number.MatchString(text):
		d.at(path, "%q is no phone number: 5 to 15 digits, with or without a plus", text)
	case known != nil && !known[plain]:
		d.at(path, "no phone of this file has the number %s", plain)
	}
	return plain
}

func (s *Seed) validatePhone(d *decoder, p *Phone, path string, known map[string]bool) {
	if p.Number == "" {
		d.at(path, "a phone without a number")
	} else {
		p.Number = clean(d, path+".number", p.Number, nil)
		if known[p.Number] {
			d.at(path+".number", "phone %s is given twice", p.Number)
		}
		known[p.Number] = true
	}
	atMost(d, path+".name", p.Name, simulator.NameLimit)
	atMost(d, path+".about", p.About, simulator.AboutLimit)
	if p.Picture != "" {
		if p.Picture = filepath.Join(s.dir, p.Picture); filepath.Ext(p.Picture) == "" {
			d.at(path+".picture", "want a JPEG file")
		} else if info, err := os.Stat(p.Picture); err != nil {
			d.at(path+".picture", "%v", err)
		} else if info.IsDir() {
			d.at(path+".picture", "%s is a folder", p.Picture)
		} else if data, err := os.ReadFile(p.Picture); err != nil {
			d.at(path+".picture", "%v", err)
		} else if err = simulator.CheckPicture(data); err != nil {
			d.at(path+".picture", "%s: %v", p.Picture, err)
		}
	}
	if p.Business != nil {
		validateBusiness(d, p.Business, path+".business")
	}
	for j, r := range p.Replies {
		at := fmt.Sprintf("%s.replies[%d]", path, j)
		if r.Pattern == "" || r.Reply == "" {
			d.at(at, "a reply wants a pattern and a reply")
		}
		if _, err := regexp.Compile(r.Pattern); err != nil {
			d.at(at+".pattern", "%v", err)
		}
	}
}

// atMost says so where a text is longer than limit characters.
func atMost(d *decoder, path, text string, limit int) {
	if n := utf8.RuneCountInString(text); n > limit {
		d.at(path, "%d characters: want at most %d", n, limit)
	}
}

func validateBusiness(d *decoder, b *simulator.Business, path string) {
	if b.Name == "" {
		d.at(path, "a business without a name")
	}
	if _, err := time.LoadLocation(b.TimeZone); err != nil || b.TimeZone == "Local" {
		d.at(path+".time_zone", "%q is no time zone: want one such as Europe/Berlin", b.TimeZone)
	}
	for i, h := range b.Hours {
		at := fmt.Sprintf("%s.hours[%d]", path, i)
		if !slices.Contains([]string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}, h.Day) {
			d.at(at+".day", "%q: want mon, tue, wed, thu, fri, sat or sun", h.Day)
		}
		if !slices.Contains([]string{"specific_hours", "open_24h", "appointment_only"}, h.Mode) {
			d.at(at+".mode", "%q: want specific_hours, open_24h or appointment_only", h.Mode)
		}
		if h.Open < 0 || h.Open > dayMinutes {
			d.at(at+".open", "%d: want minutes after midnight, 0 to %d", h.Open, dayMinutes)
		}
		if h.Close < 0 || h.Close > dayMinutes {
			d.at(at+".close", "%d: want minutes after midnight, 0 to %d", h.Close, dayMinutes)
		}
	}
}

func (g *Group) validate(d *decoder, path string, known map[string]bool) {
	if g.Subject == "" {
		d.at(path, "a group without a subject")
	}
	atMost(d, path+".subject", g.Subject, simulator.SubjectLimit)
	atMost(d, path+".description", g.Description, simulator.DescriptionLimit)
	if g.Owner == "" {
		d.at(path, "a group without an owner")
	} else {
		g.Owner = clean(d, path+".owner", g.Owner, known)
	}
	in := map[string]bool{}
	for i := range g.Members {
		at := fmt.Sprintf("%s.members[%d]", path, i)
		g.Members[i] = clean(d, at, g.Members[i], known)
		if g.Members[i] == g.Owner {
			d.at(at, "the owner is a member already")
		} else if in[g.Members[i]] {
			d.at(at, "member %s is given twice", g.Members[i])
		}
		in[g.Members[i]] = true
	}
	for i := range g.Admins {
		g.Admins[i] = clean(d, fmt.Sprintf("%s.admins[%d]", path, i), g.Admins[i], known)
		if !in[g.Admins[i]] {
			d.at(fmt.Sprintf("%s.admins[%d]", path, i), "%s is not among the members", g.Admins[i])
		}
	}
}
