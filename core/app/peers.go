package app

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wildcathub/wildcat/core/account"
	"github.com/wildcathub/wildcat/core/api"
	"github.com/wildcathub/wildcat/core/connector"
	"github.com/wildcathub/wildcat/core/partition"
	"github.com/wildcathub/wildcat/core/store"
)

// peers are the other hubs on the same database: where each is reached, a secret that they
// share, and what they change that is to be in force here, too.
type peers struct {
	store    store.KV
	accounts *account.Manager
	parts    *partition.Keeper
	registry *connector.Registry
	log      *slog.Logger
	instance string
	given    string        // what the configuration says
	every    time.Duration // refreshEvery
	ttl      time.Duration // addressTTL
	secret   []byte
	client   *http.Transport

	mu      sync.Mutex
	known   map[string]known
	strayed map[string]bool // the hubs that requests were meant for which came here

	quit  chan struct{}
	leave context.CancelFunc // ends what is asked of the database; nil before start
	once  sync.Once
	done  sync.WaitGroup
}

const (
	// peerNamespace holds the URL of each hub, and what they share, in the database: who may
	// read it may be a hub.
	peerNamespace = "hub/peers"
	peerSecret    = "secret"
	// refreshEvery is how soon what another hub changed is in force here.
	refreshEvery = 2 * time.Second
	// addressTTL is how long the address of a hub that died stays: a hub that lives writes
	// its own again three times as often.
	addressTTL = time.Minute
	// withdrawTimeout bounds how long a hub that stops tries to withdraw its address.
	withdrawTimeout = time.Second
	// answerTimeout is how long another hub may take to answer: a send waits a minute there for
	// WhatsApp. One that was stopped never does.
	answerTimeout = 90 * time.Second
	// vouchFor is how long a proof holds: as far as clocks of hubs may be apart.
	vouchFor = 2 * time.Minute
)

// The headers of a request that one hub passes on to another.
const (
	headerPeer = "Wildcat-Hub"
	headerTime = "Wildcat-Hub-Time"
	headerFor  = "Wildcat-Hub-For" // the name of the hub that it is meant for
)

var _ api.Peers = (*peers)(nil)

// shared says whether other hubs may use the database.
func (a *App) shared() bool { return a.instance != "" }

// lease is how long a dead hub's accounts are kept from others; 0 is what the account manager
// takes where there are none.
func (a *App) lease() time.Duration {
	if !a.shared() {
		return 0
	}
	return a.cfg.Cluster.Lease
}

// leased says whether an account may be acted for under an epoch.
func (a *App) leased(id string, epoch uint64) bool { return a.accounts.Leased(id, epoch) }

// tenure is what a.accounts.Tenure is where other hubs may hold accounts; else nil.
func (a *App) tenure() func(account string) uint64 {
	if !a.shared() {
		return nil
	}
	return func(id string) uint64 { return a.accounts.Tenure(id) }
}

// own takes charge of an account's events.
func (a *App) own(ctx context.Context, id string, epoch uint64) error {
	if a.shared() {
		// A webhook that was in force where the account comes from is in force here.
		if err := a.registry.Refresh(ctx); err != nil {
			return err
		}
	}
	return a.pipeline.Own(ctx, id, epoch)
}

func newPeers(ctx context.Context, a *App) (*peers, error) {
	p := &peers{
		store: a.store, accounts: a.accounts, parts: a.partitions, registry: a.registry, log: a.log, instance: a.instance,
		given: a.cfg.Cluster.Advertise, every: refreshEvery, ttl: addressTTL, quit: make(chan struct{}),
		client: &http.Transport{DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute, ResponseHeaderTimeout: answerTimeout},
	}
	fresh := make([]byte, 32)
	_, _ = rand.Read(fresh) // never fails
	err := a.store.SwapKV(ctx, peerNamespace, peerSecret, nil, fresh)
	if err != nil && !errors.Is(err, store.ErrStale) {
		return nil, fmt.Errorf("share a secret with other hubs: %w", err)
	}
	if p.secret, err = a.store.GetKV(ctx, peerNamespace, peerSecret); err != nil {
		return nil, fmt.Errorf("share a secret with other hubs: %w", err)
	}
	return p, nil
}

// start tells where this hub is reached, and begins to follow what others change.
func (p *peers) start(ctx context.Context, listens string) error {
	at, err := advertised(p.given, listens)
	if err != nil {
		return err
	}
	if err := p.tell(ctx, at); err != nil {
		return err
	}
	p.log.Info("shares the database with other hubs", "instance", p.instance, "address", at)
	following, leave := context.WithCancel(context.WithoutCancel(ctx))
	p.leave = leave
	p.done.Go(func() {
		tick := time.NewTicker(p.every)
		defer tick.Stop()
		for told := time.Now(); ; {
			select {
			case <-p.quit:
				return
			case <-tick.C:
			}
			ctx, cancel := context.WithTimeout(following, 5*refreshEvery)
			if err := p.registry.Refresh(ctx); err != nil && following.Err() == nil {
				p.log.Warn("webhooks of other hubs were not looked at", "err", err)
			}
			if now := time.Now(); now.Sub(told) >= p.ttl/3 {
				if err := p.tell(ctx, at); err != nil {
					p.log.Warn("address was not told again", "err", err)
				} else {
					told = now
				}
			}
			cancel()
		}
	})
	return nil
}

// tell writes the address of this hub. The database forgets it unless it is told again.
func (p *peers) tell(ctx context.Context, at string) error {
	if err := p.store.SetKV(ctx, peerNamespace, p.instance, []byte(at), p.ttl); err != nil {
		return fmt.Errorf("tell other hubs the address: %w", err)
	}
	return nil
}

// stop forgets the address. Safe twice, and without start.
func (p *peers) stop(ctx context.Context) {
	p.once.Do(func() {
		close(p.quit)
		if p.leave != nil {
			p.leave()
		}
		p.done.Wait()
		ctx, cancel := context.WithTimeout(ctx, withdrawTimeout) // the database forgets it by itself, too
		defer cancel()
		if err := p.store.SetKV(ctx, peerNamespace, p.instance, nil, 0); err != nil {
			p.log.Warn("address was not withdrawn", "err", err)
		}
		p.client.CloseIdleConnections()
	})
}

// advertised is the URL at which other hubs reach this one.
func advertised(given, listens string) (string, error) {
	if given != "" {
		return given, nil
	}
	u, err := url.Parse(listens)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", listens, err)
	}
	if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsUnspecified() { // nil: a name
		return listens, nil
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("find this machine's address, or set cluster.advertise: %w", err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			return "http://" + net.JoinHostPort(n.IP.String(), u.Port()), nil
		}
	}
	return "", errors.New("this machine has no address at which other hubs could reach it: set cluster.advertise")
}

// Peer implements api.Peers.
func (p *peers) Peer(ctx context.Context, id string) (api.Hub, error) {
	holder, err := p.accounts.Holder(ctx, id)
	if err != nil || holder == "" || holder == p.instance {
		return api.Hub{}, err
	}
	at, err := p.store.GetKV(ctx, peerNamespace, holder)
	if err != nil {
		return api.Hub{}, fmt.Errorf("address of hub %s: %w", holder, err)
	}
	return api.Hub{Instance: holder, URL: string(at)}, nil
}

// Here implements api.Peers.
func (p *peers) Here(id string) error {
	if p.accounts.Tenure(id) != 0 {
		return nil
	}
	if err := p.accounts.Outage(); err != nil {
		return err
	}
	return fmt.Errorf("account %s: %w", id, api.ErrMoving)
}

// Elsewhere implements api.Peers.
func (p *peers) Elsewhere(ctx context.Context, prefix string) (map[string]bool, error) {
	return p.accounts.Elsewhere(ctx, prefix)
}

// Hubs implements api.Peers.
func (p *peers) Hubs(ctx context.Context) ([]api.Hub, error) {
	held, err := p.accounts.Holdings(ctx)
	if err != nil {
		return nil, err
	}
	parts, err := p.parts.Holdings(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]api.Hub, 0, len(held))
	for instance, accounts := range held {
		at, err := p.store.GetKV(ctx, peerNamespace, instance)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, fmt.Errorf("address of hub %s: %w", instance, err)
		}
		slices.Sort(accounts)
		list = append(list, api.Hub{Instance: instance, URL: string(at), This: instance == p.instance, Accounts: accounts, Partitions: append([]int{}, parts[instance]...)})
	}
	slices.SortFunc(list, func(a, b api.Hub) int { return strings.Compare(a.Instance, b.Instance) })
	return list, nil
}

// Vouch implements api.Peers.
func (p *peers) Vouch(r *http.Request, instance string) {
	r.Header.Set(headerTime, strconv.FormatInt(time.Now().Unix(), 10))
	r.Header.Set(headerFor, instance)
	r.Header.Set(headerPeer, p.proof(r))
}

// Vouched implements api.Peers. A request that names another hub is refused without a proof,
// too: passed on once more it would come back.
func (p *peers) Vouched(r *http.Request) (bool, error) {
	seconds, err := strconv.ParseInt(r.Header.Get(headerTime), 10, 64)
	proven := err == nil && time.Since(time.Unix(seconds, 0)).Abs() <= vouchFor && hmac.Equal([]byte(r.Header.Get(headerPeer)), []byte(p.proof(r)))
	if meant := r.Header.Get(headerFor); meant != "" && meant != p.instance {
		if proven {
			p.stray(meant)
		}
		return false, api.ErrMisdirected
	}
	return proven, nil
}

// stray tells the operator, once for each hub.
func (p *peers) stray(instance string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.strayed[instance] {
		return
	}
	if p.strayed == nil {
		p.strayed = map[string]bool{}
	}
	p.strayed[instance] = true
	p.log.Error("requests for another hub arrive here: its cluster.advertise names this one", "hub", instance, "instance", p.instance)
}

// proof is what only a hub can know of a request.
func (p *peers) proof(r *http.Request) string {
	mac := hmac.New(sha256.New, p.secret)
	_, _ = fmt.Fprintf(mac, "%s\n%s\n%s\n%s", r.Method, r.URL.RequestURI(), r.Header.Get(headerTime), r.Header.Get(headerFor))
	return hex.EncodeToString(mac.Sum(nil))
}

// Transport implements api.Peers.
func (p *peers) Transport() http.RoundTripper { return p.client }
