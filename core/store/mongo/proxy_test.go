package mongo

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// proxy stands between the engine and the server, and breaks connections.
type proxy struct {
	uri    string
	server string
	listen net.Listener

	mu    sync.Mutex
	conns map[net.Conn]bool
	down  bool
	// cutAt counts write commands down to the one after which the connection is cut; 0 is off.
	cutAt int
	wg    sync.WaitGroup
}

func startProxy(t *testing.T, uri string) *proxy {
	t.Helper()
	opts := options.Client().ApplyURI(uri)
	require.NoError(t, opts.Validate())
	if len(opts.Hosts) != 1 || strings.HasPrefix(uri, "mongodb+srv:") || opts.TLSConfig != nil {
		t.Skip("the proxy is for a server with one address and without TLS")
	}
	listen, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{server: opts.Hosts[0], listen: listen, conns: map[net.Conn]bool{}}
	p.uri = strings.Replace(uri, opts.Hosts[0], listen.Addr().String(), 1)
	query := "?"
	if strings.Contains(uri, "?") {
		query = "&"
	} else if strings.Count(uri, "/") < 3 {
		query = "/?"
	}
	// Direct, for else the driver would learn the server's own address and go past us.
	p.uri += query + "directConnection=true&serverSelectionTimeoutMS=1000&connectTimeoutMS=1000"
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = listen.Close()
		p.set(true)
		p.wg.Wait()
	})
	return p
}

// set takes the server away, or gives it back.
func (p *proxy) set(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	if down {
		for c := range p.conns {
			_ = c.Close()
		}
	}
}

// cut arms the proxy: the n-th write command from now on reaches the server and is
// applied, and the connection is cut before the answer.
func (p *proxy) cut(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutAt = n
}

// armed tells that the cut is still to come.
func (p *proxy) armed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cutAt > 0
}

func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return !p.down
}

func (p *proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() {
			defer client.Close()
			if p.keep(client) {
				p.serve(client)
			}
		})
	}
}

// serve passes on one message and its answer at a time.
func (p *proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.keep(server) {
		return
	}
	for {
		request, err := readMessage(client)
		if err != nil {
			return
		}
		if _, err := server.Write(request); err != nil {
			return
		}
		answer, err := readMessage(server)
		if err != nil || p.isCut(request) {
			return
		}
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

func (p *proxy) isCut(request []byte) bool {
	if !slices.Contains([]string{"insert", "update", "delete", "findAndModify"}, commandOf(request)) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cutAt == 0 {
		return false
	}
	p.cutAt--
	return p.cutAt == 0
}

func readMessage(r io.Reader) ([]byte, error) {
	head := make([]byte, 16)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	message := make([]byte, binary.LittleEndian.Uint32(head))
	copy(message, head)
	_, err := io.ReadFull(r, message[16:])
	return message, err
}

// commandOf names the command of an OP_MSG; "" for anything else.
func commandOf(message []byte) string {
	const opMsg = 2013
	if binary.LittleEndian.Uint32(message[12:]) != opMsg {
		return ""
	}
	for at := 20; at < len(message); {
		size := int(binary.LittleEndian.Uint32(message[at+1:]))
		if message[at] == 0 {
			first, err := bson.Raw(message[at+1 : at+1+size]).IndexErr(0)
			if err != nil {
				return ""
			}
			return first.Key()
		}
		at += 1 + size
	}
	return ""
}
