package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/wildcathub/wildcat/core/config"
)

func newTraceCommand() *cobra.Command {
	var file, server, account string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "trace ID",
		Short: "Show what became of a message: stages, verdict, sends, attempts",
		Long:  "Asks a running hub. ID is an event id, or with --account a WhatsApp message id.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if server == "" {
				cfg, err := config.Load(file, config.Options{})
				if err != nil {
					return report(cmd, err)
				}
				server = "http://" + net.JoinHostPort(reachable(cfg.Server.Host), strconv.Itoa(cfg.Server.Port))
			}
			body, err := fetchTrace(cmd.Context(), server, account, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), string(body))
				return err
			}
			return printTrace(cmd.OutOrStdout(), body)
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file, for the hub's address")
	cmd.Flags().StringVar(&server, "server", "", "the hub's address, such as http://127.0.0.1:3000")
	cmd.Flags().StringVar(&account, "account", "", "the account, if ID is a WhatsApp message id")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the answer as it came")
	return cmd
}

// reachable is the address at which a hub that listens on host answers.
func reachable(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return "127.0.0.1"
	}
	return host
}

func fetchTrace(ctx context.Context, server, account, id string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	target := server + "/v1/events/" + url.PathEscape(id) + "/trace"
	if account != "" {
		target += "?account=" + url.QueryEscape(account)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the hub (is it running? --server names another address): %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return nil, fmt.Errorf("read the hub's answer: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		var failure struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(body, &failure)
		return nil, fmt.Errorf("%s: the hub answered %d %s", id, resp.StatusCode, failure.Error)
	}
	return body, nil
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
		RuleSet   string
		Drop      bool
		Tags      []string
		Rules     []struct{ Rule, Result, Note string }
		Endpoints []string
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
	p("event      %s  %s  account %s  chat %s  seq %d  %s", t.Event.ID, t.Event.Type, t.Event.Account, t.Event.Chat, t.Event.Seq, stamp(&t.Event.Time))
	for _, s := range t.Stages {
		p("stage      %-7s %s", s.Stage, stamp(s.At))
	}
	if t.Verdict.RuleSet != "" {
		p("rules      version %s", t.Verdict.RuleSet)
	}
	for _, r := range t.Verdict.Rules {
		p("rule       %s: %s %s", r.Rule, r.Result, r.Note)
	}
	if t.Verdict.Drop {
		p("verdict    dropped: no connector gets it")
	}
	for _, s := range t.Sends {
		p("send       %s to %s by %s: %s, attempt %d %s", s.MessageID, s.To, s.Rule, s.State, s.Attempt, s.Reason)
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
