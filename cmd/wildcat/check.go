package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/wildcathub/wildcat/core/app"
	"github.com/wildcathub/wildcat/core/config"
)

func newCheckCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration, the rules and the connectors, and change nothing",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, found, err := load(file, config.Options{})
			if err != nil {
				return err
			}
			summary, problems := app.Check(cmd.Context(), cfg, found)
			if len(problems) > 0 {
				return reportLines(cmd, problems)
			}
			for _, note := range app.Notes(cfg) {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), note)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), summary)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (default wildcat.yaml, which need not exist)")
	return cmd
}

// load is config.Load, with the mistakes that it found apart from other errors: they
// do not keep the rest from being checked.
func load(file string, opts config.Options) (*config.Config, config.Problems, error) {
	cfg, err := config.Load(file, opts)
	var found config.Problems
	if errors.As(err, &found) {
		return cfg, found, nil
	}
	return cfg, nil, err
}

// reportLines prints mistakes line by line, as editors read them.
func reportLines(cmd *cobra.Command, problems []string) error {
	for _, p := range problems {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
	return errReported
}
