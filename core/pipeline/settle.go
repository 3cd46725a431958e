package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/wildcathub/wildcat/core/store"
	"github.com/wildcathub/wildcat/sdk"
)

// settle stores an event's verdict and everything that follows from it, and wakes
// those who carry it out. A verdict that is stored already is taken as it is.
func (p *Pipeline) settle(ctx context.Context, se store.StoredEvent) error {
	ev := se.Event
	if err := p.owns(ev.Account); err != nil { // no rule runs for another's event
		return fmt.Errorf("settle event %s: %w", ev.ID, err)
	}
	resumed := len(se.Verdict) > 0
	// A try that failed may have stored the deliveries, and the outbox have found them.
	again := resumed || p.plans.get(ev.ID) != nil
	pl, err := p.planOf(ctx, se)
	if err != nil {
		p.log.Error("settle event", "account", ev.Account, "event_id", ev.ID, "err", err)
		return err
	}
	s, err := p.store(ctx, ev, pl)
	if errors.Is(err, store.ErrExists) && !resumed {
		stored, rerr := p.deps.Store.Event(ctx, ev.ID)
		if rerr != nil {
			return rerr
		}
		return p.settle(ctx, stored)
	}
	if err != nil {
		p.log.Warn("settle event", "account", ev.Account, "event_id", ev.ID, "err", err)
		return fmt.Errorf("settle event %s: %w", ev.ID, err)
	}
	p.plans.drop(ev.ID)
	p.metrics.settled(p.deps.Now().Sub(se.StoredAt))
	return p.announce(ctx, ev, pl, s, again)
}

// store writes what follows from a verdict, unless the account is another's by now.
func (p *Pipeline) store(ctx context.Context, ev *sdk.Event, pl *plan) (*store.Settlement, error) {
	epoch, through, err := p.write(ev.Account)
	if err != nil {
		return nil, err
	}
	defer through()
	s, err := p.settlement(ev, epoch, pl)
	if err != nil {
		return nil, err
	}
	return s, p.deps.Store.Settle(ctx, s)
}

// planOf returns the stored verdict, or the one that an earlier try of this process
// came to and could not store, or a new one.
func (p *Pipeline) planOf(ctx context.Context, se store.StoredEvent) (*plan, error) {
	if len(se.Verdict) > 0 {
		return decodePlan(se.Verdict)
	}
	if pl := p.plans.get(se.Event.ID); pl != nil {
		return pl, nil
	}
	pl, err := p.evaluate(ctx, se.Event)
	if err == nil {
		p.plans.keep(se.Event.ID, pl)
	}
	return pl, err
}

// announce wakes the outbox and the sender. After a resumption the deliveries may
// be older than this settlement, so their present state is read.
func (p *Pipeline) announce(ctx context.Context, ev *sdk.Event, pl *plan, s *store.Settlement, resumed bool) error {
	rows := s.Deliveries
	if resumed && len(rows) > 0 {
		var err error
		if rows, err = p.deps.Store.ListDeliveries(ctx, store.DeliveryQuery{EventID: ev.ID, State: store.DeliveryQueued, Limit: 500}); err != nil {
			return fmt.Errorf("deliveries of event %s: %w", ev.ID, err)
		}
	}
	if len(rows) > 0 && p.deps.Deliveries != nil {
		ev.Tags = pl.Tags
		p.deps.Deliveries(rows, ev)
	}
	if len(s.Sends) > 0 && p.deps.Sends != nil {
		p.deps.Sends(ev.Account)
	}
	return nil
}

// settlement expands a verdict into rows.
func (p *Pipeline) settlement(ev *sdk.Event, epoch uint64, pl *plan) (*store.Settlement, error) {
	verdict, err := pl.encode()
	if err != nil {
		return nil, err
	}
	now := p.deps.Now()
	s := &store.Settlement{EventID: ev.ID, Account: ev.Account, Chat: ev.Chat, Seq: ev.Seq, Epoch: epoch, Verdict: verdict}
	for _, ps := range pl.Sends {
		s.Sends = append(s.Sends, store.Send{
			ID: ps.ID, Account: ev.Account, Chat: ps.Chat, WAID: ps.WAID, To: ps.To, Payload: ps.Payload,
			EventID: ev.ID, Rule: ps.Rule, Index: ps.Index, Repeat: true,
			State: store.SendQueued, Epoch: epoch, CreatedAt: now, UpdatedAt: now,
		})
	}
	partition := store.Partition(store.ChatRef{Account: ev.Account, Chat: ev.Chat})
	for _, endpoint := range pl.Endpoints {
		s.Deliveries = append(s.Deliveries, store.Delivery{
			// No epoch: deliveries are fenced by the outbox's lease, not the account's.
			ID: DeliveryID(ev.ID, endpoint), EventID: ev.ID, Endpoint: endpoint, Account: ev.Account, Chat: ev.Chat,
			Partition: partition, Seq: ev.Seq, State: store.DeliveryQueued, Due: now, CreatedAt: now, UpdatedAt: now,
		})
	}
	return s, nil
}

// evaluate runs the rules and renders what they want sent.
func (p *Pipeline) evaluate(ctx context.Context, ev *sdk.Event) (*plan, error) {
	set := p.deps.Rules.Acquire()
	if set.Release != nil {
		defer set.Release()
	}
	pl := &plan{Version: planVersion, RuleSet: set.Version}
	for _, r := range set.Rules {
		if !r.Match(ev) {
			continue
		}
		v, sends, note, err := p.runRule(ctx, r, ev, set.Replies)
		if err != nil {
			var outage *outageError
			if ctx.Err() != nil || errors.As(err, &outage) {
				return nil, err // a shutdown or an outage is not the rule's failure
			}
			var off *DisabledError
			if errors.As(err, &off) {
				pl.Rules = append(pl.Rules, ruleRun{Rule: r.Name(), Result: "disabled", Note: off.Reason})
				continue
			}
			p.log.Debug("rule contributes nothing", "rule", r.Name(), "account", ev.Account, "event_id", ev.ID, "err", err)
			pl.Rules = append(pl.Rules, ruleRun{Rule: r.Name(), Result: "failed", Note: err.Error()})
			continue
		}
		result := "ok"
		if note != "" {
			result = "suppressed"
			p.log.Warn("replies held back", "rule", r.Name(), "account", ev.Account, "event_id", ev.ID, "reason", note)
		}
		pl.Rules = append(pl.Rules, ruleRun{Rule: r.Name(), Result: result, Note: note, routes: v.Routes})
		pl.Sends = append(pl.Sends, sends...)
		pl.Tags = append(pl.Tags, v.Tags...)
		if v.Drop {
			pl.Drop = true
			break
		}
	}
	if pl.Drop {
		return pl, nil
	}
	p.route(ev, pl)
	return pl, nil
}

// route picks the endpoints. A route that leads nowhere is a mistake that nobody would
// notice, so it is logged, counted, and stays in the verdict.
func (p *Pipeline) route(ev *sdk.Event, pl *plan) {
	for i := range pl.Rules {
		pl.Routes = append(pl.Routes, pl.Rules[i].routes...)
	}
	slices.Sort(pl.Routes)
	pl.Routes = slices.Compact(pl.Routes)
	reached := map[string]bool{}
	for _, e := range p.deps.Endpoints.Match(ev) {
		if len(pl.Routes) == 0 || slices.Contains(pl.Routes, e.Name) || slices.Contains(pl.Routes, e.ID) {
			pl.Endpoints = append(pl.Endpoints, e.ID)
			reached[e.Name], reached[e.ID] = true, true
		}
	}
	for i := range pl.Rules {
		r := &pl.Rules[i]
		for _, name := range r.routes {
			if !reached[name] && !slices.Contains(r.Unrouted, name) {
				r.Unrouted = append(r.Unrouted, name)
			}
		}
		if len(r.Unrouted) == 0 {
			continue
		}
		pl.Unrouted = append(pl.Unrouted, r.Unrouted...)
		p.metrics.unrouted.WithLabelValues(r.Rule).Inc()
		p.log.Warn("a rule routes to a connector that does not get this event", "rule", r.Rule, "account", ev.Account, "event_id", ev.ID, "connector", r.Unrouted)
	}
	slices.Sort(pl.Unrouted)
	pl.Unrouted = slices.Compact(pl.Unrouted)
}

// runRule evaluates one rule and renders its actions. All or nothing: an action that
// cannot be rendered fails the rule. note, if not empty, says why sends were held back.
func (p *Pipeline) runRule(ctx context.Context, r Rule, ev *sdk.Event, lim ReplyLimits) (v Verdict, sends []plannedSend, note string, err error) {
	defer func() {
		if x := recover(); x != nil {
			p.log.Error("rule panicked", "rule", r.Name(), "event_id", ev.ID, "err", x, "stack", string(debug.Stack()))
			v, sends, note, err = Verdict{}, nil, "", fmt.Errorf("panic in rule %s", r.Name())
		}
	}()
	if v, err = r.Eval(ctx, ev); err != nil {
		return Verdict{}, nil, "", err
	}
	for i, a := range v.Actions {
		ps, err := p.render(ctx, r.Name(), i, a, ev)
		if err != nil {
			return Verdict{}, nil, "", fmt.Errorf("action %d: %w", i+1, err)
		}
		sends = append(sends, ps)
	}
	now := p.deps.Now()
	switch age := now.Sub(ev.Time); {
	case len(sends) == 0:
	case lim.MaxAge > 0 && age > lim.MaxAge:
		return v, nil, fmt.Sprintf("too_old: the message is %s old, rules.max_age is %s", age.Round(time.Second), lim.MaxAge), nil
	case !p.limit.take(ev.Account, sends, now, lim.PerMinute):
		return v, nil, "rate_limited: more automatic replies in this chat than rules.replies_per_minute", nil
	}
	return v, sends, "", nil
}

func (p *Pipeline) render(ctx context.Context, rule string, index int, a Action, ev *sdk.Event) (plannedSend, error) {
	to, chat := a.To, ""
	var quote *sdk.Message
	switch a.Kind {
	case ActionReply:
		if ev.Message == nil {
			return plannedSend{}, fmt.Errorf("an event of type %s cannot be replied to", ev.Type)
		}
		to, chat = ev.Message.Chat, ev.Chat
		if a.Quote {
			quote = ev.Message
		}
	case ActionSend:
	default:
		return plannedSend{}, fmt.Errorf("unknown action %q", a.Kind)
	}
	address, payload, err := p.deps.Render.RenderText(to, a.Text, quote, a.Mentions)
	if err != nil {
		return plannedSend{}, err
	}
	if chat == "" {
		alias, err := p.names.resolve(ctx, ev.Account, address)
		if err != nil {
			return plannedSend{}, &outageError{err}
		}
		chat = alias.Key
	}
	return plannedSend{
		ID: ReplyID(ev.ID, rule, index), WAID: ReplyWAID(ev.Account, ev.ID, rule, index),
		Chat: chat, To: address, Rule: rule, Index: index, Payload: payload,
	}, nil
}
