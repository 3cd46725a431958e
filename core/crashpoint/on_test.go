//go:build crashpoints

package crashpoint_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/crashpoint"
)

func TestKillsItselfAtTheNthHitAndLogsIt(t *testing.T) {
	if os.Getenv("CRASHPOINT_CHILD") != "" {
		for range 5 {
			crashpoint.Hit("other")
			crashpoint.Hit("here")
			_, _ = os.Stdout.WriteString("passed\n")
		}
		return
	}
	log := filepath.Join(t.TempDir(), "log")
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "-test.run=^TestKillsItselfAtTheNthHitAndLogsIt$")
	cmd.Env = append(os.Environ(), "CRASHPOINT_CHILD=1", "WILDCAT_CRASH_AT=here:3", "WILDCAT_CRASH_LOG="+log)
	out, err := cmd.Output()
	require.Error(t, err, "the child must have been killed")
	require.Equal(t, "passed\npassed\n", string(out))
	got, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "here\n", string(got))
}
