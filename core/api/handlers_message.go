package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"regexp"
	"unicode/utf8"

	"github.com/gin-gonic/gin"

	"github.com/wildcathub/wildcat/core/config"
	"github.com/wildcathub/wildcat/core/send"
	"github.com/wildcathub/wildcat/core/store"
)

// sendPath is how the path ends at which texts are sent.
const sendPath = "/message/send"

// maxText is the longest text, in characters.
const maxText = 65_536

var idempotencyKey = regexp.MustCompile(`^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$`)

// sendText checks in the order of the contract: fields, address, length, mentions,
// account, connection.
func (s *Server) sendText(c *gin.Context) error {
	id, err := accountParam(c)
	if err != nil {
		return err
	}
	b, err := s.readBody(c)
	if err != nil {
		return err
	}
	r, err := textRequest(b)
	if err != nil {
		return err
	}
	r.Account = id
	if values, given := c.Request.Header["Idempotency-Key"]; given {
		if r.Key = values[0]; len(values) > 1 || !idempotencyKey.MatchString(r.Key) {
			return errIdempotencyKey
		}
	}
	a, err := s.account(c, errAccount)
	if err != nil {
		return err
	}
	if s.deps.Peers != nil {
		// What is stored of an account's state is of no use where the account is not.
		if err := s.deps.Peers.Here(id); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.SendTimeout)
	defer cancel()
	answer := gin.H{"ok": true}
	if r.QuoteID != "" {
		switch _, err := s.deps.Messages.Message(ctx, id, r.QuoteID); {
		case errors.Is(err, store.ErrNotFound):
			// The contract has no failure for it on this route: the text goes out
			// without its quote, and the answer says so.
			r.Unquoted, answer["quoted"] = true, false
		case err != nil:
			return err
		}
	}
	var res send.Result
	if status := oldStatus(a.State); status == "connected" {
		res, err = s.deps.Sender.Send(ctx, r)
	} else if res, err = s.earlier(ctx, r); errors.Is(err, store.ErrNotFound) {
		return errNotConnected.with("status", status).with("state", a.State).with("reason", a.Reason)
	}
	switch {
	case errors.Is(err, send.ErrPending) && r.Key != "":
		// Stored, and sent once WhatsApp takes it: the same key asks what became of it.
		answer["messageId"], answer["timestamp"], answer["pending"] = res.MessageID, nil, true
		c.PureJSON(http.StatusAccepted, answer)
		return nil
	case errors.Is(err, send.ErrPending), errors.Is(err, send.ErrUnknown):
		return errUncertain.with("messageId", res.MessageID)
	case err != nil:
		return err
	}
	answer["messageId"], answer["timestamp"] = res.MessageID, res.At.Unix()
	return ok(c, answer)
}

// earlier is what became of a request that came before with the same key. It may have been sent by
// now, or goes out later, so that it needs no connection: a client that is told that there is none
// would send it once more.
func (s *Server) earlier(ctx context.Context, r send.Request) (send.Result, error) {
	if r.Key == "" {
		return send.Result{}, store.ErrNotFound
	}
	return s.deps.Sender.Ask(ctx, r)
}

// textRequest reads and checks a text to send.
func textRequest(b body) (send.Request, error) {
	var r send.Request
	if !b.has("to") || !b.has("message") {
		return r, errToAndMessage
	}
	to, isText := b.text("to")
	address, isJID := parseJID(to)
	if !isText || !isJID {
		return r, errJID("to")
	}
	text, isText := b.text("message")
	if n := utf8.RuneCountInString(text); !isText || n < 1 || n > maxText {
		return r, errLength
	}
	mentions, isList := b.texts("mentions")
	if !isList || len(mentions) > 1024 {
		return r, errMentions
	}
	for i, m := range mentions {
		if mentions[i], isJID = parseJID(m); !isJID {
			return r, errMentions
		}
	}
	quoted, isText := b.text("quotedMessageId")
	if !isText || len(quoted) > 128 {
		return r, errQuotedID
	}
	return send.Request{To: address, Text: text, Mentions: mentions, QuoteID: quoted}, nil
}

func (s *Server) listMessages(c *gin.Context) error {
	limit, skip := page(c)
	account, among, none := asked(c, config.AccountID) // an id that is none can have no messages
	rows, total := []store.Message(nil), 0
	if !none {
		var err error
		rows, total, err = s.deps.Messages.ListMessages(c.Request.Context(), store.MessageQuery{Account: account, Accounts: among, Offset: skip, Limit: limit})
		if err != nil {
			return err
		}
	}
	messages := make([]legacyMessage, len(rows))
	for i, m := range rows {
		messages[i] = legacy(m)
		messages[i].ID = m.EventID
	}
	return ok(c, gin.H{"ok": true, "messages": messages, "pagination": gin.H{
		"skip": skip, "limit": limit, "total": total, "hasMore": skip+len(rows) < total,
	}})
}

func (s *Server) listChats(c *gin.Context) error {
	id, err := accountParam(c)
	if err != nil {
		return err
	}
	chats, err := s.deps.Messages.ListChats(c.Request.Context(), id)
	if err != nil {
		return err
	}
	views := make([]gin.H, len(chats))
	for i, chat := range chats {
		last := legacy(chat.Last)
		views[i] = gin.H{"chatId": chat.Chat, "messageCount": chat.Messages, "lastMessage": gin.H{
			"messageId": last.MessageID, "text": last.Text, "type": last.Type, "timestamp": last.Timestamp, "fromMe": last.FromMe,
		}}
	}
	return ok(c, gin.H{"ok": true, "chats": views})
}

func (s *Server) listChatMessages(c *gin.Context) error {
	id, err := accountParam(c)
	if err != nil {
		return err
	}
	limit, _ := page(c)
	q := store.MessageQuery{Account: id, Chat: c.Param("chatId"), Limit: limit, Offset: number(c, "offset", 0, 0, math.MaxInt32)}
	if chat, isJID := parseJID(q.Chat); isJID {
		q.Chat = chat
	}
	var valid [2]bool
	q.After, valid[0] = when(c, "after")
	q.Before, valid[1] = when(c, "before")
	if !valid[0] || !valid[1] {
		return errBounds
	}
	rows, total, err := s.deps.Messages.ListMessages(c.Request.Context(), q)
	if err != nil {
		return err
	}
	messages := make([]legacyMessage, len(rows))
	for i, m := range rows {
		messages[i] = legacy(m)
		messages[i].ID = m.EventID
	}
	return ok(c, gin.H{"ok": true, "messages": messages, "pagination": gin.H{
		"total": total, "limit": limit, "offset": q.Offset, "hasMore": q.Offset+len(rows) < total,
	}})
}

func (s *Server) getMessage(c *gin.Context) error {
	id, err := accountParam(c)
	if err != nil {
		return err
	}
	m, err := s.deps.Messages.Message(c.Request.Context(), id, c.Param("messageId"))
	if err != nil {
		return or(err, store.ErrNotFound, errMessage)
	}
	return ok(c, gin.H{"ok": true, "message": legacy(m)})
}
