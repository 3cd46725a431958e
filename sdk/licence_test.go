// SPDX-License-Identifier: Apache-2.0

package sdk_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A connector may have any licence only as long as nothing that it links is GPL.
func TestTheSDKAndTheExamplesReachNoGPLCode(t *testing.T) {
	root, err := filepath.Abs("..")
	require.NoError(t, err)
	for _, dir := range []string{"sdk", "examples"} { // reading the sources makes a cached result of this test depend on them
		require.NoError(t, filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") {
				_, err = os.ReadFile(path)
			}
			return err
		}))
	}
	cmd := exec.Command("go", "list", "-deps", "-test", "./sdk/...", "./examples/...")
	cmd.Dir = root
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	deps := strings.Fields(string(out))
	require.Contains(t, deps, "github.com/wildcathub/wildcat/examples/connector-go")
	for _, d := range deps {
		for _, bad := range []string{
			"go.mau.fi/libsignal", "go.mau.fi/whatsmeow",
			"github.com/wildcathub/wildcat/core", "github.com/wildcathub/wildcat/cmd", "github.com/wildcathub/wildcat/plugins",
		} {
			require.False(t, d == bad || strings.HasPrefix(d, bad+"/"), "sdk or examples reach %s", d)
		}
	}
}
