package api

import (
	"regexp"
	"strings"
)

// jid matches the addresses that a message can go to: people (phone number or LID),
// groups (new and old form), broadcast lists and newsletters.
var jid = regexp.MustCompile(`^(?:[0-9]{1,20}@s\.whatsapp\.net|[0-9]{1,20}@lid|[0-9]{1,25}(?:-[0-9]{1,25})?@g\.us|(?:status|[0-9]{1,25})@broadcast|[0-9A-Za-z]{1,40}@newsletter)$`)

// phone matches a bare phone number: at most 15 digits (E.164), written for people.
var phone = regexp.MustCompile(`^\+?[0-9][0-9 ().-]*$`)

// parseJID accepts a JID, or a bare phone number, which it makes one.
func parseJID(s string) (string, bool) {
	s = strings.TrimSpace(s)
	if jid.MatchString(s) {
		return s, true
	}
	if len(s) > 40 || !phone.MatchString(s) {
		return "", false
	}
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
	if len(digits) < 5 || len(digits) > 15 {
		return "", false
	}
	return digits + "@s.whatsapp.net", true
}
