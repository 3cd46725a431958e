package mongo

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
)

func (s *Stores) contactID(user types.JID) string { return path(s.jid, "contact", user.String()) }

// change reads documents, changes copies of them and writes those that differ. The
// first result is how the first one was before, and whether it was changed.
func (s *Stores) change(ctx context.Context, ids []string, f func(i int, r *record)) (before record, changed bool, err error) {
	if err := s.changing.take(ctx); err != nil {
		return before, false, err
	}
	defer s.changing.give()
	found, err := s.getMany(ctx, ids)
	if err != nil {
		return before, false, err
	}
	var ops []op
	for i, id := range ids {
		r := record{ID: id, Value: []byte{}}
		old := found[id]
		if old != nil {
			r = *old
		}
		if i == 0 {
			before = r
		}
		f(i, &r)
		if old != nil && same(old, &r) {
			continue
		}
		changed = changed || i == 0
		ops = append(ops, op{rec: r, rank: middle})
	}
	return before, changed, s.write(ctx, ops...)
}

func same(a, b *record) bool {
	return a.First == b.First && a.Full == b.Full && a.Push == b.Push && a.Business == b.Business && a.Redacted == b.Redacted &&
		a.Muted == b.Muted && a.Pinned == b.Pinned && a.Archived == b.Archived
}

// PutPushName implements store.ContactStore: whether it is new, and the one before.
func (s *Stores) PutPushName(ctx context.Context, user types.JID, name string) (changed bool, before string, err error) {
	return s.putName(ctx, user, name, func(r *record) *string { return &r.Push })
}

// PutBusinessName implements store.ContactStore, like PutPushName.
func (s *Stores) PutBusinessName(ctx context.Context, user types.JID, name string) (changed bool, before string, err error) {
	return s.putName(ctx, user, name, func(r *record) *string { return &r.Business })
}

func (s *Stores) putName(ctx context.Context, user types.JID, name string, field func(*record) *string) (bool, string, error) {
	name = text(name)
	rec, err := s.get(ctx, s.contactID(user))
	if err != nil || rec != nil && *field(rec) == name || rec == nil && name == "" {
		return false, "", err
	}
	before, changed, err := s.change(ctx, []string{s.contactID(user)}, func(_ int, r *record) { *field(r) = name })
	if err != nil || !changed {
		return false, "", err
	}
	return true, *field(&before), nil
}

// PutContactName implements store.ContactStore. whatsmeow's interface calls the two names
// the other way round than its callers and its own implementation do.
func (s *Stores) PutContactName(ctx context.Context, user types.JID, firstName, fullName string) error {
	return s.PutAllContactNames(ctx, []store.ContactEntry{{JID: user, FirstName: firstName, FullName: fullName}})
}

// PutAllContactNames implements store.ContactStore. Of duplicates the last counts.
func (s *Stores) PutAllContactNames(ctx context.Context, contacts []store.ContactEntry) error {
	return changeAll(ctx, s, contacts, func(c store.ContactEntry) types.JID { return c.JID }, func(c store.ContactEntry, r *record) {
		r.First, r.Full = text(c.FirstName), text(c.FullName)
	})
}

// PutManyRedactedPhones implements store.ContactStore. Of duplicates the last counts.
func (s *Stores) PutManyRedactedPhones(ctx context.Context, entries []store.RedactedPhoneEntry) error {
	return changeAll(ctx, s, entries, func(e store.RedactedPhoneEntry) types.JID { return e.JID }, func(e store.RedactedPhoneEntry, r *record) {
		r.Redacted = text(e.RedactedPhone)
	})
}

func changeAll[T any](ctx context.Context, s *Stores, all []T, jid func(T) types.JID, f func(T, *record)) error {
	for part := range slices.Chunk(all, maxBulk) {
		byID, ids := map[string]T{}, []string(nil)
		for _, x := range part {
			id := s.contactID(jid(x))
			if _, twice := byID[id]; !twice {
				ids = append(ids, id)
			}
			byID[id] = x
		}
		if _, _, err := s.change(ctx, ids, func(i int, r *record) { f(byID[ids[i]], r) }); err != nil {
			return err
		}
	}
	return nil
}

// GetContact implements store.ContactStore.
func (s *Stores) GetContact(ctx context.Context, user types.JID) (types.ContactInfo, error) {
	rec, err := s.get(ctx, s.contactID(user))
	if err != nil || rec == nil {
		return types.ContactInfo{}, err
	}
	return rec.contact(), nil
}

func (r *record) contact() types.ContactInfo {
	return types.ContactInfo{
		Found: true, FirstName: r.First, FullName: r.Full, PushName: r.Push, BusinessName: r.Business, RedactedPhone: r.Redacted,
	}
}

// GetAllContacts implements store.ContactStore.
func (s *Stores) GetAllContacts(ctx context.Context) (map[types.JID]types.ContactInfo, error) {
	prefix := path(s.jid, "contact")
	found, err := s.scan(ctx, prefix, '/')
	if err != nil {
		return nil, err
	}
	out := make(map[types.JID]types.ContactInfo, len(found))
	for i := range found {
		user, err := unescape(strings.TrimPrefix(found[i].ID, prefix+"/"))
		if err != nil {
			return nil, err
		}
		jid, err := types.ParseJID(user)
		if err != nil {
			return nil, fmt.Errorf("contact %q: %w", user, err)
		}
		out[jid] = found[i].contact()
	}
	return out, nil
}

func (s *Stores) chatID(chat types.JID) string { return path(s.jid, "chat", chat.String()) }

func (s *Stores) putSetting(ctx context.Context, chat types.JID, f func(*record)) error {
	_, _, err := s.change(ctx, []string{s.chatID(chat)}, func(_ int, r *record) { f(r) })
	return err
}

// PutMutedUntil implements store.ChatSettingsStore.
func (s *Stores) PutMutedUntil(ctx context.Context, chat types.JID, until time.Time) error {
	var muted int64
	if until.Equal(store.MutedForever) {
		muted = -1
	} else if !until.IsZero() {
		muted = until.Unix()
	}
	return s.putSetting(ctx, chat, func(r *record) { r.Muted = muted })
}

// PutPinned implements store.ChatSettingsStore.
func (s *Stores) PutPinned(ctx context.Context, chat types.JID, pinned bool) error {
	return s.putSetting(ctx, chat, func(r *record) { r.Pinned = pinned })
}

// PutArchived implements store.ChatSettingsStore.
func (s *Stores) PutArchived(ctx context.Context, chat types.JID, archived bool) error {
	return s.putSetting(ctx, chat, func(r *record) { r.Archived = archived })
}

// GetChatSettings implements store.ChatSettingsStore.
func (s *Stores) GetChatSettings(ctx context.Context, chat types.JID) (types.LocalChatSettings, error) {
	rec, err := s.get(ctx, s.chatID(chat))
	if err != nil || rec == nil {
		return types.LocalChatSettings{}, err
	}
	out := types.LocalChatSettings{Found: true, Pinned: rec.Pinned, Archived: rec.Archived}
	if rec.Muted < 0 {
		out.MutedUntil = store.MutedForever
	} else if rec.Muted > 0 {
		out.MutedUntil = time.Unix(rec.Muted, 0)
	}
	return out, nil
}
