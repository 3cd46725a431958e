package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"sort"
	"strconv"
	"strings"
)

// The control API, JSON, under /sandbox/. An error answers with its status and
// {"ok": false, "error": TEXT, "code": CODE}.
//
//	GET  /sandbox/root-key                        → {"root_key": 64 hex digits}, exactly this
//	POST /sandbox/phones {number, name}           → {number, lid, name, companions}, 201
//	GET  /sandbox/phones                          → {phones: [{number, lid, name, companions}]}
//	POST /sandbox/phones/{number}/scan {qr}       → {jid, lid}: links the client that shows the QR
//	POST /sandbox/phones/{number}/send {to, text, quoted?, id?} → {id}
//	POST /sandbox/send-batch {messages: [{from, to, text}]} → {ids}: in order; an error says how many are sent
//	GET  /sandbox/phones/{number}/received?after=N → {messages: [{n, id, chat, from, text, quoted, time, copies}]}
//	POST /sandbox/phones/{number}/unlink          → {}: removes all companions
//	GET  /sandbox/devices                         → {devices: [{jid, lid, online, pending, acked, last_ack_ns, logins, last_login_ns, prekeys}]}
//	POST /sandbox/devices/{jid}/cut               → {}: closes the connection
//	POST /sandbox/devices/{jid}/unlink            → {}
//	POST /sandbox/devices/{jid}/stream-error {code} → {}
//	GET  /sandbox/invariants                      → {count, violations: [TEXT]}
//	GET  /sandbox/stats                           → [Stats]
//
// Numbers are digits, with or without a plus. A device's jid is 15550001:1@s.whatsapp.net.
func (s *Server) controlHandler() http.Handler {
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"GET /sandbox/root-key":                    s.controlRootKey,
		"POST /sandbox/phones":                     s.controlAddPhone,
		"GET /sandbox/phones":                      s.controlPhones,
		"POST /sandbox/phones/{number}/scan":       s.controlScan,
		"POST /sandbox/phones/{number}/send":       s.controlSend,
		"POST /sandbox/send-batch":                 s.controlSendBatch,
		"GET /sandbox/phones/{number}/received":    s.controlReceived,
		"POST /sandbox/phones/{number}/unlink":     s.controlUnlinkPhone,
		"GET /sandbox/devices":                     s.controlDevices,
		"POST /sandbox/devices/{jid}/cut":          s.controlCut,
		"POST /sandbox/devices/{jid}/unlink":       s.controlUnlinkDevice,
		"POST /sandbox/devices/{jid}/stream-error": s.controlStreamError,
		"GET /sandbox/invariants":                  s.controlInvariants,
		"GET /sandbox/stats":                       func(*http.Request) (any, error) { return s.Stats(), nil },
	} {
		mux.Handle(pattern, answer(handle))
	}
	mux.HandleFunc("/sandbox/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, &controlError{http.StatusNotFound, "not_found", "no such endpoint, or not with this method"})
	})
	return sameMachine(mux)
}

// sameMachine refuses what a web page in a browser on this machine could send: a host name
// that was made to point here, or a request from another origin.
func sameMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if !loopbackHost(r.Host) || origin != "" && origin != "http://"+r.Host {
			writeError(w, &controlError{http.StatusForbidden, "forbidden", "the control API answers requests from this machine only"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// controlError is an error with its status and code.
type controlError struct {
	status int
	code   string
	text   string
}

func (e *controlError) Error() string { return e.text }

// controlErrors maps errors to what the API answers.
var controlErrors = []struct {
	err    error
	status int
	code   string
}{
	{ErrNumber, http.StatusBadRequest, "bad_number"},
	{ErrNumberTaken, http.StatusConflict, "number_taken"},
	{ErrUnknownNumber, http.StatusNotFound, "unknown_number"},
	{ErrQR, http.StatusBadRequest, "bad_qr"},
	{ErrQRExpired, http.StatusGone, "qr_expired"},
	{ErrPairRefused, http.StatusConflict, "pair_refused"},
	{ErrTooManyDevices, http.StatusConflict, "too_many_devices"},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "timeout"},
	{ErrClosed, http.StatusServiceUnavailable, "closed"},
}

func answer(handle func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 64<<20)
		out, err := handle(r)
		if err != nil {
			writeError(w, err)
			return
		}
		if _, ok := out.(phoneInfo); ok {
			writeJSON(w, http.StatusCreated, out)
			return
		}
		writeJSON(w, http.StatusOK, out)
	})
}

func writeError(w http.ResponseWriter, err error) {
	status, code := http.StatusInternalServerError, "internal"
	var own *controlError
	if errors.As(err, &own) {
		status, code = own.status, own.code
	} else {
		for _, known := range controlErrors {
			if errors.Is(err, known.err) {
				status, code = known.status, known.code
				break
			}
		}
	}
	writeJSON(w, status, map[string]any{"ok": false, "error": err.Error(), "code": code})
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the caller is gone if this fails
}

func readJSON(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return &controlError{http.StatusBadRequest, "bad_json", "body: " + err.Error()}
	}
	return nil
}

// DeviceInfo is what the control API says of a companion.
type DeviceInfo struct {
	JID     string `json:"jid"`
	LID     string `json:"lid"`
	Online  bool   `json:"online"`
	Pending int    `json:"pending"`
	Acked   uint64 `json:"acked"`
	// LastAck is Unix time in nanoseconds, 0 for never.
	LastAck int64  `json:"last_ack_ns"`
	Logins  uint64 `json:"logins"`
	// LastLogin is Unix time in nanoseconds, 0 for not since the server started.
	LastLogin int64 `json:"last_login_ns"`
	PreKeys   int   `json:"prekeys"`
}

// Devices returns all companions of all accounts, and the phones, ordered by JID.
func (s *Server) Devices() []*Device {
	s.mu.RLock()
	accounts := make([]*account, 0, len(s.byNumber))
	for _, a := range s.byNumber {
		accounts = append(accounts, a)
	}
	s.mu.RUnlock()
	sort.Slice(accounts, func(i, j int) bool { return accounts[i].number < accounts[j].number })
	var out []*Device
	for _, a := range accounts {
		out = append(out, a.all()...)
	}
	return out
}

// Device returns the device that a JID names, "15550001:1@s.whatsapp.net" for instance, or nil.
func (s *Server) Device(jid string) *Device {
	parsed, err := parseDeviceJID(jid)
	if err != nil {
		return nil
	}
	return s.findDevice(parsed)
}

func (s *Server) controlDevices(*http.Request) (any, error) {
	list := []DeviceInfo{}
	for _, d := range s.Devices() {
		if d.id == 0 {
			continue
		}
		acked, last := d.Acked()
		info := DeviceInfo{
			JID: d.JID().String(), LID: d.LID().String(), Online: d.Online(), Pending: d.Pending(),
			Acked: acked, Logins: d.Logins(), PreKeys: d.PreKeys(),
		}
		if !last.IsZero() {
			info.LastAck = last.UnixNano()
		}
		if in := d.LastLogin(); !in.IsZero() {
			info.LastLogin = in.UnixNano()
		}
		list = append(list, info)
	}
	return map[string]any{"devices": list}, nil
}

func (s *Server) controlInvariants(*http.Request) (any, error) {
	list := []string{}
	for _, v := range s.Violations() {
		list = append(list, v.String())
	}
	return map[string]any{"count": s.violations.total(), "violations": list}, nil
}

func (s *Server) controlRootKey(*http.Request) (any, error) {
	return map[string]string{"root_key": hexKey(s.RootKey())}, nil
}

func (s *Server) controlDevice(r *http.Request) (*Device, error) {
	if d := s.Device(r.PathValue("jid")); d != nil && d.id != 0 {
		return d, nil
	}
	return nil, &controlError{http.StatusNotFound, "unknown_device", "no companion has this jid"}
}

func (s *Server) controlCut(r *http.Request) (any, error) {
	d, err := s.controlDevice(r)
	if err == nil {
		d.Cut()
	}
	return struct{}{}, err
}

func (s *Server) controlUnlinkDevice(r *http.Request) (any, error) {
	d, err := s.controlDevice(r)
	if err == nil {
		err = d.Unlink()
	}
	return struct{}{}, err
}

func (s *Server) controlStreamError(r *http.Request) (any, error) {
	d, err := s.controlDevice(r)
	var body struct{ Code int }
	if err == nil {
		err = readJSON(r, &body)
	}
	if err == nil && (body.Code < 100 || body.Code > 999) {
		err = &controlError{http.StatusBadRequest, "bad_code", "code " + strconv.Itoa(body.Code)}
	}
	if err == nil {
		d.StreamError(body.Code)
	}
	return struct{}{}, err
}
