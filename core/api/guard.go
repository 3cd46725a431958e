package api

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/config"
)

// normalise does what the old program's router did: a slash at the end does not
// matter, and HEAD is answered like GET (net/http leaves the body out).
func normalise(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		slash := len(r.URL.Path) > 1 && strings.HasSuffix(r.URL.Path, "/")
		if slash || r.Method == http.MethodHead {
			again, u := *r, *r.URL
			if slash {
				u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
				if u.Path == "" {
					u.Path = "/"
				}
			}
			again.URL = &u
			if r.Method == http.MethodHead {
				again.Method = http.MethodGet
			}
			r = &again
		}
		next.ServeHTTP(w, r)
	})
}

// recover turns a handler's panic into an internal error, and reports it.
func (s *Server) recover(c *gin.Context) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, isErr := p.(error); isErr && errors.Is(err, http.ErrAbortHandler) {
			panic(p) // net/http's way to cut a connection
		}
		s.log.Error("handler panicked", "method", c.Request.Method, "route", routeOf(c), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		s.fail(c, errInternal)
	}()
	c.Next()
}

// guard refuses what a web page of somebody else's could make a browser send: as long as
// there is no API key, whoever listens on a loopback address trusts this machine only, not
// every page that is open on it.
func (s *Server) guard(c *gin.Context) {
	r := c.Request
	if config.Loopback(s.cfg.Server.Host) && !s.served(hostOf(r.Host)) {
		// A page whose name resolves to 127.0.0.1 (DNS rebinding) is same-origin to
		// the browser; only the Host header shows it.
		s.fail(c, errHost)
		return
	}
	if safe := r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions; !safe && s.foreign(r) {
		s.fail(c, errOrigin)
		return
	}
	r.Body = http.MaxBytesReader(c.Writer, r.Body, s.cfg.Server.MaxBody)
	c.Header("X-Content-Type-Options", "nosniff")
	c.Header("Cache-Control", "no-store")
	c.Next()
}

// served says whether a host name is one of ours.
func (s *Server) served(host string) bool {
	return config.Loopback(host) || slices.ContainsFunc(s.cfg.Server.AllowHosts, func(name string) bool {
		return strings.EqualFold(name, host)
	})
}

// foreign says whether a browser sends this for a page from elsewhere.
func (s *Server) foreign(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return r.Header.Get("Sec-Fetch-Site") == "cross-site"
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" { // "null": a sandboxed frame or a file
		return true
	}
	return !s.served(u.Hostname()) && !strings.EqualFold(u.Host, r.Host)
}

// hostOf is a Host header without its port.
func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	var addr *net.AddrError
	if errors.As(err, &addr) {
		return strings.Trim(hostport, "[]")
	}
	return host
}
