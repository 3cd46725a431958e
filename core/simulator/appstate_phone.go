package simulator

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/proto/waSyncAction"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

// SavedContact is an entry of a phone's address book.
type SavedContact struct {
	Number    string `json:"number"`
	FullName  string `json:"full_name"`
	FirstName string `json:"first_name"`
}

// ChatSettings are how a phone and its companions show a chat.
type ChatSettings struct {
	// Muted says that the chat makes no sound, until MutedUntil, or for good where that is zero.
	Muted      bool      `json:"muted"`
	MutedUntil time.Time `json:"muted_until"`
	Archived   bool      `json:"archived"`
	Pinned     bool      `json:"pinned"`
	// MarkedUnread says that somebody marked it so.
	MarkedUnread bool `json:"marked_unread"`
}

// prepare makes the first key, and a first version of every collection: a client takes
// the first version that it sees as the past and reports no changes of it; mu is held.
func (st *appState) prepare(o *outgoing) error {
	st.open()
	if st.store.latest() == nil {
		if err := st.newKey(o.b); err != nil {
			return err
		}
	}
	for _, name := range appstate.AllPatchNames {
		if st.collections[name].version() > 0 {
			continue
		}
		first := []appstate.MutationInfo{{
			Index: []string{"sentinel", string(name)}, Version: 1,
			Value: &waSyncAction.SyncActionValue{KeyExpiration: &waSyncAction.KeyExpiration{ExpiredKeyEpoch: proto.Int32(0)}},
		}}
		if name == appstate.WAPatchCriticalBlock {
			first = append(first, appstate.BuildSettingPushName(st.a.pushName()).Mutations...)
			first = append(first, appstate.MutationInfo{
				Index: []string{"setting_locale"}, Version: 3,
				Value: &waSyncAction.SyncActionValue{LocaleSetting: &waSyncAction.LocaleSetting{Locale: proto.String("en_US")}},
			})
		}
		if err := st.encode(o, appstate.PatchInfo{Type: name, Mutations: first}); err != nil {
			return err
		}
	}
	return nil
}

// newKey makes the key that the next patches are encrypted with. Its id is the device
// that made it, two bytes, and an epoch of four; mu is held.
func (st *appState) newKey(b *batch) error {
	id := make([]byte, 6)
	epoch, at := randomUint32()>>8, st.a.s.opts.Clock().UnixMilli()
	if last := st.store.latest(); last != nil {
		epoch = binary.BigEndian.Uint32(last[2:]) + 1
		at = max(at, st.store.keys[string(last)].Timestamp+1) // clients take the newest for theirs
	}
	binary.BigEndian.PutUint32(id[2:], epoch)
	data := make([]byte, 32)
	_, _ = rand.Read(data) // never fails, by its contract
	fingerprint, err := proto.Marshal(st.a.keyFingerprint())
	if err != nil {
		return fmt.Errorf("app state key: %w", err)
	}
	key := store.AppStateSyncKey{Data: data, Timestamp: at, Fingerprint: fingerprint}
	b.putJSON("ak/"+st.a.number+"/"+hex.EncodeToString(id), key)
	return st.store.PutAppStateSyncKey(context.Background(), id, key)
}

// keyFingerprint names the devices that a key was made for.
func (a *account) keyFingerprint() *waE2E.AppStateSyncKeyFingerprint {
	out := &waE2E.AppStateSyncKeyFingerprint{RawID: proto.Uint32(a.record.Raw)}
	for _, d := range a.all() {
		out.DeviceIndexes = append(out.DeviceIndexes, uint32(d.id))
		out.CurrentIndex = proto.Uint32(uint32(d.id))
	}
	return out
}

// encode makes a patch with the newest key and accepts it as the phone's; mu is held.
func (st *appState) encode(o *outgoing, info appstate.PatchInfo) error {
	ctx := context.Background()
	if info.Timestamp.IsZero() {
		info.Timestamp = st.a.s.opts.Clock()
	}
	if st.collections[info.Type] == nil {
		return fmt.Errorf("collection %q: %w", info.Type, errPatchRefused)
	}
	for _, m := range info.Mutations {
		if len(m.Index) == 0 || m.Value == nil {
			return fmt.Errorf("%w: a mutation without index or value", errPatchRefused)
		}
	}
	raw, err := st.proc.EncodePatch(ctx, st.store.latest(), st.store.version(info.Type), info)
	if err != nil {
		return fmt.Errorf("encode app state: %w", err)
	}
	patch := new(waServerSync.SyncdPatch)
	if err = proto.Unmarshal(raw, patch); err != nil {
		return fmt.Errorf("encode app state: %w", err)
	}
	return st.accept(o, info.Type, patch, nil)
}

// edit changes the state as the phone does.
func (st *appState) edit(info appstate.PatchInfo) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	if err := st.prepared(); err != nil {
		return err
	}
	o := st.a.s.outgoing(st.a.s.begin())
	if err := st.encode(o, info); err != nil {
		return err
	}
	return st.commit(o)
}

// prepared does what [appState.prepare] does and makes it durable, whatever comes of the
// change that follows; mu is held.
func (st *appState) prepared() error {
	o := st.a.s.outgoing(st.a.s.begin())
	if err := st.prepare(o); err != nil {
		return err
	}
	return st.commit(o)
}

// share returns the message that hands keys to a companion: those of ids that exist, or
// all with none given; nil for nothing to hand out. mu is held.
func (st *appState) share(ids ...[]byte) *waE2E.ProtocolMessage {
	if len(ids) == 0 {
		for id := range st.store.keys {
			ids = append(ids, []byte(id))
		}
	}
	var list []*waE2E.AppStateSyncKey
	for _, id := range ids {
		key, ok := st.store.keys[string(id)]
		if !ok {
			continue
		}
		fingerprint := new(waE2E.AppStateSyncKeyFingerprint)
		if err := proto.Unmarshal(key.Fingerprint, fingerprint); err != nil {
			continue
		}
		list = append(list, &waE2E.AppStateSyncKey{
			KeyID: &waE2E.AppStateSyncKeyId{KeyID: id},
			KeyData: &waE2E.AppStateSyncKeyData{
				KeyData: key.Data, Fingerprint: fingerprint, Timestamp: proto.Int64(key.Timestamp),
			},
		})
	}
	if list == nil {
		return nil
	}
	return &waE2E.ProtocolMessage{
		Type:                 waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_SHARE.Enum(),
		AppStateSyncKeyShare: &waE2E.AppStateSyncKeyShare{Keys: list},
	}
}

// knows says whether another account is in the address book.
func (st *appState) knows(other *account) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.newest(appstate.IndexContact, other.pn(), other.hidden()) != nil
}

// newest returns the newest value of an index over the JIDs of one chat; mu is held.
func (st *appState) newest(index string, jids ...types.JID) *waSyncAction.SyncActionValue {
	var found *waSyncAction.SyncActionValue
	for _, jid := range jids {
		if v := st.values[indexKey(index, jid.String())]; v != nil && v.GetTimestamp() >= found.GetTimestamp() {
			found = v
		}
	}
	return found
}

// EditAppState changes what the phone and its companions agree on. The Build functions
// of whatsmeow's package appstate make most changes; companions get them as events.
func (p *Phone) EditAppState(ctx context.Context, info appstate.PatchInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.acct.state.edit(info)
}

// AppState returns what the phone's devices agree on under an index, "mute" and a chat's
// JID for instance; nil for nothing. The value must not be changed.
func (p *Phone) AppState(index ...string) *waSyncAction.SyncActionValue {
	st := &p.acct.state
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.values[indexKey(index...)]
}

// WaitAppState waits until match, which may ask the phone, is true.
func (p *Phone) WaitAppState(ctx context.Context, match func() bool) error {
	st := &p.acct.state
	for {
		st.mu.Lock()
		if st.changed == nil {
			st.changed = make(chan struct{})
		}
		changed := st.changed
		st.mu.Unlock()
		if match() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return contextOrClosed(ctx, "app state")
		}
	}
}

// SetContact writes a number into the address book, under a full and a first name.
func (p *Phone) SetContact(ctx context.Context, number, fullName, firstName string) error {
	number, err := cleanNumber(number)
	if err != nil {
		return err
	}
	action := &waSyncAction.ContactAction{
		FullName: &fullName, FirstName: &firstName, SaveOnPrimaryAddressbook: proto.Bool(true),
	}
	if other := p.acct.s.account(number); other != nil {
		action.LidJID = proto.String(other.hidden().String())
	}
	return p.EditAppState(ctx, appstate.PatchInfo{
		Type: appstate.WAPatchCriticalUnblockLow,
		Mutations: []appstate.MutationInfo{{
			Index:   []string{appstate.IndexContact, types.NewJID(number, types.DefaultUserServer).String()},
			Version: 2, Value: &waSyncAction.SyncActionValue{ContactAction: action},
		}},
	})
}

// Contacts is the address book, ordered by number.
func (p *Phone) Contacts() []SavedContact {
	st := &p.acct.state
	st.mu.Lock()
	defer st.mu.Unlock()
	var out []SavedContact
	for key, value := range st.values {
		name, ok := strings.CutPrefix(key, indexKey(appstate.IndexContact, ""))
		jid, err := types.ParseJID(name)
		if !ok || err != nil {
			continue
		}
		number := jid.User
		if a := p.acct.s.findAccount(jid); a != nil {
			number = a.number
		}
		action := value.GetContactAction()
		out = append(out, SavedContact{number, action.GetFullName(), action.GetFirstName()})
	}
	slices.SortFunc(out, func(a, b SavedContact) int { return strings.Compare(a.Number, b.Number) })
	return out
}

// SetPushName changes what the phone calls itself; others are shown it with the next message.
func (p *Phone) SetPushName(ctx context.Context, name string) error {
	return p.EditAppState(ctx, appstate.BuildSettingPushName(name))
}

// RotateAppStateKey makes a new key, which the next changes are encrypted with. With share
// the companions are sent it; without, they have to ask.
func (p *Phone) RotateAppStateKey(ctx context.Context, share bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	st := &p.acct.state
	st.mu.Lock()
	o := st.a.s.outgoing(st.a.s.begin())
	err := st.prepared()
	if err == nil {
		err = st.newKey(o.b)
	}
	if err == nil {
		err = st.commit(o)
	}
	latest := st.store.latest()
	message := st.share(latest)
	st.mu.Unlock()
	if err != nil || !share {
		return err
	}
	return p.sendPeers(message)
}

// shareStateKeys answers a companion that misses keys.
func (in *incoming) shareStateKeys(m *waE2E.ProtocolMessage) {
	if in.sender.acct != in.p.acct {
		return
	}
	var ids [][]byte
	for _, id := range m.GetAppStateSyncKeyRequest().GetKeyIDs() {
		ids = append(ids, id.GetKeyID())
	}
	st := &in.p.acct.state
	st.mu.Lock()
	st.open()
	message := st.share(ids...)
	st.mu.Unlock()
	if message != nil && len(ids) > 0 {
		in.answerPeer(message)
	}
}
