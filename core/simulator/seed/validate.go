package seed

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

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
			if c.Name == "" {
				d.at(at, "a contact without a name")
			}
		}
	}
	for i := range s.Groups {
		path := fmt.Sprintf("groups[%d]", i)
		if d.places[path] != nil {
			s.Groups[i].validate(d, path, known)
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
	if p.Picture != "" {
		if p.Picture = filepath.Join(s.dir, p.Picture); filepath.Ext(p.Picture) == "" {
			d.at(path+".picture", "want a JPEG file")
		} else if info, err := os.Stat(p.Picture); err != nil {
			d.at(path+".picture", "%v", err)
		} else if info.IsDir() {
			d.at(path+".picture", "%s is a folder", p.Picture)
		}
	}
	if p.Business != nil && p.Business.Name == "" {
		d.at(path+".business", "a business without a name")
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

func (g *Group) validate(d *decoder, path string, known map[string]bool) {
	if g.Subject == "" {
		d.at(path, "a group without a subject")
	}
	if g.Owner == "" {
		d.at(path, "a group without an owner")
	} else {
		g.Owner = clean(d, path+".owner", g.Owner, known)
	}
	in := map[string]bool{}
	for i := range g.Members {
		g.Members[i] = clean(d, fmt.Sprintf("%s.members[%d]", path, i), g.Members[i], known)
		in[g.Members[i]] = true
	}
	for i := range g.Admins {
		g.Admins[i] = clean(d, fmt.Sprintf("%s.admins[%d]", path, i), g.Admins[i], known)
		if !in[g.Admins[i]] {
			d.at(fmt.Sprintf("%s.admins[%d]", path, i), "%s is not among the members", g.Admins[i])
		}
	}
}
