package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/control"
	"github.com/wildcathub/wildcat/core/simulator/seed"
)

// newSandboxCommand is `wildcat sandbox`: the WhatsApp simulator as a process of its own.
func newSandboxCommand() *cobra.Command {
	var listen, data, seedFile, restore string
	var exitWithStdin, verbose bool
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "Run a simulated WhatsApp, with phones that you control over HTTP",
		Long: `Run a simulated WhatsApp on a loopback address. A hub connects to it with
  whatsapp: {network: sandbox, url: "http://127.0.0.1:PORT"}
and phones are made, and write, on its page at /sandbox/, through its control API under the
same path, or in a file for --seed (docs/sandbox.md).`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if exitWithStdin {
				ctx = untilClosed(ctx, cmd.InOrStdin())
			}
			level := slog.LevelWarn
			if verbose {
				level = slog.LevelDebug
			}
			logger := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: level}))
			wanted := &seed.Seed{}
			if seedFile != "" {
				var err error
				if wanted, err = seed.Load(seedFile); err != nil {
					return err
				}
			}
			opts := simulator.Options{Dir: data, Logger: logger, Control: control.Handler, Trace: traceKept}
			if restore != "" {
				file, err := os.Open(restore)
				if err != nil {
					return fmt.Errorf("restore: %w", err)
				}
				defer func() { _ = file.Close() }()
				opts.Snapshot = file
			}
			return runSandbox(ctx, listen, opts, wanted, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:7070", "loopback address to listen on; port 0 takes a free one")
	cmd.Flags().StringVar(&data, "data", "", "folder that keeps the state; without it, it is gone at the end")
	cmd.Flags().StringVar(&seedFile, "seed", "", "YAML file of phones, groups and automatic replies to make; may be given again at each start")
	cmd.Flags().StringVar(&restore, "restore", "", "file that GET /sandbox/snapshot gave, to start from; --data must be empty then")
	cmd.Flags().BoolVar(&exitWithStdin, "exit-with-stdin", false, "end when standard input is closed, as it is when the parent dies")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "log each connection")
	return cmd
}

// traceKept is how many stanzas the page and the control API can show.
const traceKept = 2000

// runSandbox serves until ctx ends. It prints one line once it is ready, all that the seed
// wants included.
func runSandbox(ctx context.Context, listen string, opts simulator.Options, wanted *seed.Seed, out io.Writer) error {
	s, err := simulator.New(opts)
	if err != nil {
		return fmt.Errorf("open sandbox: %w", err)
	}
	if err = wanted.Apply(ctx, s); err != nil {
		return errors.Join(err, s.Close())
	}
	if err = s.Start(listen); err != nil {
		return errors.Join(fmt.Errorf("start sandbox: %w", err), s.Close())
	}
	if _, err = fmt.Fprintf(out, "sandbox listening on %s\n", s.URL()); err != nil {
		return errors.Join(err, s.Close())
	}
	<-ctx.Done()
	return s.Close()
}

// untilClosed returns a context that also ends when r does. Its goroutine lives as long
// as r: a read of standard input cannot be broken off.
func untilClosed(ctx context.Context, r io.Reader) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, r)
	}()
	return ctx
}
