package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/wildcathub/wildcat/core/scenario"
)

// patience bounds each wait of the demo. Where several hubs share a database the one that takes
// over begins after the other's leases ran out.
func (d *demo) patience() time.Duration {
	if d.hubs > 1 {
		return 100 * time.Second
	}
	return 40 * time.Second
}

func (d *demo) firstPing(ctx context.Context) (string, error) {
	if _, err := d.sandbox.Send(ctx, stranger(0), demoNumber, "!ping hello"); err != nil {
		return "", err
	}
	return "", scenario.Until(ctx, d.patience(), func() error {
		got, err := d.sandbox.Received(ctx, stranger(0))
		if err != nil {
			return err
		}
		return scenario.CheckAnswers(scenario.CountAnswers(got), []string{"pong hello"})
	})
}

func (d *demo) receiverHasPing(ctx context.Context) (string, error) {
	return "", scenario.Until(ctx, d.patience(), func() error {
		if bad := d.receiver.Bad(); len(bad) > 0 {
			return errors.New(bad[0])
		}
		return hasPing(d.receiver.Arrivals())
	})
}

func (d *demo) connectorHasPing(ctx context.Context) (string, error) {
	return "", scenario.Until(ctx, d.patience(), func() error {
		lines, err := d.lines()
		if err != nil {
			return err
		}
		return hasPing(slices.Concat(lines...))
	})
}

func hasPing(list []scenario.Arrival) error {
	for _, a := range list {
		if a.Text == "!ping hello" && !a.FromMe {
			return nil
		}
	}
	return fmt.Errorf("not among %d events", len(list))
}

func (d *demo) tracePing(ctx context.Context) (string, error) {
	list, err := d.hub.Messages(ctx, demoAccount)
	if err != nil {
		return "", err
	}
	for _, m := range list {
		if m.Text != "!ping hello" {
			continue
		}
		var note string
		err := scenario.Until(ctx, d.patience(), func() error {
			t, err := d.hub.Trace(ctx, m.EventID)
			if err != nil {
				return err
			}
			if len(t.Sends) != 1 || t.Sends[0].State != "sent" {
				return fmt.Errorf("the reply is not sent: %+v", t.Sends)
			}
			for _, del := range t.Deliveries {
				if del.State != "ok" {
					return fmt.Errorf("delivery to %s is %s", del.Endpoint, del.State)
				}
			}
			if len(t.Deliveries) != 2 {
				return fmt.Errorf("%d deliveries, 2 expected", len(t.Deliveries))
			}
			note = "wildcat trace " + m.EventID
			return nil
		})
		return note, err
	}
	return "", errors.New("the message is not listed")
}

func question(i int) string { return fmt.Sprintf("q%03d", i) }

// killInTheMiddle sends all questions at once and kills the hub after some replies.
func (d *demo) killInTheMiddle(ctx context.Context) (string, error) {
	batch := make([]scenario.Outgoing, demoQuestions)
	for i := range batch {
		batch[i] = scenario.Outgoing{From: stranger(i % demoStrangers), To: demoNumber, Text: "!ping " + question(i)}
	}
	sent := make(chan error, 1)
	go func() { sent <- d.sandbox.SendBatch(ctx, batch) }()
	err := scenario.Until(ctx, d.patience(), func() error {
		n, err := d.replies(ctx)
		if err == nil && n < demoKillAt {
			err = fmt.Errorf("only %d replies", n)
		}
		return err
	})
	var victim *scenario.Process
	if err == nil {
		var i int
		if i, err = d.holder(ctx); err == nil {
			victim = d.hubPs[i]
			victim.Kill()
			d.killed = time.Now()
			if d.hubPs = slices.Delete(d.hubPs, i, i+1); len(d.hubPs) > 0 {
				d.hub = scenario.NewHub(d.hubPs[0].URL)
			}
		}
	}
	if serr := <-sent; err == nil {
		err = serr
	}
	if err != nil {
		return "", err
	}
	n, err := d.replies(ctx)
	if err != nil {
		return "", err
	}
	if n < demoKillAfter || n > demoKillBefore {
		return "", fmt.Errorf("the kill fell after reply %d and does not count: it must fall between the %dth and the %dth", n, demoKillAfter, demoKillBefore)
	}
	return fmt.Sprintf("pid %d killed after reply %d", victim.PID(), n), nil
}

// replies counts the answers to questions that the phones show.
func (d *demo) replies(ctx context.Context) (int, error) {
	a, err := d.answers(ctx)
	return len(a.Shown), err
}

func (d *demo) answers(ctx context.Context) (scenario.Answers, error) {
	var phones [][]scenario.Received
	for i := range demoStrangers {
		got, err := d.sandbox.Received(ctx, stranger(i))
		if err != nil {
			return scenario.Answers{}, err
		}
		kept := got[:0]
		for _, m := range got {
			if m.Text != "pong hello" {
				kept = append(kept, m)
			}
		}
		phones = append(phones, kept)
	}
	return scenario.CountAnswers(phones...), nil
}

func (d *demo) allStored(ctx context.Context) (string, error) {
	return "", scenario.Until(ctx, d.patience(), func() error {
		ids, err := d.questionIDs(ctx)
		if err == nil && len(ids) != demoQuestions {
			err = fmt.Errorf("%d of %d are stored", len(ids), demoQuestions)
		}
		return err
	})
}

// questionIDs returns the event ids of the stored questions, each once.
func (d *demo) questionIDs(ctx context.Context) ([]string, error) {
	list, err := d.hub.Messages(ctx, demoAccount)
	if err != nil {
		return nil, err
	}
	var ids []string
	seen := map[string]bool{}
	for _, m := range list {
		if m.FromMe || !strings.HasPrefix(m.Text, "!ping q") {
			continue
		}
		if seen[m.Text] {
			return nil, fmt.Errorf("%q is stored twice", m.Text)
		}
		seen[m.Text] = true
		ids = append(ids, m.EventID)
	}
	return ids, nil
}

func (d *demo) allAnswered(ctx context.Context) (string, error) {
	want := make([]string, demoQuestions)
	for i := range want {
		want[i] = "pong " + question(i)
	}
	var a scenario.Answers
	err := scenario.Until(ctx, d.patience(), func() error {
		var err error
		if a, err = d.answers(ctx); err != nil {
			return err
		}
		return scenario.CheckAnswers(a, want)
	})
	if err != nil {
		return "", err
	}
	d.uncertain = 0
	for _, p := range d.hubPs {
		repeated, err := scenario.NewHub(p.URL).Metric(ctx, `wildcat_sends_total{result="repeated"}`)
		if err != nil {
			return "", err
		}
		d.uncertain += int(repeated)
	}
	if a.Copies > d.uncertain {
		return "", fmt.Errorf("%d further copies came, but only %d sends were uncertain at the kill", a.Copies, d.uncertain)
	}
	return fmt.Sprintf("%d sends were uncertain at the kill, %d further copies came", d.uncertain, a.Copies), nil
}

func (d *demo) receiverHasAll(ctx context.Context) (string, error) {
	return d.hasAll(ctx, func() ([][]scenario.Arrival, error) {
		if bad := d.receiver.Bad(); len(bad) > 0 {
			return nil, errors.New(bad[0])
		}
		return [][]scenario.Arrival{d.receiver.Arrivals()}, nil
	})
}

func (d *demo) connectorHasAll(ctx context.Context) (string, error) {
	return d.hasAll(ctx, d.lines)
}

// lines are what the hubs' connector programs wrote, each what its hub delivered.
func (d *demo) lines() ([][]scenario.Arrival, error) {
	var files [][]scenario.Arrival
	for i := range d.hubs {
		got, err := scenario.ReadLines(d.of(i, "events", ".jsonl"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		files = append(files, got)
	}
	return files, nil
}

func (d *demo) hasAll(ctx context.Context, arrivals func() ([][]scenario.Arrival, error)) (string, error) {
	ids, err := d.questionIDs(ctx)
	if err != nil {
		return "", err
	}
	var repeated int
	err = scenario.Until(ctx, d.patience(), func() error {
		got, err := arrivals()
		if err == nil {
			repeated, err = scenario.CheckFiles(got, ids)
		}
		return err
	})
	return fmt.Sprintf("%d events, %d delivered again after the kill", len(ids), repeated), err
}

func (d *demo) invariants(ctx context.Context) (string, error) {
	broken, err := d.sandbox.Violations(ctx)
	if err == nil && len(broken) > 0 {
		err = errors.New(strings.Join(broken, "; "))
	}
	if err != nil {
		return "", err
	}
	replaced, err := d.sandbox.Replaced(ctx)
	if err == nil && replaced > 0 {
		err = fmt.Errorf("%d times an account was connected while it was connected already", replaced)
	}
	return "", err
}
