package connector

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// executable says what is wrong with a program's path, and what to do.
func executable(path string) error {
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no program at %s: build it, or set enabled: false", path)
	case err != nil:
		return fmt.Errorf("program: %w", err)
	case st.IsDir():
		return fmt.Errorf("%s is a folder, not a program", path)
	case runtime.GOOS != "windows" && st.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable: chmod +x it", path)
	}
	return nil
}
