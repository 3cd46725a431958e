package mongotest

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// opMsg is the one kind of message that carries commands.
const opMsg = 2013

// keep notes a connection, so that it can be cut; false if it is to end at once.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[c] = true
	return !p.down
}

func (p *Proxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listen.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() {
			defer p.drop(client)
			if p.keep(client) {
				p.serve(client)
			}
		})
	}
}

// serve passes on one command and its answer at a time.
func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.server) //nolint:noctx // cut by Down
	if err != nil {
		return
	}
	defer p.drop(server)
	if !p.keep(server) {
		return
	}
	for {
		request, err := readMessage(client)
		if err != nil {
			return
		}
		command := commandOf(request)
		answer := p.refusal(command, request)
		if answer == nil {
			if _, err := server.Write(request); err != nil {
				return
			}
			if answer, err = readMessage(server); err != nil || p.isCut(command) {
				return
			}
		}
		p.wait()
		if _, err := client.Write(answer); err != nil {
			return
		}
	}
}

// wait holds an answer back as long as it is to be.
func (p *Proxy) wait() {
	p.mu.Lock()
	delay, stalled := p.delay, p.stalled
	p.mu.Unlock()
	if delay > 0 {
		time.Sleep(delay) // the slowness is what is asked for
	}
	if stalled != nil {
		<-stalled
	}
}

func (p *Proxy) isCut(command string) bool {
	if !slices.Contains(Writes(), command) {
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

// refusal is the answer to a command that is refused; nil for one that is not.
func (p *Proxy) refusal(command string, request []byte) []byte {
	p.mu.Lock()
	code, refused := p.refused[command]
	p.mu.Unlock()
	if !refused {
		return nil
	}
	name := map[int]string{NotWritablePrimary: "NotWritablePrimary", OutOfDiskSpace: "OutOfDiskSpace"}[code]
	body, err := bson.Marshal(bson.D{
		{Key: "ok", Value: 0.0},
		{Key: "code", Value: int32(code)}, //nolint:gosec // the server's own codes are small
		{Key: "codeName", Value: name},
		{Key: "errmsg", Value: "by the proxy: " + name},
	})
	if err != nil {
		panic(err) // a document of four plain fields
	}
	out := make([]byte, 21, 21+len(body))
	binary.LittleEndian.PutUint32(out, uint32(21+len(body))) //nolint:gosec // small
	copy(out[8:], request[4:8])                              // what it answers
	binary.LittleEndian.PutUint32(out[12:], opMsg)
	return append(out, body...)
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
