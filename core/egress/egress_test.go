package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newGuard(t *testing.T, cfg Config) *Guard {
	t.Helper()
	g, err := New(cfg)
	require.NoError(t, err)
	return g
}

func TestWhatMayBeReached(t *testing.T) {
	closed := newGuard(t, Config{})
	open := newGuard(t, Config{
		AllowCIDRs: []string{"10.0.0.0/8", "fd00::/8", "0.0.0.0/0", "::/0"}, AllowLoopback: true,
		Deny: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:3000"), netip.MustParseAddrPort("0.0.0.0:27017")},
	})
	for _, c := range []struct {
		addr         string
		closed, open bool // allowed
	}{
		{"93.184.216.34:443", true, true},
		{"93.184.216.34:22", true, true},
		{"[2606:2800:220:1:248:1893:25c8:1946]:443", true, true},
		{"[::ffff:93.184.216.34]:80", true, true},
		{"10.1.2.3:80", false, true},
		{"192.168.1.1:80", false, true},
		{"172.16.0.1:80", false, true},
		{"100.64.0.1:80", false, true},
		{"[::ffff:10.1.2.3]:80", false, true},
		{"[fd12::1]:80", false, true},
		{"127.0.0.1:8080", false, true},
		{"127.9.9.9:8080", false, true},
		{"[::1]:8080", false, true},
		{"[::ffff:127.0.0.1]:8080", false, true},
		{"[64:ff9b::7f00:1]:8080", false, true},
		// Nothing opens these.
		{"127.0.0.1:3000", false, false},
		{"[::1]:3000", false, false},
		{"127.0.0.2:3000", false, false},
		{"[::ffff:127.0.0.1]:3000", false, false},
		{"127.0.0.1:27017", false, false},
		{"0.0.0.0:80", false, false},
		{"0.1.2.3:80", false, false},
		{"[::]:80", false, false},
		{"169.254.169.254:80", false, false},
		{"[::ffff:169.254.169.254]:80", false, false},
		{"[64:ff9b::a9fe:a9fe]:80", false, false},
		{"[2002:a9fe:a9fe::1]:80", false, false},
		{"[::a9fe:a9fe]:80", false, false},
		{"[fe80::1]:80", false, false},
		{"[fe80::1%eth0]:80", false, false},
		{"[fd00:ec2::254]:80", false, false},
		{"100.100.100.200:80", false, false},
		{"224.0.0.1:80", false, false},
		{"255.255.255.255:80", false, false},
		{"[ff02::1]:80", false, false},
	} {
		ap := netip.MustParseAddrPort(c.addr)
		for name, g := range map[string]*Guard{"closed": closed, "open": open} {
			want := c.closed
			if name == "open" {
				want = c.open
			}
			err := g.Check(ap)
			if want {
				require.NoError(t, err, "%s %s", name, c.addr)
			} else {
				require.ErrorIs(t, err, ErrBlocked, "%s %s", name, c.addr)
			}
		}
	}
}

func TestOwnSocketIsDeniedUnderEveryAddressOfTheMachine(t *testing.T) {
	g, err := NewWith(Config{AllowCIDRs: []string{"10.0.0.0/8"}, Deny: []netip.AddrPort{netip.MustParseAddrPort("[::]:3000")}}, Deps{
		Local: func() ([]net.Addr, error) {
			return []net.Addr{&net.IPNet{IP: net.ParseIP("10.0.0.5"), Mask: net.CIDRMask(8, 32)}}, nil
		},
	})
	require.NoError(t, err)
	require.ErrorIs(t, g.Check(netip.MustParseAddrPort("10.0.0.5:3000")), ErrBlocked)
	require.NoError(t, g.Check(netip.MustParseAddrPort("10.0.0.6:3000")))
	require.NoError(t, g.Check(netip.MustParseAddrPort("10.0.0.5:3001")))
	g.Deny(netip.MustParseAddrPort("10.0.0.5:3001"))
	require.ErrorIs(t, g.Check(netip.MustParseAddrPort("10.0.0.5:3001")), ErrBlocked)
}

func TestMalformedNetworksAreAllReported(t *testing.T) {
	_, err := New(Config{AllowCIDRs: []string{"10.0.0.0/8", "nonsense", "10.0.0.0/99"}})
	require.ErrorContains(t, err, "nonsense")
	require.ErrorContains(t, err, "10.0.0.0/99")
}

func TestBlockedRequestNeverConnects(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	defer srv.Close()
	reg := prometheus.NewRegistry()
	g, err := NewWith(Config{}, Deps{Registerer: reg})
	require.NoError(t, err)
	_, err = g.Client(time.Second).Get(srv.URL)
	require.ErrorIs(t, err, ErrBlocked)
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Len(t, families, 1)
	require.Equal(t, "wildcat_ssrf_blocked_total", families[0].GetName())
	require.InDelta(t, 1, families[0].GetMetric()[0].GetCounter().GetValue(), 0)
}

// A name server that first says one thing and then another.
func TestRebindingGainsNothing(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	defer srv.Close()
	dns, asked := nameServer(t, netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("127.0.0.1"))
	g, err := NewWith(Config{}, Deps{Resolver: dns})
	require.NoError(t, err)
	require.NoError(t, g.CheckHost(t.Context(), "rebind.test", 80), "the first answer is public")
	port := srv.Listener.Addr().(*net.TCPAddr).AddrPort().Port()
	url := "http://rebind.test:" + netip.AddrPortFrom(netip.IPv4Unspecified(), port).String()[len("0.0.0.0:"):]
	_, err = g.Client(2 * time.Second).Get(url)
	require.ErrorIs(t, err, ErrBlocked, "the second one is checked where it is used")
	require.Greater(t, asked(), 1)
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	hits := 0
	var srv *httptest.Server
	srv = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits++
		http.Redirect(w, r, srv.URL+"/again", http.StatusFound)
	}))
	defer srv.Close()
	c := newGuard(t, Config{AllowLoopback: true}).Client(time.Second)
	defer c.CloseIdleConnections()
	resp, err := c.Post(srv.URL, "text/plain", strings.NewReader("x"))
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusFound, resp.StatusCode)
	require.Equal(t, 1, hits)
}

func TestLimitsOfAConnection(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	tr := newGuard(t, Config{}).Transport()
	require.Nil(t, tr.Proxy)
	require.True(t, tr.DisableCompression)
	require.GreaterOrEqual(t, tr.MaxIdleConnsPerHost, 16)
	require.EqualValues(t, 64<<10, tr.MaxResponseHeaderBytes)
	require.Greater(t, tr.ResponseHeaderTimeout, 60*time.Second, "a webhook's own timeout may be as long")
	require.EqualValues(t, tls.VersionTLS12, tr.TLSClientConfig.MinVersion)
	require.False(t, tr.TLSClientConfig.InsecureSkipVerify)

	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Big", strings.Repeat("x", 9<<20))
	}))
	defer srv.Close()
	c := newGuard(t, Config{AllowLoopback: true}).Client(5 * time.Second)
	defer c.CloseIdleConnections()
	resp, err := c.Get(srv.URL)
	if err == nil {
		_ = resp.Body.Close()
	}
	require.Error(t, err, "a header of 9 MiB")
}

func TestUntrustedCertificateIsRefused(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	srv.Config.ErrorLog = nil
	defer srv.Close()
	resp, err := newGuard(t, Config{AllowLoopback: true}).Client(time.Second).Get(srv.URL)
	if err == nil {
		_ = resp.Body.Close()
	}
	var cert *tls.CertificateVerificationError
	require.True(t, errors.As(err, &cert), "%v", err)
}

// nameServer answers A queries with the given addresses, one after the other, the
// last one for ever.
func nameServer(t *testing.T, addrs ...netip.Addr) (*net.Resolver, func() int) {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan int, 1)
	go func() {
		n := 0
		buf := make([]byte, 512)
		for {
			size, from, err := pc.ReadFrom(buf)
			if err != nil {
				done <- n
				return
			}
			q := buf[:size]
			end := 12
			for end < size && q[end] != 0 {
				end += int(q[end]) + 1
			}
			end += 5 // the zero, type, class
			isA := q[end-4] == 0 && q[end-3] == 1
			resp := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
			if isA {
				resp[7] = 1
				a := addrs[min(n, len(addrs)-1)].As4()
				n++
				resp = append(resp, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
				resp = append(resp, a[:]...)
			}
			_, _ = pc.WriteTo(resp, from)
		}
	}()
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
	var total int
	var closed bool
	stop := func() int {
		if !closed {
			closed = true
			_ = pc.Close()
			total = <-done
		}
		return total
	}
	t.Cleanup(func() { stop() })
	return r, stop
}
