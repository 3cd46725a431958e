package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/keys"
	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// failure is an answer that is no success. Its text and code are promises to clients.
type failure struct {
	status int
	text   string
	code   string
	// extra are further fields of the body.
	extra gin.H
	// cause goes to the log, never to the client.
	cause error
}

// Error implements error.
func (f *failure) Error() string { return f.text }

// Unwrap returns the cause.
func (f *failure) Unwrap() error { return f.cause }

func bad(text, code string) *failure {
	return &failure{status: http.StatusBadRequest, text: text, code: code}
}

func absent(text, code string) *failure {
	return &failure{status: http.StatusNotFound, text: text, code: code}
}

// because returns the failure with a cause.
func (f *failure) because(err error) *failure {
	again := *f
	again.cause = err
	return &again
}

// with returns the failure with a further field in the body.
func (f *failure) with(key string, value any) *failure {
	again := *f
	again.extra = gin.H{key: value}
	for k, v := range f.extra {
		again.extra[k] = v
	}
	return &again
}

// ErrMoving says that an account is held by no hub at this moment, or by another one.
var ErrMoving = errors.New("account is held by another hub")

// ErrMisdirected says that a hub passed a request on to this one that is meant for another.
var ErrMisdirected = errors.New("request is meant for another hub")

// statusClosed is what logs and metrics show for a request whose client went away.
const statusClosed = 499

// The answers. Texts of the contract are kept to the letter.
var (
	errUnknownRoute = absent("not found", "unknown_route")
	errMethod       = &failure{status: http.StatusMethodNotAllowed, text: "method not allowed", code: "method_not_allowed"}
	errMalformed    = bad("request body is not valid JSON", "malformed_json")
	errIncomplete   = bad("request body is incomplete", "malformed_json")
	errNoObject     = bad("request body must be a JSON object", "malformed_json")
	errTooLarge     = &failure{status: http.StatusRequestEntityTooLarge, text: "request body is too large", code: "body_too_large"}
	errHost         = &failure{status: http.StatusForbidden, text: "this Host is not served here: use localhost or 127.0.0.1, or name it under server.allow_hosts", code: "host_not_allowed"}
	errOrigin       = &failure{status: http.StatusForbidden, text: "requests from other web pages are not allowed", code: "origin_not_allowed"}
	errInternal     = &failure{status: http.StatusInternalServerError, text: "internal_error", code: "internal_error"}
	errAway         = &failure{status: http.StatusServiceUnavailable, text: "the database does not answer: try again in a moment", code: "storage_unavailable"}
	errFull         = &failure{status: http.StatusInsufficientStorage, text: "storage is full", code: "storage_full"}

	errIDRequired      = bad("id is required", "id_required")
	errAccountID       = bad("invalid account id: expected 1 to 64 letters, digits, _ or -", "invalid_account_id")
	errAccountName     = bad("invalid name: expected at most 200 characters", "invalid_name")
	errCollection      = bad("invalid collectionName: expected 1 to 120 letters, digits, dots, _ or -, with no dot at an end or beside another, and not beginning with system.", "invalid_collection_name")
	errAccountExists   = bad("Account already exists", "account_exists")
	errAccount         = absent("Account not found", "account_not_found")
	errNotStarted      = absent("Account not found or not started", "account_not_started")
	errNotConnected    = bad("Account not connected", "account_not_connected")
	errConnect         = &failure{status: http.StatusInternalServerError, text: "Failed to connect", code: "connect_failed"}
	errDisconnect      = &failure{status: http.StatusInternalServerError, text: "Failed to disconnect", code: "disconnect_failed"}
	errToAndMessage    = bad("to and message are required", "to_and_message_required")
	errLength          = bad("Message length invalid. Must be between 1 and 65536 characters", "message_length_invalid")
	errMentions        = bad("Invalid JID format in mentions array", "invalid_mentions")
	errQuotedID        = bad("quotedMessageId must be text", "invalid_quoted_message_id")
	errIdempotencyKey  = bad("invalid Idempotency-Key: expected 1 to 255 printable characters", "invalid_idempotency_key")
	errKeyReused       = &failure{status: http.StatusUnprocessableEntity, text: "this Idempotency-Key was used for another request", code: "idempotency_key_reused"}
	errWithdrawn       = &failure{status: http.StatusServiceUnavailable, text: "message was not sent: WhatsApp could not be reached in time", code: "not_sent"}
	errUncertain       = &failure{status: http.StatusGatewayTimeout, text: "WhatsApp has not confirmed the message: it may have been sent", code: "send_uncertain"}
	errMessage         = absent("Message not found", "message_not_found")
	errMedia           = absent("media not found", "media_not_found")
	errNoMedia         = absent("Message has no media", "no_media")
	errNotFetched      = absent("the media of messages that come in are not fetched yet", "media_not_fetched")
	errURLRequired     = bad("url is required and must be a string", "url_required")
	errURL             = bad("invalid URL", "invalid_url")
	errURLScheme       = bad("only http/https URLs are allowed", "invalid_url_scheme")
	errWebhookAccount  = bad("accountId must be an account id", "invalid_account_id")
	errWebhookEvents   = bad("events must be a list of event types", "invalid_events")
	errWebhookSecret   = bad("secret must be text: whsec_ and base64 of 24 to 64 bytes", "invalid_secret")
	errWebhookHeaders  = bad("headers must be an object of texts", "invalid_headers")
	errWebhook         = absent("Webhook not found", "webhook_not_found")
	errEvent           = absent("Event not found", "event_not_found")
	errDelivery        = absent("Delivery not found", "delivery_not_found")
	errDeliveryQueued  = &failure{status: http.StatusConflict, text: "Delivery is queued already", code: "delivery_queued"}
	errConnectorGone   = &failure{status: http.StatusConflict, text: "its connector is not configured any more: nobody would get it. Configure the connector under its old name first; a webhook that was deleted does not come back", code: "connector_missing"}
	errConnector       = absent("Connector not found: GET /v1/connectors lists their ids", "connector_not_found")
	errConnectorServed = &failure{status: http.StatusConflict, text: "Connector is not disabled: disable it first (POST …/disable)", code: "connector_not_disabled"}
	errDeliveryState   = bad("state must be queued, ok, dead, parked or cancelled", "invalid_state")
	errSendState       = bad("state must be queued, sending, sent, failed or unknown", "invalid_state")
	errSendCursor      = absent("Send not found", "send_not_found")
	errSince           = bad("since must be a time such as 2026-01-31T12:00:00Z, or unix seconds", "invalid_since")
	errBounds          = bad("before and after must be times in unix seconds, or such as 2026-01-31T12:00:00Z", "invalid_time")
	errRules           = &failure{status: http.StatusUnprocessableEntity, text: "the rules have mistakes: the old ones stay in force", code: "rules_invalid"}
	errRuleVersion     = absent("Rule version not found", "rule_version_not_found")
	errRuleVersions    = bad("more than one version begins like that: give more of its name", "rule_version_ambiguous")
	errRuleVersionText = bad("version must be text", "invalid_rule_version")
	errPeer            = &failure{status: http.StatusServiceUnavailable, text: "the hub that holds this account does not answer: try again in a moment", code: "hub_unreachable"}
	errMoving          = &failure{status: http.StatusServiceUnavailable, text: "the account is moving to another hub: try again in a moment", code: "account_moving"}
	errMisdirected     = &failure{status: http.StatusServiceUnavailable, text: "the hub that holds this account gives another hub's address as its own: correct its cluster.advertise", code: "hub_misdirected"}
	errNoHub           = &failure{status: http.StatusForbidden, text: "only hubs on the same database ask for this", code: "hubs_only"}
	errNudge           = bad("nudge is damaged", "invalid_nudge")
	errClientClosed    = &failure{status: statusClosed, text: "client closed the request", code: "client_closed"}
)

func errJID(field string) *failure {
	return bad(`Invalid WhatsApp JID format for "`+field+`" field. Expected format: 1234567890@s.whatsapp.net or 123456789@g.us`, "invalid_jid")
}

// classify finds the answer for an error. What it does not know is an internal
// error, and the text of that never reaches a client.
func classify(c *gin.Context, err error) *failure {
	var known *failure
	var large *http.MaxBytesError
	var refused *send.FailedError
	var mistake *sdk.ConfigError
	var rules RuleMistakes
	var refusal *keys.Refusal
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &large):
		return errTooLarge
	case errors.As(err, &refused):
		return errInternal.because(err).with("reason", refused.Reason)
	case errors.As(err, &mistake):
		return bad("invalid webhook: "+mistake.Error(), "invalid_webhook")
	case errors.As(err, &rules):
		return errRules.with("problems", []string(rules))
	case errors.Is(err, ErrRuleVersion):
		return errRuleVersion
	case errors.Is(err, ErrRuleVersionAmbiguous):
		return errRuleVersions
	case errors.As(err, &refusal) && refusal.Rule:
		return &failure{status: http.StatusConflict, text: refusal.Text, code: refusal.Code}
	case errors.As(err, &refusal):
		return bad(refusal.Text, refusal.Code)
	case errors.Is(err, send.ErrKeyReused):
		return errKeyReused
	case errors.Is(err, send.ErrWithdrawn):
		return errWithdrawn
	case errors.Is(err, send.ErrUnknown), errors.Is(err, send.ErrPending):
		return errUncertain
	case errors.Is(err, ErrMisdirected):
		return errMisdirected
	case errors.Is(err, ErrMoving), errors.Is(err, send.ErrElsewhere):
		return errMoving.because(err)
	case errors.Is(err, store.ErrFull):
		return errFull.because(err)
	case errors.Is(err, store.ErrAway):
		return errAway.because(err)
	case errors.Is(err, context.Canceled) && c.Request.Context().Err() != nil:
		return errClientClosed
	default:
		return errInternal.because(err)
	}
}

// fail is the one place where an error becomes an answer.
func (s *Server) fail(c *gin.Context, err error) {
	f := classify(c, err)
	if f.status >= 500 && f.cause != nil {
		s.log.Error("request failed", "method", c.Request.Method, "route", routeOf(c), "account", c.Param("accountId"), "code", f.code, "err", f.cause)
	}
	if c.Writer.Written() {
		return // too late for an answer
	}
	body := gin.H{"ok": false, "error": f.text, "code": f.code}
	for k, v := range f.extra {
		body[k] = v
	}
	c.Abort()
	c.PureJSON(f.status, body)
}

// or replaces an error that wraps sentinel by the answer for it.
func or(err, sentinel error, answer *failure) error {
	if errors.Is(err, sentinel) {
		return answer.because(err)
	}
	return err
}

// unlessPassing replaces an error by the answer for it, but for one that has an answer of its own
// since it passes: the same request may succeed in a moment.
func unlessPassing(err error, answer *failure) error {
	for _, passing := range []error{ErrMoving, store.ErrAway, store.ErrFull} {
		if errors.Is(err, passing) {
			return err
		}
	}
	return answer.because(err)
}
