package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newTraceCommand() *cobra.Command {
	var flags hubFlags
	var account string
	cmd := &cobra.Command{
		Use:   "trace ID",
		Short: "Show what became of a message: stages, verdict, sends, attempts",
		Long:  "Asks a running hub. ID is an event id, or with --account a WhatsApp message id. The API key that the environment variable WILDCAT_API_KEY holds is sent, if there is one.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := flags.hub()
			if err != nil {
				return report(cmd, err)
			}
			body, err := fetchTrace(cmd.Context(), h, account, args[0])
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if flags.json {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), string(body))
				return err
			}
			return printTrace(cmd.OutOrStdout(), body)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&account, "account", "", "the account, if ID is a WhatsApp message id")
	return cmd
}

func fetchTrace(ctx context.Context, h hub, account, id string) ([]byte, error) {
	path := "/v1/events/" + url.PathEscape(id) + "/trace"
	if account != "" {
		path += "?account=" + url.QueryEscape(account)
	}
	return h.ask(ctx, http.MethodGet, path, nil)
}

// trace is the part of the answer that is printed.
type trace struct {
	Event struct {
		ID, Type, Account, Chat string
		Seq                     uint64
		Time                    time.Time
	}
	Stages []struct {
		Stage string
		At    *time.Time
	}
	Verdict struct {
		RuleSet string
		Drop    bool
		Tags    []string
		Rules   []struct {
			Rule, Result, Note string
			Unrouted           []string
		}
		Unrouted, Endpoints []string
	}
	Sends []struct {
		MessageID, To, Rule, State, Reason string
		Attempt                            int
	}
	Deliveries []struct {
		ID, Endpoint, State, Reason string
		Due                         *time.Time
		Attempts                    []struct {
			N      int
			At     time.Time
			Status string
			Code   int
			Reason string
			TookMs float64 `json:"tookMs"`
		}
	}
}

func printTrace(out io.Writer, body []byte) error {
	var t trace
	if err := json.Unmarshal(body, &t); err != nil {
		return fmt.Errorf("decode the hub's answer: %w", err)
	}
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	if t.Event.ID != "" {
		p("event      %s  %s  account %s  chat %s  seq %d  %s", t.Event.ID, t.Event.Type, t.Event.Account, t.Event.Chat, t.Event.Seq, stamp(&t.Event.Time))
	}
	for _, s := range t.Stages {
		p("stage      %-7s %s", s.Stage, stamp(s.At))
	}
	if t.Verdict.RuleSet != "" {
		p("rules      version %s", t.Verdict.RuleSet)
	}
	for _, r := range t.Verdict.Rules {
		p("rule       %s: %s %s", r.Rule, r.Result, r.Note)
		for _, name := range r.Unrouted {
			p("unrouted   %s by %s: no connector of this name gets this event", name, r.Rule)
		}
	}
	switch v := t.Verdict; {
	case v.Drop:
		p("verdict    dropped: no connector gets it")
	case len(v.Unrouted) > 0 && len(v.Endpoints) == 0:
		p("verdict    no connector gets it: all routes lead nowhere (%s)", strings.Join(v.Unrouted, ", "))
	}
	for _, s := range t.Sends {
		p("send       %s to %s by %s: %s, attempt %d %s", s.MessageID, s.To, cmp.Or(s.Rule, "request"), s.State, s.Attempt, s.Reason)
	}
	for _, d := range t.Deliveries {
		p("delivery   %s to %s: %s %s", d.ID, d.Endpoint, d.State, d.Reason)
		for _, a := range d.Attempts {
			p("  attempt  %d  %s  %s  code %d  %s", a.N, stamp(&a.At), a.Status, a.Code, a.Reason)
		}
	}
	return nil
}

func stamp(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}
