package app_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"
)

var (
	fenced  = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	docPath = filepath.Join("..", "..", "docs", "sandbox.md")
)

// blocks are the code blocks of docs/sandbox.md in one language.
func blocks(t *testing.T, language string) []string { return blocksOf(t, docPath, language) }

func blocksOf(t *testing.T, path, language string) []string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	var out []string
	for _, m := range fenced.FindAllStringSubmatch(string(text), -1) {
		if m[1] == language {
			out = append(out, m[2])
		}
	}
	require.NotEmpty(t, out)
	return out
}

// shell runs a script with the programs in its PATH, and ends what it left running.
func shell(t *testing.T, dir, path, script string) string {
	t.Helper()
	for _, program := range []string{"bash", "curl"} {
		if _, err := exec.LookPath(program); err != nil || runtime.GOOS == "windows" {
			t.Skipf("the scripts of the documents need %s, of a Unix system", program)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || :; wait || :' EXIT\n"+script)
	cmd.Dir, cmd.WaitDelay = dir, 10*time.Second
	cmd.Env = append(os.Environ(), "PATH="+path+string(os.PathListSeparator)+os.Getenv("PATH"), "GOBIN="+path)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// freePorts are ports that were free a moment ago.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var out []string
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { require.NoError(t, ln.Close()) }()
		_, port, err := net.SplitHostPort(ln.Addr().String())
		require.NoError(t, err)
		out = append(out, port)
	}
	return out
}

func TestTheSandboxsDocumentDoesWhatItSays(t *testing.T) {
	var script strings.Builder
	for _, block := range blocks(t, "sh") {
		if !strings.HasPrefix(block, "#!") { // a file, which has a test of its own
			fmt.Fprintln(&script, block)
		}
	}
	ports := freePorts(t, 2)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "scripts"), os.DirFS(filepath.Join("..", "..", "scripts"))))
	text := strings.NewReplacer("7070", ports[0], "127.0.0.1:3000", "127.0.0.1:"+ports[1]).Replace(script.String())
	text = "export PORT=" + ports[1] + "\n" + text
	require.Contains(t, shell(t, dir, binaries, text), `"text":"pong hello"`)
}

func TestTheSandboxsCIJobPasses(t *testing.T) {
	source, err := filepath.Abs(filepath.Join("..", ".."))
	require.NoError(t, err)
	file, err := os.ReadFile(filepath.Join(source, "examples", "sandbox", "ci.yml"))
	require.NoError(t, err)
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct{ Run string }
		}
	}
	require.NoError(t, yaml.Unmarshal(file, &workflow))
	var script strings.Builder
	for _, job := range workflow.Jobs {
		for _, step := range job.Steps {
			fmt.Fprintln(&script, step.Run)
		}
	}
	require.Contains(t, script.String(), "test.sh")
	require.Contains(t, shell(t, source, t.TempDir(), script.String()), "passed")
}

func TestTheSandboxsDocumentQuotesTheExamples(t *testing.T) {
	quoted := append(blocks(t, "yaml"), blocks(t, "sh")...)
	for _, name := range []string{"ci.yml", "test.sh", "wildcat.yaml", "seed.yaml"} {
		file, err := os.ReadFile(filepath.Join("..", "..", "examples", "sandbox", name))
		require.NoError(t, err)
		require.Contains(t, quoted, string(file), "docs/sandbox.md does not quote examples/sandbox/%s as it is", name)
	}
	example, err := os.ReadFile(filepath.Join("..", "simulator", "hello", "hello_test.go"))
	require.NoError(t, err)
	require.Equal(t, []string{string(example)}, blocks(t, "go"), "docs/sandbox.md does not quote core/simulator/hello/hello_test.go as it is")
}
