package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wildcathub/wildcat/core/migrate"
)

func newMigrateCommand() *cobra.Command {
	var from, to migrate.Place
	var backup bool
	cmd := &cobra.Command{
		Use:   "migrate --from URI --to URI",
		Short: "Move a hub's data between SQLite and MongoDB, device keys and files included",
		Long: `Copies everything that a hub has stored from one database to another, and compares them:
accounts, chats, events, messages, sends, deliveries, webhooks, files and device keys, so
that nobody pairs again. Stop all hubs first. The source keeps all it has, and is marked:
no hub starts on it any more, since two that use the same keys break them. With --backup
the source stays in use, and the target is a copy to be moved back when it is needed; the
same command with --backup gives a source back that was moved and whose target nobody used.

If it is interrupted, run it again. A hub refuses a target that is not whole.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// A password on the command line can be seen by others.
			for _, p := range []*migrate.Place{&from, &to} {
				p.URI = os.ExpandEnv(p.URI)
			}
			if from.SQLite() == to.SQLite() {
				return errors.New("one of --from and --to is sqlite:FILE, the other mongodb://…")
			}
			if err := errors.Join(checkDatabase("from-database", from), checkDatabase("to-database", to)); err != nil {
				return err
			}
			return interrupted(cmd.Context(), runMigrate(cmd.Context(), from, to, backup, cmd.OutOrStdout()))
		},
	}
	f := cmd.Flags()
	f.StringVar(&from.URI, "from", "", "source: sqlite:FILE, relative to its data folder, or mongodb://…; $NAME stands for what the environment says")
	f.StringVar(&to.URI, "to", "", "target, in the same way")
	f.StringVar(&from.Data, "from-data", "./data", "data folder of the source, if it is SQLite")
	f.StringVar(&to.Data, "to-data", "./data", "data folder of the target, if it is SQLite")
	f.StringVar(&from.Database, "from-database", "wildcat", "name of the database of the source, if it is MongoDB")
	f.StringVar(&to.Database, "to-database", "wildcat", "name of the database of the target, if it is MongoDB")
	f.BoolVar(&backup, "backup", false, "the source stays in use")
	for _, name := range []string{"from", "to"} {
		_ = cmd.MarkFlagRequired(name) // it exists
	}
	return cmd
}

func runMigrate(ctx context.Context, from, to migrate.Place, backup bool, out io.Writer) (err error) {
	source, err := migrate.OpenSource(ctx, from)
	if err != nil {
		return fmt.Errorf("open the source: %w", err)
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := migrate.Open(ctx, to)
	if err != nil {
		return fmt.Errorf("open the target: %w", err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	report, err := migrate.Run(ctx, source, target, migrate.Options{Backup: backup, Progress: func(kind string, n int) {
		_, _ = fmt.Fprintf(out, "copied %s: %d\n", kind, n)
	}})
	if perr := printReport(out, report); perr != nil {
		return errors.Join(err, perr)
	}
	switch {
	case err != nil && report.Before:
		return fmt.Errorf("%w: it was moved before, so that nothing was copied, and one of them was used since", err)
	case err != nil:
		return err
	case report.Before:
		_, err = fmt.Fprintln(out, "it was moved before; nothing was copied, and both are equal")
	case backup:
		_, err = fmt.Fprintf(out, "%s is a copy of %s\n", target.Name, source.Name)
	default:
		_, err = fmt.Fprintf(out, "%s is now in %s\n", source.Name, target.Name)
	}
	if err != nil {
		return err
	}
	return printNext(out, source.Name, target.Name, backup)
}

// printNext says where hubs may start now.
func printNext(out io.Writer, source, target string, backup bool) error {
	next := fmt.Sprintf("start hubs on %s; none starts on %s any more; to go back, move back into a new database or data folder", target, source)
	if backup {
		// The source may be the hubs' database, or a copy that is put back.
		next = fmt.Sprintf("%s keeps all it has; start hubs on it or on %s, and never on both, since two that use the same keys lose messages", source, target)
	}
	_, err := fmt.Fprintln(out, next)
	return err
}

func printReport(out io.Writer, report migrate.Report) error {
	const digits = 16 // of a hash, for people
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(report.Lines) > 0 {
		_, _ = fmt.Fprintln(w, "KIND\tSOURCE\tTARGET\tHASH OF SOURCE\tHASH OF TARGET\t")
	}
	for _, l := range report.Lines {
		verdict := "equal"
		if !l.Equal() {
			verdict = "DIFFERS"
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%.*s\t%.*s\t%s\n", l.Kind, l.Source, l.Target, digits, l.SourceHash, digits, l.Hash, verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, id := range report.Unowned {
		if _, err := fmt.Fprintf(out, "left out: the keys of %s, which no account has\n", id); err != nil {
			return err
		}
	}
	return nil
}
