package migrate

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/wildcathub/wildcat/core/legacy"
	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/core/store"
)

// ImportOptions changes how an import runs. All of it may be nil.
type ImportOptions struct {
	// Progress is told a kind once it is taken over, and how many records that were.
	Progress func(kind string, n int)
	// Registered is told each webhook that is new, with the secret that was made for it.
	Registered func(store.Webhook)
	// Now is the clock, Rand the source of secrets.
	Now  func() time.Time
	Rand io.Reader
}

// importing is one run.
type importing struct {
	from *legacy.Source
	to   *Side
	opts ImportOptions
	guards
	report Imported

	ids   *pipeline.Identifier
	names map[string]string // the accounts' ids by their old ones

	accounts map[string]bool // those of the source by new id: true if this run made it
	webhooks map[string]bool // by URL
	files    map[string]bool // that are in the target, by id
	history
}

// The kinds, as they are called in a report.
const (
	lineAccounts = "accounts"
	lineWebhooks = "webhooks"
	lineFiles    = "media"
	lineMessages = "messages"
)

// Import takes over accounts, webhooks, media and messages of the Node service. What the
// target has already stays as it is; what an earlier import has brought is written again,
// so that an import can be repeated, and follows what has changed in the source.
//
// Events are stored as done: no rule sees them, nothing is delivered. Accounts are logged
// out, since nothing can go on with the keys that the service had.
func Import(ctx context.Context, from *legacy.Source, to *Side, opts ImportOptions) (Imported, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	if opts.Progress == nil {
		opts.Progress = func(string, int) {}
	}
	if opts.Registered == nil {
		opts.Registered = func(store.Webhook) {}
	}
	i := &importing{
		from: from, to: to, opts: opts, guards: guards{now: opts.Now}, ids: pipeline.NewIdentifier(to.Store),
		names: map[string]string{}, accounts: map[string]bool{}, webhooks: map[string]bool{}, files: map[string]bool{},
		report: newImported(),
	}
	err := i.run(ctx)
	return i.report, errors.Join(err, i.release(context.WithoutCancel(ctx)))
}

func (i *importing) run(ctx context.Context) error {
	owner := make([]byte, 8)
	_, _ = rand.Read(owner) // never fails
	if err := i.claim(ctx, i.to, "import "+hex.EncodeToString(owner)); err != nil {
		return err
	}
	if err := i.begin(ctx); err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"look at the target", i.survey},
		{"take over accounts", i.takeAccounts},
		{"take over webhooks", i.takeWebhooks},
		{"take over media", i.takeFiles},
		{"take over messages", i.takeMessages},
		{"look for hubs", i.undisturbed},
		{"compare", i.compare},
	} {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	if !i.report.Equal() {
		return fmt.Errorf("%w: run it again; if they still do, %s", ErrDiffers, abandonHint)
	}
	if err := i.undisturbed(ctx); err != nil {
		return err
	}
	return writeMark(ctx, i.to.Store, importKey, mark{ID: i.from.ID, Done: true})
}

// begin marks the target: no hub starts on it until the import is whole.
func (i *importing) begin(ctx context.Context) error {
	have, err := readMark(ctx, i.to.Store, importKey)
	switch {
	case err == nil && !have.Done && have.ID != i.from.ID:
		return fmt.Errorf("%s: %w: an unfinished import from another database: finish that first; if it cannot be, %s", i.to.Name, ErrForeign, abandonHint)
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case err != nil || have.Done:
		if err := errors.Join(checkMoved(ctx, i.to.Store), checkMark(ctx, i.to.Store)); err != nil {
			return fmt.Errorf("%s: %w", i.to.Name, err)
		}
	}
	// What is numbered must be done: an import numbers on, and says that all is.
	open, err := i.to.Store.UnfinishedChats(ctx, store.ChatRef{}, 1)
	if err != nil {
		return err
	}
	if len(open) > 0 {
		before := "" // a hub that came back while it was marked: none can be started
		if have.ID != "" && !have.Done {
			before = "; before that, since none starts on an unfinished import, " + abandonHint
		}
		return fmt.Errorf("%s: %w: the hub has not finished what it has stored; start it once, and stop it%s", i.to.Name, ErrInUse, before)
	}
	return writeMark(ctx, i.to.Store, importKey, mark{ID: i.from.ID})
}

func (i *importing) takeAccounts(ctx context.Context) error {
	all, skipped, err := i.readAccounts(ctx)
	if err != nil {
		return err
	}
	t := i.report.of(lineAccounts)
	t.leave(skipped...)
	var fresh []any
	for _, a := range all {
		t.Found++
		if i.names[a.Old] = a.Account.ID; a.Old != a.Account.ID {
			i.report.Renamed[a.Old] = a.Account.ID
		}
		_, err := i.to.Store.Account(ctx, a.Account.ID)
		made := errors.Is(err, store.ErrNotFound)
		if err != nil && !made {
			return err
		}
		i.accounts[a.Account.ID] = made
		if made {
			if a.Account.CreatedAt.IsZero() {
				a.Account.CreatedAt = i.opts.Now().UTC().Truncate(time.Millisecond)
			}
			if a.Account.UpdatedAt.IsZero() {
				a.Account.UpdatedAt = a.Account.CreatedAt
			}
			fresh = append(fresh, a.Account)
		}
		if err := t.expect(accountRecord(a.Account, made)); err != nil {
			return err
		}
	}
	if err := i.to.Store.Import(ctx, store.KindAccounts, fresh); err != nil {
		return err
	}
	i.opts.Progress(lineAccounts, len(all))
	return nil
}

// accountRecord is what is compared of an account: one that was there is the hub's.
func accountRecord(a store.Account, made bool) any {
	if made {
		return a
	}
	return a.ID
}

func (i *importing) takeWebhooks(ctx context.Context) error {
	all, skipped, err := i.from.Webhooks(ctx)
	if err != nil {
		return err
	}
	t := i.report.of(lineWebhooks)
	t.leave(skipped...)
	for _, w := range all {
		t.Found++
		if _, twice := i.webhooks[w.Webhook.URL]; twice {
			t.skip(legacy.Skipped{ID: PublicURL(w.Webhook.URL), Reason: reasonRepeated})
			continue
		}
		if err := i.register(ctx, t, w.Webhook); err != nil {
			return err
		}
	}
	i.opts.Progress(lineWebhooks, len(i.webhooks))
	return nil
}

// secretSize is that of a webhook's secret in bytes.
const secretSize = 32

func (i *importing) register(ctx context.Context, t *tally, w store.Webhook) error {
	now := i.opts.Now()
	if w.CreatedAt.IsZero() {
		w.CreatedAt = now.UTC().Truncate(time.Millisecond)
	}
	id, err := ulid.New(ulid.Timestamp(now), i.opts.Rand)
	if err != nil {
		return fmt.Errorf("make webhook id: %w", err)
	}
	secret := make([]byte, secretSize)
	if _, err := io.ReadFull(i.opts.Rand, secret); err != nil {
		return fmt.Errorf("make webhook secret: %w", err)
	}
	w.ID, w.Secret = "wh_"+id.String(), "whsec_"+base64.StdEncoding.EncodeToString(secret)
	stored, made, err := i.to.Store.CreateWebhook(ctx, w)
	if err != nil {
		return err
	}
	i.webhooks[w.URL] = made
	if made {
		i.opts.Registered(stored)
	}
	return t.expect(webhookRecord(w, made))
}

// PublicURL is a URL without what may be a secret in it.
func PublicURL(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "?"
	}
	u.RawQuery, u.User, u.Fragment = "", nil, ""
	return u.String()
}

func webhookRecord(w store.Webhook, made bool) any {
	if made {
		return []any{w.URL, w.CreatedAt}
	}
	return w.URL
}
