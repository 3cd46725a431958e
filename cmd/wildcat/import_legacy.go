package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/wildcathub/wildcat/core/legacy"
	"github.com/wildcathub/wildcat/core/migrate"
	"github.com/wildcathub/wildcat/core/store"
)

func newImportLegacyCommand() *cobra.Command {
	var database string
	var to migrate.Place
	var abandon bool
	cmd := &cobra.Command{
		Use:   "import-legacy URI | --abandon",
		Short: "Take over accounts, messages, media and webhooks from the database of the Node.js service",
		Long: `Reads the MongoDB database that the Node.js service (Express, Baileys) wrote, and brings its
accounts, webhooks, media and messages into a database of this hub: an SQLite file, or a
MongoDB database of another name. The source is only read.

Accounts come logged out, and pair again: the keys of the old service serve only itself.
Messages come as history: no rule sees them, and no webhook gets them. Each webhook gets a
secret, which is printed once. What the hub has already stays as it is.

If it is interrupted, or the old service has gone on, run it again. Until it is whole no hub
starts on the target. Where it cannot be finished, --abandon gives it up: hubs start again, and
what was taken over stays. The same import can be run again after that, and goes on.`,
		Example: `  wildcat import-legacy mongodb://localhost:27017 --to sqlite:wildcat.db --to-data ./data
  wildcat import-legacy '$MONGO_URL' --database wildcat --to '$MONGO_URL' --to-database wildcat2
  wildcat import-legacy --abandon --to sqlite:wildcat.db --to-data ./data`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case abandon && (len(args) > 0 || cmd.Flags().Changed("database")):
				return errors.New("--abandon takes no source: it gives up what is unfinished in the target")
			case abandon:
				return nil
			}
			return cobra.ExactArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			// A password on the command line can be seen by others.
			to.URI = os.ExpandEnv(to.URI)
			if abandon {
				if err := checkDatabase("to-database", to); err != nil {
					return err
				}
				return interrupted(cmd.Context(), runAbandon(cmd.Context(), to, cmd.OutOrStdout()))
			}
			uri := os.ExpandEnv(args[0])
			if err := errors.Join(checkLegacyDatabase(database), checkDatabase("to-database", to)); err != nil {
				return err
			}
			if to.URI == uri && to.Database == database {
				return fmt.Errorf("source and target are the same database: the hub's collections have the same names and other contents; "+
					"choose another name, such as --to-database %s2, and give it to the hub as DB_NAME", database)
			}
			return interrupted(cmd.Context(), runImport(cmd.Context(), uri, database, to, cmd.OutOrStdout()))
		},
	}
	f := cmd.Flags()
	f.StringVar(&database, "database", "wildcat", "name of the old service's database (its DB_NAME)")
	f.StringVar(&to.URI, "to", "sqlite:wildcat.db", "target: sqlite:FILE, relative to its data folder, or mongodb://…; $NAME stands for what the environment says")
	f.StringVar(&to.Data, "to-data", "./data", "data folder of the target, if it is SQLite")
	f.StringVar(&to.Database, "to-database", "wildcat", "name of the database of the target, if it is MongoDB")
	f.BoolVar(&abandon, "abandon", false, "give up an import into the target that cannot be finished, and keep what was taken over")
	return cmd
}

func runImport(ctx context.Context, uri, database string, to migrate.Place, out io.Writer) (err error) {
	source, err := legacy.Open(ctx, uri, database)
	if err != nil {
		return hintAbandon(ctx, to, fmt.Errorf("open the source: %w", err))
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := migrate.Open(ctx, to)
	if err != nil {
		return fmt.Errorf("open the target: %w", err)
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	report, err := migrate.Import(ctx, source, target, migrate.ImportOptions{
		Progress: func(kind string, n int) { _, _ = fmt.Fprintf(out, "taken over %s: %d\n", kind, n) },
		Registered: func(w store.Webhook) {
			_, _ = fmt.Fprintf(out, "webhook %s for %s signs with %s (shown this once)\n", w.ID, migrate.PublicURL(w.URL), w.Secret)
		},
	})
	if perr := printImported(out, report); perr != nil || err != nil {
		return errors.Join(err, perr)
	}
	_, err = fmt.Fprintf(out, "%s is taken over into %s; its accounts pair again\n", source.Name, target.Name)
	return err
}

func printImported(out io.Writer, report migrate.Imported) error {
	const digits = 16 // of a hash, for people
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	if len(report.Lines) > 0 {
		_, _ = fmt.Fprintln(w, "KIND\tFOUND\tLEFT OUT\tSOURCE\tTARGET\tHASH OF SOURCE\tHASH OF TARGET\t")
	}
	for _, l := range report.Lines {
		verdict := "equal"
		if !l.Equal() {
			verdict = "DIFFERS"
		}
		_, _ = fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%.*s\t%.*s\t%s\n",
			l.Kind, l.Found, l.Found-l.Source, l.Source, l.Target, digits, l.SourceHash, digits, l.Hash, verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, l := range report.Lines {
		for _, left := range l.Left {
			_, _ = fmt.Fprintf(out, "left out: %d of %s, since %s: %s\n", left.N, l.Kind, left.Reason, strings.Join(left.Examples, ", "))
		}
	}
	for _, old := range slices.Sorted(maps.Keys(report.Renamed)) {
		_, _ = fmt.Fprintf(out, "account %s is now called %s: its id holds what an id cannot, or was given to another\n", old, report.Renamed[old])
	}
	return nil
}
