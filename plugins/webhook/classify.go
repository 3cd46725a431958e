package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/sdk"
)

const (
	// badLimit is how many attempts an answer is worth that blames the request itself.
	badLimit = 3
	minAfter = time.Second
	maxAfter = 24 * time.Hour
	// plainAfter is the pause after a 429 that names none.
	plainAfter = 5 * time.Second
)

// classify says what an answer means.
func classify(code int, h http.Header, now time.Time) sdk.Result {
	r := sdk.Result{Code: code}
	success := code >= 200 && code < 300
	switch strings.ToLower(strings.TrimSpace(h.Get("Webhook-Delivery"))) {
	case "disable":
		r.Status, r.Reason = sdk.Disable, "disabled_by_receiver"
		return r
	case "abort-message":
		if !success {
			r.Status, r.Reason = sdk.Reject, "aborted"
			return r
		}
	}
	switch {
	case success:
		r.Status = sdk.OK
	case code >= 300 && code < 400:
		r.Reason = "redirect" // never followed: a POST would lose its body and seem to succeed
	case code == http.StatusGone:
		r.Status, r.Reason = sdk.Disable, "gone"
	case code == http.StatusTooManyRequests:
		r.Reason, r.Uncounted = "rate_limited", true
		r.After = retryAfter(h.Get("Retry-After"), now)
		if r.After == 0 {
			r.After = plainAfter
		}
	case code == http.StatusServiceUnavailable:
		r.Reason, r.After = "unavailable", retryAfter(h.Get("Retry-After"), now)
	case code == 400, code == 405, code == 413, code == 414, code == 415, code == 422, code == 501:
		r.Reason, r.Limit = "bad_request", badLimit
	case code == 401:
		r.Reason = "unauthorized"
	case code == 403:
		r.Reason = "forbidden"
	case code == 404:
		r.Reason = "not_found"
	case code >= 500:
		r.Reason = "server_error"
	default:
		r.Reason = "client_error"
	}
	return r
}

// retryAfter reads seconds or an HTTP date, and keeps it within 1 s and 24 h; 0 if
// there is none or it is not understood.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		n = min(max(n, 0), int64(maxAfter/time.Second))
		return max(time.Duration(n)*time.Second, minAfter)
	} else if errors.Is(err, strconv.ErrRange) {
		if v[0] == '-' {
			return minAfter
		}
		return maxAfter
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), minAfter), maxAfter)
}

// failed says what it means that there was no answer.
func (w *Webhook) failed(err error) sdk.Result {
	r := sdk.Result{Reason: "network"}
	var blocked interface{ EgressBlocked() bool }
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var timeout net.Error
	switch {
	case errors.As(err, &blocked) && blocked.EgressBlocked():
		r.Reason = "egress_blocked"
	case errors.As(err, &dns):
		r.Reason = "dns"
	case errors.As(err, &cert), errors.As(err, &authority), errors.As(err, &record), errors.As(err, &alert):
		r.Reason = "tls"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		r.Reason = "timeout"
	case errors.Is(err, context.Canceled):
		r.Reason = "cancelled"
	}
	r.Body = w.scrub(err)
	return r
}

// scrub returns an error's text without the URL, whose query and user may be secret.
func (w *Webhook) scrub(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	s := err.Error()
	if w.url != nil {
		for _, secret := range []string{w.url.String(), w.url.RawQuery, w.url.User.String()} {
			if secret != "" {
				s = strings.ReplaceAll(s, secret, "***")
			}
		}
	}
	return s
}
