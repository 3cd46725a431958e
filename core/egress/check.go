package egress

import (
	"fmt"
	"net"
	"net/netip"
)

// always are networks that no configuration opens.
func always() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("169.254.0.0/16"), // link-local, and the metadata services of most clouds
		netip.MustParsePrefix("224.0.0.0/4"),
		netip.MustParsePrefix("240.0.0.0/4"), // reserved, and broadcast
		netip.MustParsePrefix("::/128"),
		netip.MustParsePrefix("fe80::/10"),
		netip.MustParsePrefix("ff00::/8"),
	}
}

// metadata are services that tell a machine its secrets, at addresses that are not link-local.
func metadata() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("100.100.100.200"), // Alibaba
		netip.MustParseAddr("192.0.0.192"),     // Oracle
		netip.MustParseAddr("168.63.129.16"),   // Azure
		netip.MustParseAddr("fd00:ec2::254"),   // AWS
		netip.MustParseAddr("fd20:ce::254"),    // Google
	}
}

// Check reports, as an error wrapping ErrBlocked, why an address may not be dialled.
func (g *Guard) Check(ap netip.AddrPort) error {
	addr := ap.Addr().Unmap().WithZone("")
	if v4, ok := embedded(addr); ok {
		// What a translator would unwrap is judged by what is inside, too.
		if err := g.Check(netip.AddrPortFrom(v4, ap.Port())); err != nil {
			return err
		}
	}
	for _, p := range always() {
		if p.Contains(addr) {
			return fmt.Errorf("%w: %s is in %s", ErrBlocked, addr, p)
		}
	}
	for _, a := range metadata() {
		if a == addr {
			return fmt.Errorf("%w: %s is a metadata service", ErrBlocked, addr)
		}
	}
	if err := g.denied(addr, ap.Port()); err != nil {
		return err
	}
	if addr.IsLoopback() && g.loopback {
		return nil
	}
	for _, p := range g.allowed {
		if p.Contains(addr) {
			return nil
		}
	}
	if err := g.public.SafeAddr(addr); err != nil {
		return fmt.Errorf("%w: %w", ErrBlocked, err)
	}
	return nil
}

// denied refuses our own and the database's sockets, under every address they have.
func (g *Guard) denied(addr netip.Addr, port uint16) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, d := range g.deny {
		if d.Port() != port {
			continue
		}
		own := d.Addr().Unmap().WithZone("")
		if own == addr || (own.IsLoopback() && addr.IsLoopback()) || (own.IsUnspecified() && g.isLocal(addr)) {
			return fmt.Errorf("%w: %s is a socket of this hub", ErrBlocked, netip.AddrPortFrom(addr, port))
		}
	}
	return nil
}

// isLocal reports whether addr is this machine. If that cannot be told, it is.
func (g *Guard) isLocal(addr netip.Addr) bool {
	if addr.IsLoopback() {
		return true
	}
	addrs, err := g.local()
	if err != nil {
		return true
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr {
				return true
			}
		}
	}
	return false
}

// embedded returns the IPv4 address within an IPv4-compatible, NAT64 or 6to4 address.
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a),
		netip.MustParsePrefix("::/96").Contains(a) && !a.IsLoopback() && !a.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}
