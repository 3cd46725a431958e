// Command wildcat is the hub: serve runs it, demo shows it, sandbox is a WhatsApp to
// try it on, check reads a configuration, trace shows what became of a message, keys are
// those of the REST API, rules shows and changes the rules of a running hub, migrate moves a
// hub's data to another database, import-legacy takes over the Node service's.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// errReported says that the command has printed what went wrong.
var errReported = errors.New("reported")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "wildcat:", err)
		}
		os.Exit(1)
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "wildcat",
		Short:         "Connects WhatsApp accounts to everything else, and loses nothing",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(newServeCommand(), newCheckCommand(), newDemoCommand(), newSandboxCommand(), newTraceCommand(), newKeysCommand(), newRulesCommand(), newMigrateCommand(), newImportLegacyCommand())
	return root
}
