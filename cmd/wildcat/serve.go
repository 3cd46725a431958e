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
	"time"

	"github.com/spf13/cobra"

	"github.com/wildcathub/wildcat/core/app"
	"github.com/wildcathub/wildcat/core/config"
)

func newServeCommand() *cobra.Command {
	var file, data string
	var sandbox, exitWithStdin bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the hub",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts := config.Options{Override: func(c *config.Config) {
				if data != "" {
					c.Data = data
				}
				if sandbox {
					c.WhatsApp.Network = config.NetworkSandbox
				}
			}}
			cfg, found, err := load(file, opts)
			if err != nil {
				return err
			}
			if problems := app.CheckStart(cmd.Context(), cfg, found); len(problems) > 0 {
				return reportLines(cmd, problems)
			}
			ctx := cmd.Context()
			if exitWithStdin {
				ctx = untilClosed(ctx, cmd.InOrStdin())
			}
			return report(cmd, serve(ctx, cfg, func() (*config.Config, error) { return config.Load(file, opts) }, cmd.OutOrStdout()))
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (default wildcat.yaml, which need not exist)")
	cmd.Flags().StringVar(&data, "data", "", "data folder (default what the configuration says, ./data)")
	cmd.Flags().BoolVar(&sandbox, "sandbox", false, "use a simulated WhatsApp; the same as whatsapp.network: sandbox")
	cmd.Flags().BoolVar(&exitWithStdin, "exit-with-stdin", false, "end when standard input is closed, as it is when the parent dies")
	return cmd
}

// serve runs the hub until ctx ends. It prints one line once it is ready.
func serve(ctx context.Context, cfg *config.Config, reread func() (*config.Config, error), out io.Writer) error {
	log, err := newLogger(cfg.Log, os.Stderr)
	if err != nil {
		return err
	}
	hup, gone := hangups()
	defer signal.Stop(hup)
	hub, err := app.New(ctx, cfg, app.Deps{Version: version, Logger: log, Reread: reread, QR: qrTerminal(os.Stderr)})
	if err != nil {
		return err
	}
	if err := hub.Start(ctx); err != nil {
		return errors.Join(err, hub.Stop())
	}
	if _, err := fmt.Fprintf(out, "wildcat listening on %s\n", hub.URL()); err != nil {
		return errors.Join(err, hub.Stop())
	}
	for {
		select {
		case <-ctx.Done():
			return hub.Stop()
		case err := <-hub.Failed():
			return errors.Join(err, hub.Stop())
		case <-hup:
			if gone() {
				return hub.Stop()
			}
			rctx, cancel := context.WithTimeout(ctx, reloadTimeout)
			_ = hub.ReloadRules(rctx) // the log has it
			cancel()
		}
	}
}

// reloadTimeout bounds a reload that nobody waits for.
const reloadTimeout = 30 * time.Second

// hangups yields SIGHUP, which asks for a reload of the rules. Closing a terminal sends it,
// too: gone says that this is why, and the hub ends as it does on other signals, unless it
// was started with nohup. It may be called after a signal only.
func hangups() (signals chan os.Signal, gone func() bool) {
	stays := signal.Ignored(syscall.SIGHUP) || !hasTerminal()
	signals = make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	return signals, func() bool { return !stays && !hasTerminal() }
}

// hasTerminal says whether the process hangs on a terminal.
func hasTerminal() bool {
	f, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// qrTerminal returns f if a person may be looking at it: a QR code is a credential,
// and does not belong into a log file.
func qrTerminal(f *os.File) io.Writer {
	st, err := f.Stat()
	if err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	return f
}

func newLogger(cfg config.LogConfig, w io.Writer) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Level)); err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return slog.New(slog.NewTextHandler(w, opts)), nil
}

// report prints an error that is a list of mistakes line by line, as editors read it.
func report(cmd *cobra.Command, err error) error {
	if err == nil {
		return nil
	}
	if problems := app.Problems(err); len(problems) > 0 {
		return reportLines(cmd, problems)
	}
	return err
}
