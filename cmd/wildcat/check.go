package main

import (
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
			cfg, err := config.Load(file, config.Options{})
			if err != nil {
				return report(cmd, err)
			}
			summary, problems := app.Check(cmd.Context(), cfg)
			for _, p := range problems {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), p)
			}
			if len(problems) > 0 {
				return errReported
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), summary)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "configuration file (default wildcat.yaml, which need not exist)")
	return cmd
}
