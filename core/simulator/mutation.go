package simulator

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// mutations is where a named change of a stanza is added. Each gets a deep copy.
func mutations() map[string]func(*waBinary.Node) {
	return map[string]func(*waBinary.Node){
		// Every ciphertext fails its check: what the receiver asks for again.
		"corrupt-ciphertext": func(n *waBinary.Node) { eachEnc(n, corruptCipher) },
		// Every ciphertext is cut in half.
		"truncate-ciphertext": func(n *waBinary.Node) {
			eachEnc(n, func(enc *waBinary.Node) {
				raw, _ := enc.Content.([]byte)
				enc.Content = raw[:len(raw)/2]
			})
		},
		// The message has no ciphertext.
		"remove-ciphertext": func(n *waBinary.Node) { removeChild(n, "enc") },
		// A first message comes without the proof that the sender's phone linked it.
		"remove-device-identity": func(n *waBinary.Node) { removeChild(n, "device-identity") },
		// The stanza has another id.
		"other-id": func(n *waBinary.Node) {
			if id := text(n, "id"); id != "" {
				n.Attrs["id"] = id + "X"
			}
		},
		// The stanza has no content.
		"empty": func(n *waBinary.Node) { n.Content = nil },
	}
}

// Mutations lists the names of changes that [FaultMutate] can make, in alphabetical order.
func Mutations() []string { return slices.Sorted(maps.Keys(mutations())) }

// spoiledKey names a message of a client whose ciphertext was changed on its way: what it
// repeats, unchanged, is not the sender's fault.
type spoiledKey struct {
	from *Device
	id   string
}

func (b *faultBook) mutate(r *FaultRule, c *conn, dir Direction, v *verdict) {
	node := cloneNode(&v.node)
	if r.fault.Mutate != nil {
		r.fault.Mutate(&node)
	} else {
		mutations()[r.fault.Mutation](&node)
	}
	if err := checkNode(&node); err != nil {
		c.s.log.Error("a mutated stanza cannot be sent, it stays as it was", "err", err)
		return
	}
	if dir == In && node.Tag == "message" {
		b.mu.Lock()
		if b.spoiled == nil || len(b.spoiled) >= seenKept {
			b.spoiled = map[spoiledKey]bool{}
		}
		b.spoiled[spoiledKey{c.dev, text(&node, "id")}] = true
		b.mu.Unlock()
		b.spoils.Store(true)
	}
	v.node = node
	v.did(r)
}

// wasSpoiled says whether a rule changed this message of a client.
func (b *faultBook) wasSpoiled(from *Device, id string) bool {
	if !b.spoils.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.spoiled[spoiledKey{from, id}]
}

func eachEnc(n *waBinary.Node, change func(*waBinary.Node)) {
	children, _ := n.Content.([]waBinary.Node)
	for i := range children {
		if children[i].Tag == "enc" {
			change(&children[i])
		}
		eachEnc(&children[i], change)
	}
}

// corruptCipher changes the last byte of the check of a Signal message, which for a
// prekey message is in its fourth field.
func corruptCipher(enc *waBinary.Node) {
	raw, _ := enc.Content.([]byte)
	if len(raw) < 2 {
		return
	}
	target := raw
	if text(enc, "type") == "pkmsg" {
		for fields := raw[1:]; len(fields) > 0; {
			number, kind, n := protowire.ConsumeTag(fields)
			size := protowire.ConsumeFieldValue(number, kind, fields[max(n, 0):])
			if n < 0 || size <= 0 {
				break
			}
			if number == 4 {
				target = fields[n : n+size]
			}
			fields = fields[n+size:]
		}
	}
	target[len(target)-1] ^= 1
}

func removeChild(n *waBinary.Node, tag string) {
	children, ok := n.Content.([]waBinary.Node)
	if !ok {
		return
	}
	children = slices.DeleteFunc(children, func(c waBinary.Node) bool { return c.Tag == tag })
	for i := range children {
		removeChild(&children[i], tag)
	}
	n.Content = children
}

// cloneNode copies a stanza with everything in it.
func cloneNode(n *waBinary.Node) waBinary.Node {
	out := waBinary.Node{Tag: n.Tag, Attrs: maps.Clone(n.Attrs), Content: n.Content}
	switch content := n.Content.(type) {
	case []waBinary.Node:
		children := make([]waBinary.Node, len(content))
		for i := range content {
			children[i] = cloneNode(&content[i])
		}
		out.Content = children
	case []byte:
		out.Content = slices.Clone(content)
	}
	return out
}

// checkNode says whether a stanza of someone else's making can be written at all:
// whatsmeow's encoder panics over a type that the wire does not know.
func checkNode(n *waBinary.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("encode stanza: %v", r)
		}
	}()
	if n.Tag == "" {
		return fmt.Errorf("encode stanza: it has no tag")
	}
	_, err = waBinary.Marshal(*n)
	return err
}

// Node is a stanza, or an element in one: whatsmeow's own type, so that tests need not import it.
type Node = waBinary.Node
