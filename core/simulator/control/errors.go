package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/wildcathub/wildcat/core/simulator"
)

// apiError is an error with its status and code.
type apiError struct {
	status int
	code   string
	text   string
}

func (e *apiError) Error() string { return e.text }

func badRequest(code, text string) error { return &apiError{http.StatusBadRequest, code, text} }

// errorCodes maps the simulator's errors to what the API answers.
func errorCodes() []errorCode {
	return []errorCode{
		{simulator.ErrNumber, http.StatusBadRequest, "bad_number"},
		{simulator.ErrNumberTaken, http.StatusConflict, "number_taken"},
		{simulator.ErrUnknownNumber, http.StatusNotFound, "unknown_number"},
		{simulator.ErrQR, http.StatusBadRequest, "bad_qr"},
		{simulator.ErrQRExpired, http.StatusGone, "qr_expired"},
		{simulator.ErrCode, http.StatusBadRequest, "bad_pairing_code"},
		{simulator.ErrCodeUnknown, http.StatusNotFound, "unknown_pairing_code"},
		{simulator.ErrCodeWrong, http.StatusConflict, "wrong_pairing_code"},
		{simulator.ErrCodeExpired, http.StatusGone, "pairing_code_expired"},
		{simulator.ErrPairRefused, http.StatusConflict, "pair_refused"},
		{simulator.ErrTooManyDevices, http.StatusConflict, "too_many_devices"},
		{simulator.ErrChat, http.StatusBadRequest, "bad_chat"},
		{simulator.ErrMessage, http.StatusBadRequest, "bad_message"},
		{simulator.ErrUnknownMessage, http.StatusNotFound, "unknown_message"},
		{simulator.ErrNotYours, http.StatusForbidden, "not_yours"},
		{simulator.ErrUnknownGroup, http.StatusNotFound, "unknown_group"},
		{simulator.ErrNotMember, http.StatusForbidden, "not_member"},
		{simulator.ErrNotAdmin, http.StatusForbidden, "not_admin"},
		{simulator.ErrInviteInvalid, http.StatusNotFound, "unknown_invite"},
		{simulator.ErrInviteRevoked, http.StatusGone, "invite_revoked"},
		{simulator.ErrFault, http.StatusBadRequest, "bad_fault"},
		{simulator.ErrOffline, http.StatusConflict, "offline"},
		{simulator.ErrMedia, http.StatusBadRequest, "bad_media"},
		{simulator.ErrUnknownMedia, http.StatusNotFound, "unknown_media"},
		{simulator.ErrMediaBroken, http.StatusBadGateway, "media_broken"},
		{simulator.ErrPicture, http.StatusBadRequest, "bad_picture"},
		{simulator.ErrPrivacy, http.StatusBadRequest, "bad_privacy"},
		{simulator.ErrNotBusiness, http.StatusConflict, "not_business"},
		{simulator.ErrTyping, http.StatusBadRequest, "bad_typing"},
		{simulator.ErrUnknownCall, http.StatusNotFound, "unknown_call"},
		{simulator.ErrUnknownNewsletter, http.StatusNotFound, "unknown_newsletter"},
		{simulator.ErrReply, http.StatusBadRequest, "bad_reply"},
		{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout"},
		{simulator.ErrClosed, http.StatusServiceUnavailable, "closed"},
	}
}

type errorCode struct {
	err    error
	status int
	code   string
}

// errorAnswer is the body of every answer that is not a success.
type errorAnswer struct {
	OK    bool   `json:"ok" doc:"always false"`
	Error string `json:"error" doc:"for a person"`
	Code  string `json:"code" doc:"for a program; stable"`
}

// bodyError is that of a body that could not be read: it is too large, or else a bad request.
func bodyError(code string, err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return fmt.Errorf("body: %w", err)
	}
	return badRequest(code, "body: "+err.Error())
}

func writeError(w http.ResponseWriter, err error) {
	status, code := http.StatusInternalServerError, "internal"
	var own *apiError
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		status, code = http.StatusRequestEntityTooLarge, "too_large"
	} else if errors.As(err, &own) {
		status, code = own.status, own.code
	} else {
		for _, known := range errorCodes() {
			if errors.Is(err, known.err) {
				writeJSON(w, known.status, errorAnswer{Error: err.Error(), Code: known.code})
				return
			}
		}
		// What WhatsApp itself would refuse carries the status of its answer.
		var refused interface{ Code() int }
		if errors.As(err, &refused) && refused.Code() >= 400 && refused.Code() < 500 {
			status, code = refused.Code(), "refused"
		}
	}
	writeJSON(w, status, errorAnswer{Error: err.Error(), Code: code})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the caller is gone if this fails
}

func readJSON(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err == nil {
			err = errors.New("there is more behind the value")
		}
	}
	return bodyError("bad_json", err)
}
