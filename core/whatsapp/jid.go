package whatsapp

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"go.mau.fi/whatsmeow/types"
)

// ErrAddress says that a text is neither a WhatsApp id nor a phone number.
var ErrAddress = errors.New("not a WhatsApp address")

// address matches the ids that a message can go to: people (phone number or LID),
// groups (new and old form), broadcast lists and newsletters. A device part is allowed.
var address = regexp.MustCompile(`^(?:([0-9]{1,20})(?::[0-9]{1,4})?@(s\.whatsapp\.net|c\.us|lid)|([0-9]{1,25}(?:-[0-9]{1,25})?)@g\.us|(status|[0-9]{1,25})@broadcast|([0-9A-Za-z]{1,40})@newsletter)$`)

// phone matches a bare phone number as people write it.
var phone = regexp.MustCompile(`^\+?[0-9][0-9 ().\-]*$`)

// maxAddress bounds what is looked at.
const maxAddress = 80

// ParseAddress turns what a user gives as an address into a JID without device part.
// It takes number@s.whatsapp.net (and the older c.us), id@g.us, id@lid, id@broadcast,
// status@broadcast, id@newsletter, old groups (123-456@g.us), and a bare international
// phone number of 5 to 15 digits, with or without "+", spaces, dots, dashes and
// brackets. Anything else is an error that wraps ErrAddress. What it returns, it
// accepts and returns unchanged.
func ParseAddress(s string) (string, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxAddress {
		return "", fmt.Errorf("%w: too long", ErrAddress)
	}
	if m := address.FindStringSubmatch(s); m != nil {
		switch {
		case m[2] == types.LegacyUserServer:
			return m[1] + "@" + types.DefaultUserServer, nil
		case m[1] != "":
			return m[1] + "@" + m[2], nil
		}
		return s, nil
	}
	if !phone.MatchString(s) {
		return "", ErrAddress
	}
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, s)
	// A leading zero is a national prefix: whose nation is not known.
	if len(digits) < 5 || len(digits) > 15 || digits[0] == '0' {
		return "", ErrAddress
	}
	return digits + "@" + types.DefaultUserServer, nil
}

// parseJID reads one of our own stored addresses.
func parseJID(s string) (types.JID, error) {
	norm, err := ParseAddress(s)
	if err != nil {
		return types.EmptyJID, fmt.Errorf("address %q: %w", s, err)
	}
	return types.ParseJID(norm)
}
