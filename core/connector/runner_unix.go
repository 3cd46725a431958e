//go:build unix && !linux

package connector

import (
	"os"
	"os/exec"
	"syscall"
)

// There is no parent-death signal here: a connector's own parent watch has to do.
func setAttributes(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// execute leaves the path: without /proc a descriptor cannot be executed.
func execute(*exec.Cmd, *os.File) {}

func limitResources(int) {}

func awaitExit(int) {}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
