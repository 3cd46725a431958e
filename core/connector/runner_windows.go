package connector

import (
	"os"
	"os/exec"
	"syscall"
)

// Windows has no process groups that die together, so a program's children may
// outlive it; its own end is enforced.
func setAttributes(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

func execute(*exec.Cmd, *os.File) {}

func limitResources(int) {}

func awaitExit(int) {}

func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
		_ = p.Release()
	}
}
