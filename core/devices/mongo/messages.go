package mongo

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// keepEvents is how long WhatsApp keeps what was not acknowledged, and so hands it over
// again.
const keepEvents = 14 * 24 * time.Hour

// GetBufferedEvent implements store.EventBuffer.
func (s *Stores) GetBufferedEvent(ctx context.Context, hash [32]byte) (*store.BufferedEvent, error) {
	rec, err := s.get(ctx, s.eventID(hash))
	if err != nil || rec == nil || rec.Expires != nil && !rec.Expires.After(s.c.now()) {
		return nil, err // the server deletes what has expired once a minute
	}
	return &store.BufferedEvent{
		Plaintext: rec.Value, ServerTime: time.Unix(rec.Number, 0), InsertTime: time.UnixMilli(rec.At),
	}, nil
}

// PutBufferedEvent implements store.EventBuffer. In a decryption it is the first of all
// writes: with the plaintext stored, the session may move on.
func (s *Stores) PutBufferedEvent(ctx context.Context, hash [32]byte, plaintext []byte, serverTime time.Time) error {
	now := s.c.now()
	expires := now.Add(keepEvents)
	return s.write(ctx, op{rec: record{
		ID: s.eventID(hash), Value: bytes.Clone(plaintext), Number: serverTime.Unix(), At: now.UnixMilli(), Expires: &expires,
	}, rank: first})
}

// ClearBufferedEventPlaintext implements store.EventBuffer.
func (s *Stores) ClearBufferedEventPlaintext(ctx context.Context, hash [32]byte) error {
	return s.write(ctx, op{rec: record{ID: s.eventID(hash)}, how: blank, rank: middle})
}

// DeleteOldBufferedHashes implements store.EventBuffer. The index does the same, on
// servers that have such indexes.
func (s *Stores) DeleteOldBufferedHashes(ctx context.Context) error {
	err := do(ctx, func(ctx context.Context) error {
		_, err := s.coll.DeleteMany(ctx, bson.D{{Key: "expires", Value: bson.D{{Key: "$lt", Value: s.c.now()}}}})
		return err
	})
	if err != nil {
		return fmt.Errorf("delete expired keys: %w", err)
	}
	return nil
}

func (s *Stores) secretID(chat, sender types.JID, id types.MessageID) string {
	return path(s.jid, "secret", chat.ToNonAD().String(), sender.ToNonAD().String(), id)
}

func (s *Stores) secrets(inserts []store.MessageSecretInsert) []op {
	ops := make([]op, len(inserts))
	for i, x := range inserts {
		ops[i] = op{rec: record{
			ID: s.secretID(x.Chat, x.Sender, x.ID), Value: bytes.Clone(x.Secret), Sender: x.Sender.ToNonAD().String(),
		}, how: keep, rank: middle}
	}
	return ops
}

// PutMessageSecrets implements store.MsgSecretStore. The first secret of a message stays.
func (s *Stores) PutMessageSecrets(ctx context.Context, inserts []store.MessageSecretInsert) error {
	return s.write(ctx, s.secrets(inserts)...)
}

// PutMessageSecret implements store.MsgSecretStore.
func (s *Stores) PutMessageSecret(ctx context.Context, chat, sender types.JID, id types.MessageID, secret []byte) error {
	return s.PutMessageSecrets(ctx, []store.MessageSecretInsert{{Chat: chat, Sender: sender, ID: id, Secret: secret}})
}

// PutSent stores what a send leaves behind in one command: the sessions that it used, its
// own sender keys by group and user, and its message's secrets.
func (s *Stores) PutSent(
	ctx context.Context, sessions map[string][]byte, senderKeys map[[2]string][]byte, secrets []store.MessageSecretInsert,
) error {
	var ops []op
	for name, key := range senderKeys {
		ops = append(ops, s.senderKey(name[0], name[1], key))
	}
	for address, session := range sessions {
		ops = append(ops, s.session(address, session))
	}
	return s.write(ctx, append(ops, s.secrets(secrets)...)...)
}

// GetMessageSecret implements store.MsgSecretStore. Chat and sender are known by phone
// number or by LID.
func (s *Stores) GetMessageSecret(ctx context.Context, chat, sender types.JID, id types.MessageID) ([]byte, types.JID, error) {
	chats, err := s.c.lids.both(ctx, chat.ToNonAD())
	if err != nil {
		return nil, types.EmptyJID, err
	}
	senders, err := s.c.lids.both(ctx, sender.ToNonAD())
	if err != nil {
		return nil, types.EmptyJID, err
	}
	var ids []string
	for _, c := range chats {
		for _, from := range senders {
			ids = append(ids, s.secretID(c, from, id))
		}
	}
	found, err := s.getMany(ctx, ids)
	if err != nil {
		return nil, types.EmptyJID, err
	}
	for _, id := range ids { // as it was asked for comes first
		if rec := found[id]; rec != nil {
			from, err := types.ParseJID(rec.Sender)
			return value(rec), from, err
		}
	}
	return nil, types.EmptyJID, nil
}

func (s *Stores) tokenID(user types.JID) string {
	return path(s.jid, "token", user.ToNonAD().String())
}

// PutPrivacyTokens implements store.PrivacyTokenStore.
func (s *Stores) PutPrivacyTokens(ctx context.Context, tokens ...store.PrivacyToken) error {
	ops := make([]op, len(tokens))
	for i, t := range tokens {
		ops[i] = op{rec: record{ID: s.tokenID(t.User), Value: bytes.Clone(t.Token), Number: t.Timestamp.Unix()}, rank: middle}
	}
	return s.write(ctx, ops...)
}

// GetPrivacyToken implements store.PrivacyTokenStore: the latest of those by phone
// number and by LID.
func (s *Stores) GetPrivacyToken(ctx context.Context, user types.JID) (*store.PrivacyToken, error) {
	users, err := s.c.lids.both(ctx, user.ToNonAD())
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(users))
	for i, u := range users {
		ids[i] = s.tokenID(u)
	}
	found, err := s.getMany(ctx, ids)
	if err != nil {
		return nil, err
	}
	var out *store.PrivacyToken
	for _, id := range ids {
		if rec := found[id]; rec != nil && (out == nil || rec.Number > out.Timestamp.Unix()) {
			out = &store.PrivacyToken{User: user.ToNonAD(), Token: value(rec), Timestamp: time.Unix(rec.Number, 0)}
		}
	}
	return out, nil
}
