package seed

import (
	"fmt"
	"regexp"
	"strings"
)

var number = regexp.MustCompile(`^\+?[1-9][0-9]{4,14}$`)

// validate adds what is wrong with values, and with how they fit together.
func (s *Seed) validate(d *decoder) {
	seen := map[string]bool{}
	for i := range s.Phones {
		p, path := &s.Phones[i], fmt.Sprintf("phones[%d]", i)
		if d.places[path] == nil {
			continue // an empty entry, which is a mistake already
		}
		switch plain := strings.TrimPrefix(p.Number, "+"); {
		case p.Number == "":
			d.at(path, "a phone without a number")
		case !number.MatchString(p.Number):
			d.at(path+".number", "%q is no phone number: 5 to 15 digits, with or without a plus", p.Number)
		case seen[plain]:
			d.at(path+".number", "phone %s is given twice", plain)
		default:
			seen[plain] = true
			p.Number = plain
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
}
