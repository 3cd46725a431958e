package devices

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// sentWriter is a store that writes what a send leaves behind in one go: sessions by
// address, sender keys by group and user, and secrets.
type sentWriter interface {
	PutSent(ctx context.Context, sessions map[string][]byte, senderKeys map[[2]string][]byte, secrets []store.MessageSecretInsert) error
}

// restWait bounds the writing of what is left after a send that saved no sessions.
const restWait = 5 * time.Second

// PutMessageSecret implements store.MsgSecretStore. A message's secret is of use once
// somebody answers the message: that of a message on its way out is written with the
// sessions, before it leaves.
func (g *guard) PutMessageSecret(ctx context.Context, chat, sender types.JID, id types.MessageID, secret []byte) error {
	return g.d.call(ctx, "PutMessageSecret", func() error {
		send := sendOf(ctx)
		if _, ok := g.inner.(sentWriter); ok && send != nil && ctx.Err() == nil {
			send.came(func(s *Send) {
				s.secrets = append(s.secrets, store.MessageSecretInsert{Chat: chat, Sender: sender, ID: id, Secret: secret})
			})
			return nil
		}
		return g.inner.PutMessageSecret(ctx, chat, sender, id, secret)
	})
}

// takeSecrets hands over what is not written yet.
func (s *Send) takeSecrets() (out []store.MessageSecretInsert) {
	s.came(func(s *Send) { out, s.secrets = s.secrets, nil })
	return out
}

// putSecrets writes the secrets of a message for which no session was saved.
func (g *guard) putSecrets(ctx context.Context, secrets []store.MessageSecretInsert) error {
	if len(secrets) == 0 {
		return nil
	}
	return g.d.call(ctx, "PutMessageSecret", func() error { return g.inner.PutMessageSecrets(ctx, secrets) })
}

// putRest writes what is left when the send is over.
func (s *Send) putRest() {
	ctx, cancel := context.WithTimeout(context.Background(), restWait)
	defer cancel()
	// Both note their failure themselves.
	_ = s.d.g.putSecrets(ctx, s.takeSecrets())
	_ = s.d.g.putSteps(ctx, s)
}
