// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// lineFile is a file that holds whole lines only: what a crash left of a line is cut
// off when it is opened, and what could not be written is cut off at once.
type lineFile struct {
	f   *os.File
	end int64 // behind the last whole line
}

func openLines(path string) (*lineFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open file: %w", err)
	}
	l := &lineFile{f: f}
	if l.end, err = wholeLines(f); err == nil {
		err = l.cut()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("repair %s: %w", path, err), f.Close())
	}
	return l, nil
}

// wholeLines returns where the last line that has an end ends, reading backwards.
func wholeLines(f *os.File) (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64<<10)
	for end := st.Size(); end > 0; {
		n := min(int64(len(buf)), end)
		if _, err := f.ReadAt(buf[:n], end-n); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.LastIndexByte(buf[:n], '\n'); i >= 0 {
			return end - n + int64(i) + 1, nil
		}
		end -= n
	}
	return 0, nil
}

// append makes text, which is whole lines, durable, or leaves the file as it was.
func (l *lineFile) append(text []byte) error {
	_, err := l.f.WriteAt(text, l.end)
	if err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		return errors.Join(err, l.cut())
	}
	l.end += int64(len(text))
	return nil
}

func (l *lineFile) cut() error {
	if err := l.f.Truncate(l.end); err != nil {
		return err
	}
	return l.f.Sync()
}

func (l *lineFile) close() error { return l.f.Close() }
