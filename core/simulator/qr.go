package simulator

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// qr is what a pairing QR says.
type qr struct {
	ref             string
	noise, identity []byte
	adv             []byte
}

// parseQR reads both forms: ref,noise,identity,adv as it is, or behind
// https://wa.me/settings/linked_devices#.
func parseQR(code string) (*qr, error) {
	code = strings.TrimSpace(code)
	if strings.HasPrefix(code, "https://") {
		_, fragment, ok := strings.Cut(code, "#")
		if !ok {
			return nil, ErrQR
		}
		code = fragment
		if strings.Contains(code, "%") {
			var err error
			if code, err = url.PathUnescape(code); err != nil {
				return nil, ErrQR
			}
		}
	}
	parts := strings.Split(code, ",")
	if len(parts) < 4 || parts[0] == "" {
		return nil, ErrQR
	}
	out := &qr{ref: parts[0]}
	for i, field := range []*[]byte{&out.noise, &out.identity, &out.adv} {
		raw, err := base64.StdEncoding.DecodeString(parts[i+1])
		if err != nil || len(raw) != 32 {
			return nil, ErrQR
		}
		*field = raw
	}
	return out, nil
}
