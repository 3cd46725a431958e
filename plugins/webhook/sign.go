package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/wildcathub/wildcat/sdk"
)

const (
	secretPrefix = "whsec_"
	secretSize   = 32 // bytes of a new one
	minSecret    = 16
	maxSecret    = 128
	maxSecrets   = 3
)

// NewSecret makes a signing secret from random bytes.
func NewSecret(random io.Reader) (string, error) {
	b := make([]byte, secretSize)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", fmt.Errorf("make webhook secret: %w", err)
	}
	return secretPrefix + base64.StdEncoding.EncodeToString(b), nil
}

// ParseSecret returns the key of one secret: "whsec_" and the base64 of 16 to 128 bytes.
func ParseSecret(s string) ([]byte, error) {
	enc, ok := strings.CutPrefix(s, secretPrefix)
	key, err := base64.StdEncoding.DecodeString(enc)
	if !ok || err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, &sdk.ConfigError{Path: "secret", Message: "must be whsec_ followed by the base64 of 16 to 128 bytes"}
	}
	return key, nil
}

func parseSecrets(s string) ([][]byte, error) {
	fields := strings.Fields(s)
	if len(fields) > maxSecrets {
		return nil, &sdk.ConfigError{Path: "secret", Message: fmt.Sprintf("at most %d may be active", maxSecrets)}
	}
	var keys [][]byte
	for _, f := range fields {
		key, err := ParseSecret(f)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Sign returns the webhook-signature header: for each key "v1," and the base64 of the
// HMAC-SHA256 of id, timestamp (unix seconds) and body, joined by dots.
func Sign(keys [][]byte, id, timestamp string, body []byte) string {
	sigs := make([]string, len(keys))
	for i, key := range keys {
		mac := hmac.New(sha256.New, key)
		_, _ = io.WriteString(mac, id+"."+timestamp+".")
		_, _ = mac.Write(body)
		sigs[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	return strings.Join(sigs, " ")
}
