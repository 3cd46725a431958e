package pipeline

import (
	"context"
	"fmt"
	"hash/maphash"

	"github.com/wildcathub/wildcat/core/crashpoint"
	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

var stripeSeed = maphash.MakeSeed()

// Append stores an event of an account and hands it to its chat's lane. nil means
// that it is durable, now or from an earlier time, and may be acknowledged. The
// event must not be used by the caller afterwards.
func (p *Pipeline) Append(ctx context.Context, ev *sdk.Event) error {
	_, err := p.append(ctx, ev, nil)
	return err
}

// AppendSent stores the event of a message that WhatsApp accepted from us, and in
// the same write moves its send to sent.
func (p *Pipeline) AppendSent(ctx context.Context, ev *sdk.Event, mark store.SentMark) error {
	_, err := p.append(ctx, ev, &mark)
	return err
}

func (p *Pipeline) append(ctx context.Context, ev *sdk.Event, sent *store.SentMark) (store.Appended, error) {
	epoch, through, err := p.write(ev.Account)
	if err != nil {
		return store.Appended{}, fmt.Errorf("append event: %w", err)
	}
	defer through()
	// Once begun, the write goes through: a caller that gives up in between would
	// leave an event that is stored and in no lane.
	ctx = context.WithoutCancel(ctx)
	others, err := p.names.identify(ctx, ev)
	if err != nil {
		p.metrics.event(ev.Type, "refused")
		return store.Appended{}, err
	}
	ref := store.ChatRef{Account: ev.Account, Chat: ev.Chat}
	lock := &p.appends[maphash.Comparable(stripeSeed, ref)%uint64(len(p.appends))]
	lock.Lock()
	defer lock.Unlock()
	got, err := p.deps.Store.AppendEvent(ctx, store.Append{Event: ev, OtherIDs: others, Epoch: epoch, Sent: sent})
	if err != nil {
		p.metrics.event(ev.Type, "refused")
		// It may be stored all the same; the lane looks once the store answers again.
		p.lanes.poke(ref)
		return store.Appended{}, fmt.Errorf("append event %s: %w", ev.ID, err)
	}
	if got.Duplicate {
		p.metrics.event(ev.Type, "duplicate")
		p.log.Debug("event is known already", "account", ev.Account, "event_id", got.ID)
		return got, nil
	}
	crashpoint.Hit("after_append")
	p.metrics.event(ev.Type, "stored")
	ev.Seq = got.Seq
	if got.Chat != ev.Chat { // the chat was merged into an older one meanwhile
		ev.Chat = got.Chat
		p.lanes.poke(store.ChatRef{Account: ev.Account, Chat: got.Chat})
		return got, nil
	}
	p.lanes.push(ref, ev, epoch)
	return got, nil
}
