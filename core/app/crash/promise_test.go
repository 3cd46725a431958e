package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/wildcathub/wildcat/core/scenario"
)

// check checks the promise, as far as it is kept by now.
func (w *world) check(ctx context.Context, hub *scenario.Hub) error {
	event := map[string]string{}
	var ids []string
	for _, account := range w.accounts {
		list, err := hub.Messages(ctx, account)
		if err != nil {
			return err
		}
		for _, m := range list {
			if q, ok := strings.CutPrefix(m.Text, "!ping "); ok && !m.FromMe {
				if event[q] != "" {
					return fmt.Errorf("%s is stored twice", q)
				}
				event[q] = m.EventID
				ids = append(ids, m.EventID)
			}
		}
	}
	if len(ids) != len(w.asked) {
		return fmt.Errorf("%d of %d questions are stored", len(ids), len(w.asked))
	}
	if err := w.checkAnswers(ctx, hub, event); err != nil {
		return err
	}
	if bad := w.hook.Bad(); len(bad) > 0 {
		return errors.New(bad[0])
	}
	if _, err := scenario.CheckArrivals(w.hook.Arrivals(), ids); err != nil {
		return fmt.Errorf("webhook: %w", err)
	}
	if err := w.checkLines(ids); err != nil {
		return fmt.Errorf("connector: %w", err)
	}
	broken, err := w.sandbox.Violations(ctx)
	if err == nil && len(broken) > 0 {
		err = errors.New(strings.Join(broken, "; "))
	}
	return err
}

// checkLines: each hub's connector program got events in each chat's order, and all of them
// together got all.
func (w *world) checkLines(ids []string) error {
	var files [][]scenario.Arrival
	for _, h := range w.hubs {
		lines, err := scenario.ReadLines(h.lines)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		files = append(files, lines)
	}
	_, err := scenario.CheckFiles(files, ids)
	return err
}

// checkAnswers: each question has one answer on the phones, and a further copy of an
// answer came at most once for each attempt after the first, which is written down
// before the stanza leaves.
func (w *world) checkAnswers(ctx context.Context, hub *scenario.Hub, event map[string]string) error {
	want := make([]string, len(w.asked))
	for i, q := range w.asked {
		want[i] = "pong " + q.text
	}
	phones, err := w.received(ctx)
	if err != nil {
		return err
	}
	if err := scenario.CheckAnswers(scenario.CountAnswers(phones...), want); err != nil {
		return err
	}
	for _, list := range phones {
		for _, m := range list {
			if m.Copies <= 1 {
				continue
			}
			q := strings.TrimPrefix(m.Text, "pong ")
			tr, err := hub.Trace(ctx, event[q])
			if err != nil {
				return err
			}
			if len(tr.Sends) != 1 || tr.Sends[0].State != "sent" || m.Copies > tr.Sends[0].Attempt {
				return fmt.Errorf("%s came %d times, which its sends do not account for: %+v", m.Text, m.Copies, tr.Sends)
			}
		}
	}
	return nil
}

// received is what the strangers' phones show.
func (w *world) received(ctx context.Context) ([][]scenario.Received, error) {
	var phones [][]scenario.Received
	for i := range w.phones {
		got, err := w.sandbox.Received(ctx, stranger(i))
		if err != nil {
			return nil, err
		}
		phones = append(phones, got)
	}
	return phones, nil
}

// answered counts the answers on the phones.
func (w *world) answered(ctx context.Context) (int, error) {
	phones, err := w.received(ctx)
	return len(scenario.CountAnswers(phones...).Shown), err
}
