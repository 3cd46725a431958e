package connector

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// The limits that a program gets: no core file with messages in it, and no more
// descriptors than a connector can need.
const maxFiles = 4096

func setAttributes(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// execute makes cmd run the very file that was hashed, whatever happens to its name.
func execute(cmd *exec.Cmd, bin *os.File) {
	cmd.ExtraFiles = []*os.File{bin} // the child's descriptor 3; it stays open, since a script's interpreter opens it again
	cmd.Path = "/proc/self/fd/3"
}

func limitResources(pid int) {
	_ = unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	var now unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &now) == nil && now.Cur > maxFiles {
		_ = unix.Prlimit(pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: maxFiles, Max: min(now.Max, maxFiles)}, nil)
	}
}

// awaitExit waits for the process to end and leaves it a zombie, whose pid, and so
// whose process group's id, belongs to nobody else.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
