package scenario

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// modulePath is this module's.
const modulePath = "github.com/wildcathub/wildcat"

// SourceDir returns the folder of the checkout that the working directory is in. What
// is built from source (the example connector) needs it, and a Go toolchain.
func SourceDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Path}} {{.Dir}}").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errors.New("no Go toolchain in PATH: the example connector is built from source")
	}
	path, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if err != nil || path != modulePath {
		return "", fmt.Errorf("the working directory is not a checkout of %s: the example connector is built from source", modulePath)
	}
	return dir, nil
}

// BuildConnector builds the example connector into dir and returns the program's path.
func BuildConnector(ctx context.Context, source, dir string) (string, error) {
	return Build(ctx, source, "./examples/connector-go", filepath.Join(dir, "connector-go"))
}

// Build builds a package of the checkout, with extra arguments for go build.
func Build(ctx context.Context, source, pkg, out string, args ...string) (string, error) {
	if runtime.GOOS == "windows" {
		out += ".exe"
	}
	cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-o", out}, args...), pkg)...)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return out, nil
}
