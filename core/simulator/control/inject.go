package control

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

type injection struct {
	XML    string `json:"xml" doc:"one stanza; an attribute with an @ in it is a JID"`
	Queued bool   `json:"queued,omitempty" doc:"into the device's queue, to be sent until it is acknowledged; it needs an id then"`
}

// inject sends a device's client any stanza.
func (a *api) inject(r *http.Request, in injection) (none, error) {
	d, err := a.device(r)
	if err != nil {
		return none{}, err
	}
	node, err := parseStanza(in.XML)
	if err != nil {
		return none{}, badRequest("bad_stanza", "xml: "+err.Error())
	}
	if !in.Queued {
		return none{}, d.Inject(node)
	}
	if err = d.InjectQueued(node); err != nil {
		err = badRequest("bad_stanza", err.Error())
	}
	return none{}, err
}

// depthLimit is how deep a stanza may be nested; those of WhatsApp are below ten.
const depthLimit = 64

// parseStanza reads one element with what is in it; text that is not only space is content.
func parseStanza(text string) (waBinary.Node, error) {
	dec := xml.NewDecoder(strings.NewReader(text))
	var stack []*waBinary.Node
	var done *waBinary.Node
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return waBinary.Node{}, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if done != nil {
				return waBinary.Node{}, errors.New("more than one stanza")
			}
			node, err := startOf(t)
			if err != nil {
				return waBinary.Node{}, err
			}
			if stack = append(stack, node); len(stack) > depthLimit {
				return waBinary.Node{}, fmt.Errorf("nested deeper than %d", depthLimit)
			}
		case xml.EndElement:
			node := stack[len(stack)-1]
			if stack = stack[:len(stack)-1]; len(stack) == 0 {
				done = node
				continue
			}
			parent := stack[len(stack)-1]
			children, _ := parent.Content.([]waBinary.Node)
			parent.Content = append(children, *node)
		case xml.CharData:
			if content := strings.TrimSpace(string(t)); content != "" && len(stack) > 0 {
				stack[len(stack)-1].Content = []byte(content)
			}
		}
	}
	if done == nil {
		return waBinary.Node{}, errors.New("no stanza")
	}
	return *done, nil
}

func startOf(t xml.StartElement) (*waBinary.Node, error) {
	node := &waBinary.Node{Tag: tagOf(t.Name), Attrs: waBinary.Attrs{}}
	for _, attr := range t.Attr {
		name := tagOf(attr.Name)
		node.Attrs[name] = attr.Value
		if !strings.Contains(attr.Value, "@") {
			continue
		}
		jid, err := types.ParseJID(attr.Value)
		if err != nil {
			return nil, fmt.Errorf("attribute %s: %w", name, err)
		}
		node.Attrs[name] = jid
	}
	return node, nil
}

// tagOf undoes what the reader makes of a prefix, as in stream:error.
func tagOf(name xml.Name) string {
	if name.Space == "" {
		return name.Local
	}
	return name.Space + ":" + name.Local
}
