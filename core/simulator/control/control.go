// Package control is the sandbox's control API: a simulator's phones, devices and faults
// over HTTP, JSON, under /sandbox/.
//
// It owns one table of routes (routes.go), from which the multiplexer and the OpenAPI
// document are both made, and it uses nothing of the simulator but what that exports. It
// answers requests from the same machine only: whoever reaches it may act as every phone.
package control

import (
	"net"
	"net/http"
	"strings"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/control/page"
)

//go:generate go test -count=1 -run TestTheDocumentIsValidAndCheckedIn . -update

// Handler serves everything under /sandbox/. It is what simulator.Options.Control wants.
func Handler(s *simulator.Server) http.Handler {
	a := &api{s: s}
	mux := http.NewServeMux()
	for _, r := range routes() {
		mux.Handle(r.method+" "+r.path, a.serve(r))
	}
	byHand := page.Handler(s)
	mux.Handle("GET "+page.Root+"{$}", byHand)
	mux.Handle(page.Root+"ui/", byHand)
	mux.HandleFunc("/sandbox/", func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, &apiError{http.StatusNotFound, "not_found", "no such endpoint, or not with this method"})
	})
	return sameMachine(mux)
}

// api is what the handlers of the table work on.
type api struct{ s *simulator.Server }

// bodyLimit bounds a request: media included, which WhatsApp bounds at about this.
const bodyLimit = 64 << 20

func (a *api) serve(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		req.Body = http.MaxBytesReader(w, req.Body, bodyLimit)
		if r.raw != nil {
			if err := r.raw(a, w, req); err != nil {
				writeError(w, err)
			}
			return
		}
		out, err := r.handle(a, req)
		if err != nil {
			writeError(w, err)
			return
		}
		writeJSON(w, r.status, out)
	})
}

// sameMachine refuses what a web page in a browser on this machine could send: a host name
// that was made to point here, or a request from another origin.
func sameMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get("Origin")
		if !loopbackHost(r.Host) || origin != "" && !strings.EqualFold(origin, "http://"+r.Host) {
			writeError(w, &apiError{http.StatusForbidden, "forbidden", "the control API answers requests from this machine only"})
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
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
