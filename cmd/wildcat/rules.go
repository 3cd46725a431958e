package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

func newRulesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "Show the rules of a running hub, reload them, go back to earlier ones",
	}
	cmd.AddCommand(
		newRulesSubcommand("list", "Show the rules in force, with their counts", cobra.NoArgs, printRules,
			func([]string) (string, string, any) { return http.MethodGet, "/v1/rules", nil }),
		newRulesSubcommand("reload", "Read the rules again and put them into force, on all hubs", cobra.NoArgs, printRulesChange,
			func([]string) (string, string, any) { return http.MethodPost, "/v1/rules/reload", nil }),
		newRulesSubcommand("versions", "List the versions that are kept, the one in force first", cobra.NoArgs, printRuleVersions,
			func([]string) (string, string, any) { return http.MethodGet, "/v1/rules/versions", nil }),
		newRulesSubcommand("rollback [VERSION]", "Put an earlier version into force again, by default the one before", cobra.MaximumNArgs(1), printRulesChange,
			func(args []string) (string, string, any) {
				return http.MethodPost, "/v1/rules/rollback", map[string]string{"version": strings.Join(args, "")}
			}),
	)
	return cmd
}

func newRulesSubcommand(use, short string, args cobra.PositionalArgs, show func(io.Writer, []byte) error,
	request func(args []string) (method, path string, body any),
) *cobra.Command {
	var flags hubFlags
	cmd := &cobra.Command{
		Use: use, Short: short, Args: args,
		Long: short + ".\nAsks a running hub; files are read where that hub runs.",
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := flags.hub()
			if err != nil {
				return report(cmd, err)
			}
			method, path, body := request(args)
			answer, err := h.ask(cmd.Context(), method, path, body)
			if err != nil {
				return err
			}
			if flags.json {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), string(answer))
				return err
			}
			return show(cmd.OutOrStdout(), answer)
		},
	}
	flags.register(cmd)
	return cmd
}

// ruleVersion is a version as the hub shows it.
type ruleVersion struct {
	Version string
	Number  uint64
	Since   *time.Time
	Hub     *string
	Cause   string
	Count   int
}

func (v ruleVersion) String() string {
	s := fmt.Sprintf("version %s (change %d, by %s, %s", v.Version, v.Number, v.Cause, stamp(v.Since))
	if v.Hub != nil {
		s += ", hub " + *v.Hub
	}
	return s + ")"
}

func printRules(out io.Writer, body []byte) error {
	type failure struct {
		At      *time.Time
		Version *string
		Error   string
	}
	var answer struct {
		ruleVersion
		Rules []struct {
			Name, File, State, Reason, LastError string
			Runs, Failures                       uint64
			FailuresInARow, FailingChats         int
		}
		Behind, Failure *failure
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("decode the hub's answer: %w", err)
	}
	_, _ = fmt.Fprintf(out, "%d rules, %s\n", len(answer.Rules), answer.ruleVersion)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, r := range answer.Rules {
		row := ""
		if r.FailuresInARow > 0 {
			row = fmt.Sprintf(" (%d in a row, in %d chats)", r.FailuresInARow, r.FailingChats)
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d runs\t%d failed%s\t%s\n", r.Name, r.File, r.State, r.Runs, r.Failures, row, r.Reason)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if f := answer.Behind; f != nil && f.Version != nil {
		_, _ = fmt.Fprintf(out, "behind: version %s is in force on other hubs, and this one cannot load it:\n%s\n", *f.Version, f.Error)
	}
	if f := answer.Failure; f != nil {
		_, _ = fmt.Fprintf(out, "the last change failed, %s:\n%s\n", stamp(f.At), f.Error)
	}
	return nil
}

func printRuleVersions(out io.Writer, body []byte) error {
	var answer struct{ Versions []ruleVersion }
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("decode the hub's answer: %w", err)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, v := range answer.Versions {
		state, hub := "", ""
		if i == 0 {
			state = "in force"
		}
		if v.Hub != nil {
			hub = "hub " + *v.Hub
		}
		_, _ = fmt.Fprintf(w, "%s\tchange %d\t%s\t%s\t%d rules\t%s\t%s\n", v.Version, v.Number, stamp(v.Since), v.Cause, v.Count, hub, state)
	}
	return w.Flush()
}

func printRulesChange(out io.Writer, body []byte) error {
	var answer struct {
		ruleVersion
		Before  string
		Changed bool
		Restart []string
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("decode the hub's answer: %w", err)
	}
	before := "the same as before"
	if answer.Changed {
		before = "before: " + answer.Before
	}
	_, err := fmt.Fprintf(out, "in force: %d rules, %s; %s\n", answer.Count, answer.ruleVersion, before)
	if len(answer.Restart) > 0 {
		_, err = fmt.Fprintf(out, "changed too, and in force after a restart: %s\n", strings.Join(answer.Restart, ", "))
	}
	return err
}
