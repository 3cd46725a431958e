package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/store"
)

// Peers are the other hubs on the same database. A request about an account is answered by
// the hub that holds the account, whichever hub it reached.
type Peers interface {
	// Peer returns name and URL of the hub that holds an account; both are "" if this one
	// does, or none.
	Peer(ctx context.Context, account string) (Hub, error)
	// Here fails unless this hub holds an account at this moment: with ErrMoving, or an error
	// that wraps store.ErrAway if nobody can know. It asks no database.
	Here(account string) error
	// Elsewhere are the accounts that other hubs hold, of those whose id begins with a prefix.
	Elsewhere(ctx context.Context, prefix string) (map[string]bool, error)
	// Vouch proves to a hub that a request comes from another, and is meant for it.
	Vouch(r *http.Request, instance string)
	// Vouched says whether another hub has passed the request on. It fails with
	// ErrMisdirected if that meant a third one.
	Vouched(r *http.Request) (bool, error)
	// Transport reaches other hubs.
	Transport() http.RoundTripper
	// Hubs lists the hubs that live, this one among them.
	Hubs(ctx context.Context) ([]Hub, error)
}

// Hub is one of those that share a database.
type Hub struct {
	// Instance is its name, URL where other hubs reach it ("" while it starts).
	Instance string `json:"instance"`
	URL      string `json:"url"`
	// This says that it is the one that was asked.
	This bool `json:"this"`
	// Accounts are the ids of those that it holds, Partitions those of the deliveries that it makes.
	Accounts   []string `json:"accounts"`
	Partitions []int    `json:"partitions"`
}

// listHubs shows who holds what. A hub that has its database to itself is not listed.
func (s *Server) listHubs(c *gin.Context) error {
	var list []Hub
	if s.deps.Peers != nil {
		var err error
		if list, err = s.deps.Peers.Hubs(c.Request.Context()); err != nil {
			return err
		}
	}
	return ok(c, gin.H{"ok": true, "hubs": orEmpty(list)})
}

// atHolder has the account's hub answer, for what only that one can. What another hub passed
// on already is answered here, even if the account has moved on meanwhile: no request goes
// round in circles.
func (s *Server) atHolder(handle func(*gin.Context) error) func(*gin.Context) error {
	return func(c *gin.Context) error {
		if s.deps.Peers == nil {
			return handle(c)
		}
		if callerOf(c).vouched {
			return handle(c)
		}
		peer, err := s.deps.Peers.Peer(c.Request.Context(), c.Param("accountId"))
		switch {
		case errors.Is(err, store.ErrAway):
			return err
		case err != nil:
			return errPeer.because(err)
		case peer.URL == "":
			return handle(c)
		}
		return s.passOn(c, peer)
	}
}

// errDistrusted is what a client gets whose key was good: it must not look for another one.
var errDistrusted = errors.New("the other hub does not take this one's word: their clocks differ by minutes, or they have another database")

func (s *Server) passOn(c *gin.Context, peer Hub) error {
	target, err := url.Parse(peer.URL)
	if err != nil {
		return errPeer.because(err)
	}
	ctx, giveUp := context.WithCancelCause(c.Request.Context())
	defer giveUp(nil)
	account := c.Param("accountId")
	go s.watchHolder(ctx, account, peer, giveUp)
	var arrived atomic.Bool // perhaps: the other hub may do what it was asked
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { arrived.Store(true) }})
	proxy := httputil.ReverseProxy{
		Transport: s.deps.Peers.Transport(),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			// It was judged here where it comes from.
			r.Out.Header.Del("Origin")
			r.Out.Header.Del("Sec-Fetch-Site")
			// So was who asks: the other hub takes this one's word, and needs no key.
			r.Out.Header.Del("Authorization")
			r.Out.Header.Del("X-API-Key")
			s.deps.Peers.Vouch(r.Out, peer.Instance)
		},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode == http.StatusUnauthorized {
				return errDistrusted
			}
			for name := range c.Writer.Header() { // the hub that answers has set these, too
				r.Header.Del(name)
			}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) {
			if why := context.Cause(ctx); errors.Is(why, errMovedOn) {
				err = why
			}
			s.fail(c, s.unanswered(c, err, arrived.Load() && !errors.Is(err, errDistrusted)))
		},
	}
	proxy.ServeHTTP(c.Writer, c.Request.WithContext(ctx))
	return nil
}

// errMovedOn says that a hub was not waited for any more.
var errMovedOn = errors.New("the account has moved on from the hub that was asked, which did not answer")

// holderEvery is how often it is looked whether the hub that is asked holds the account still.
const holderEvery = 2 * time.Second

// watchHolder gives a request up once the hub that it was passed on to, and that has not answered,
// does not hold the account any more: it was stopped, or cut off.
func (s *Server) watchHolder(ctx context.Context, account string, asked Hub, giveUp context.CancelCauseFunc) {
	tick := time.NewTicker(holderEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Nobody may hold it for a moment while it moves, and the one that is asked then answers.
		here := s.deps.Peers.Here(account) == nil
		now, err := s.deps.Peers.Peer(ctx, account)
		if here || err == nil && now.Instance != "" && now.Instance != asked.Instance {
			giveUp(errMovedOn)
			return
		}
	}
}

// unanswered is what a client gets for a request that another hub has not answered. A message
// that may have arrived there may be sent, and a client that tries again would send it twice;
// whatever else is passed on can be asked for again.
func (s *Server) unanswered(c *gin.Context, err error, arrived bool) error {
	left := c.Request.Context().Err() != nil // the client, whom nobody answers any more
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return err
	case arrived && strings.HasSuffix(c.FullPath(), sendPath) && left:
		return errUncertain
	case arrived && strings.HasSuffix(c.FullPath(), sendPath):
		return errUncertain.because(err)
	case left:
		return errClientClosed
	}
	return errPeer.because(err)
}
