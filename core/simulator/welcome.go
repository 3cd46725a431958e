package simulator

import (
	"context"
	"fmt"
	"strconv"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waLidMigrationSyncPayload"
)

// welcomeLater lets the phone send a companion that is ready for the first time what a
// new one needs. Only then has it uploaded the prekeys that the phone's session begins with.
func (s *Server) welcomeLater(d *Device) {
	if s.opts.NoWelcome || d.welcome.Load() {
		return
	}
	s.spawn(func() {
		if err := d.acct.phone.welcome(d); err != nil {
			s.log.Error("welcome companion", "account", d.acct.number, "device", d.id, "err", err)
		}
	})
}

// welcome sends the keys of the app state and, unless the server's options say otherwise,
// what the phone received and sent so far. That it did becomes durable together with it.
func (p *Phone) welcome(d *Device) error {
	keys, err := p.acct.state.ready()
	if err != nil {
		return fmt.Errorf("prepare app state: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.welcome.Load() {
		return nil
	}
	messages := []*waE2E.ProtocolMessage{keys}
	if !p.acct.s.opts.NoHistory {
		history, err := p.initialHistory()
		if err != nil {
			return err
		}
		messages = append(messages, history...)
	}
	o := p.acct.s.outgoing(p.begin())
	for _, m := range messages {
		if _, err = p.addPeer(o, d, m); err != nil {
			return err
		}
	}
	o.b.put(d.key("w"), nil)
	if err = o.commit(); err != nil {
		return err
	}
	d.welcome.Store(true)
	return nil
}

func (s *Server) loadWelcome(parts []string, _ []byte) error {
	d, err := s.ownerOf(parts)
	if err == nil && d != nil {
		d.welcome.Store(true)
	}
	return err
}

// ready makes the first version of everything and returns the message with all keys.
func (st *appState) ready() (*waE2E.ProtocolMessage, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.prepared(); err != nil {
		return nil, err
	}
	return st.share(), nil
}

// sendPeers sends all companions a peer message.
func (p *Phone) sendPeers(message *waE2E.ProtocolMessage) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.acct.s.outgoing(p.begin())
	for _, d := range p.Companions() {
		if _, err := p.addPeer(o, d, message); err != nil {
			return err
		}
	}
	return o.commit()
}

// answerPeer sends a companion a peer message in return for one.
func (in *incoming) answerPeer(message *waE2E.ProtocolMessage) {
	if _, err := in.p.addPeer(in.o, in.sender, message); err != nil {
		in.p.acct.s.log.Error("answer companion", "account", in.p.acct.number, "device", in.sender.id, "err", err)
	}
}

// migrated says whether the account's chats go by hidden identifiers.
func (p *Phone) migrated() bool {
	p.acct.profile.mu.Lock()
	defer p.acct.profile.mu.Unlock()
	return p.acct.profile.rec.Migrated != 0
}

// MigrateToLID moves the number's chats from phone numbers to hidden identifiers, as
// WhatsApp did to everyone at some time: the phone writes under its own, and tells its companions
// who is who, upon which they do too (whatsmeow's message.go, storeLIDSyncMessage).
func (p *Phone) MigrateToLID(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	at := p.acct.s.now()
	if err := p.acct.change(func(rec *profileRecord, _ *outgoing) error {
		if rec.Migrated == 0 {
			rec.Migrated = at
		}
		at = rec.Migrated
		return nil
	}); err != nil {
		return err
	}
	payload := &waLidMigrationSyncPayload.LIDMigrationMappingSyncPayload{ChatDbMigrationTimestamp: proto.Uint64(uint64(at))}
	for _, a := range append(p.acct.friends(), p.acct) {
		number, err := strconv.ParseUint(a.number, 10, 64)
		if err != nil {
			return fmt.Errorf("number %s: %w", a.number, err)
		}
		lid, err := strconv.ParseUint(a.lid, 10, 64)
		if err != nil {
			return fmt.Errorf("hidden identifier of %s: %w", a.number, err)
		}
		payload.PnToLidMappings = append(payload.PnToLidMappings, &waLidMigrationSyncPayload.LIDMigrationMapping{
			Pn: &number, AssignedLid: &lid,
		})
	}
	raw, err := proto.Marshal(payload)
	if err != nil {
		return fmt.Errorf("migration: %w", err)
	}
	return p.sendPeers(&waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_LID_MIGRATION_MAPPING_SYNC.Enum(),
		LidMigrationMappingSyncMessage: &waE2E.LIDMigrationMappingSyncMessage{
			EncodedMappingPayload: raw,
		},
	})
}
