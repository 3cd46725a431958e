package simulator

import (
	"errors"
	"fmt"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// stanzaHandler handles one stanza of a logged-in client. An error ends the
// connection: it means that the state cannot be written, or the client is broken.
type stanzaHandler func(c *conn, node *waBinary.Node) error

// iqHandler answers a query: the children of the result, or an error. An
// [iqError] becomes an error answer; any other ends the connection.
type iqHandler func(c *conn, iq *waBinary.Node) ([]waBinary.Node, error)

// iqError is a query's refusal.
type iqError struct {
	code int
	text string
}

var (
	errBadRequest     = &iqError{400, "bad-request"}
	errNotFound       = &iqError{404, "item-not-found"}
	errNotAcceptable  = &iqError{406, "not-acceptable"}
	errNotImplemented = &iqError{501, "feature-not-implemented"}
)

func (e *iqError) Error() string { return fmt.Sprintf("%d %s", e.code, e.text) }

// Code is what WhatsApp would answer, an HTTP status.
func (e *iqError) Code() int { return e.code }

func (e *iqError) node() waBinary.Node {
	return waBinary.Node{Tag: "error", Attrs: waBinary.Attrs{"code": strconv.Itoa(e.code), "text": e.text}}
}

// stanzaTable is where a kind of stanza is added.
func (s *Server) stanzaTable() map[string]stanzaHandler {
	return map[string]stanzaHandler{
		"iq":        s.handleIQ,
		"message":   s.handleMessage,
		"receipt":   s.handleReceipt,
		"ack":       s.handleAck,
		"presence":  s.handlePresence,
		"chatstate": s.handleChatState,
		"call":      s.handleCall,
		"ib":        func(*conn, *waBinary.Node) error { return nil },
	}
}

// iqTable is where a namespace of queries is added.
func (s *Server) iqTable() map[string]iqHandler {
	return map[string]iqHandler{
		"encrypt":                   s.handleEncrypt,
		"usync":                     s.handleUsync,
		"md":                        s.handleMultiDevice,
		linkCodeTag:                 s.handleLinkCode,
		"passive":                   s.handlePassive,
		"w:p":                       empty,
		"privacy":                   s.handlePrivacy,
		"w:sync:app:state":          s.handleAppState,
		"blocklist":                 s.handleBlocklist,
		"disappearing_mode":         s.handleDefaultTimer,
		"status":                    s.handleStatus,
		"urn:xmpp:whatsapp:push":    empty,
		"urn:xmpp:whatsapp:dirty":   empty,
		"urn:xmpp:whatsapp:account": empty,
		"w:stats":                   empty,
		"w:profile:picture":         s.handlePicture,
		"w:biz":                     s.handleBusiness,
		"w:qr":                      s.handleLinks,
		"w:g2":                      s.handleGroups,
		"w:mex":                     s.handleMex,
		"newsletter":                s.handleNewsletter,
		"tos":                       empty,
		"w:m":                       s.handleMedia,
	}
}

// dispatch hands a stanza to its handler. Before login only the answer to pairing counts.
func (s *Server) dispatch(c *conn, node *waBinary.Node) error {
	s.stats.received.Add(1)
	if c.dev == nil {
		return s.handleUnpaired(c, node)
	}
	handle := s.stanzas[node.Tag]
	if handle == nil {
		s.log.Debug("stanza without handler", "tag", node.Tag)
		return nil
	}
	return handle(c, node)
}

func (s *Server) handleIQ(c *conn, iq *waBinary.Node) error {
	if t := iq.Attrs["type"]; t != "get" && t != "set" {
		return nil // the answer to a query of ours
	}
	xmlns, _ := iq.Attrs["xmlns"].(string)
	handle := s.iq[xmlns]
	if handle == nil {
		handle = refuse(errNotImplemented)
		s.log.Debug("query without handler", "xmlns", xmlns)
	}
	content, err := handle(c, iq)
	answer := waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"from": types.ServerJID, "type": "result", "id": iq.Attrs["id"]}}
	if to, ok := iq.Attrs["to"].(types.JID); ok {
		answer.Attrs["from"] = to
	}
	var refused *iqError
	switch {
	case errors.As(err, &refused):
		answer.Attrs["type"] = "error"
		answer.Content = []waBinary.Node{refused.node()}
	case err != nil:
		return fmt.Errorf("query %s: %w", xmlns, err)
	case content != nil:
		answer.Content = content
	}
	c.push(answer)
	if after := c.afterAnswer; after != nil {
		c.afterAnswer = nil
		after()
	}
	return nil
}

func empty(*conn, *waBinary.Node) ([]waBinary.Node, error) { return nil, nil }

func refuse(err *iqError) iqHandler {
	return func(*conn, *waBinary.Node) ([]waBinary.Node, error) { return nil, err }
}

func hasChild(n *waBinary.Node, tag string) bool {
	_, ok := n.GetOptionalChildByTag(tag)
	return ok
}

func text(n *waBinary.Node, attr string) string {
	v, _ := n.Attrs[attr].(string)
	return v
}
