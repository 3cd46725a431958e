// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// tolerance is how far a request's timestamp may be from our clock, so that one
// that was overheard cannot be sent again later.
const tolerance = 5 * time.Minute

// parseSecret decodes "whsec_" and base64.
func parseSecret(s string) ([]byte, error) {
	enc, ok := strings.CutPrefix(s, "whsec_")
	key, err := base64.StdEncoding.DecodeString(enc)
	if !ok || err != nil || len(key) == 0 {
		return nil, errors.New("the secret must be whsec_ followed by base64")
	}
	return key, nil
}

// verify checks a request's Standard Webhooks signature. The body must be exactly
// the bytes that came: a body that was decoded and encoded again does not verify.
func verify(key []byte, h http.Header, body []byte, now time.Time) error {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	if id == "" || stamp == "" {
		return errors.New("no webhook-id or webhook-timestamp")
	}
	unix, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil {
		return errors.New("webhook-timestamp is no number")
	}
	if age := now.Sub(time.Unix(unix, 0)); age.Abs() > tolerance {
		return fmt.Errorf("webhook-timestamp is off by %s", age.Round(time.Second))
	}
	mac := hmac.New(sha256.New, key)
	_, _ = io.WriteString(mac, id+"."+stamp+".")
	_, _ = mac.Write(body)
	want := mac.Sum(nil)
	// While the sender changes its secret there is one signature for each.
	for _, sig := range strings.Fields(h.Get("webhook-signature")) {
		enc, ok := strings.CutPrefix(sig, "v1,")
		if !ok {
			continue
		}
		got, err := base64.StdEncoding.DecodeString(enc)
		if err == nil && hmac.Equal(got, want) {
			return nil
		}
	}
	return errors.New("no signature matches")
}
