package lua

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	glua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

const (
	// maxCode is the furthest jump that an instruction can hold. The compiler tests
	// jumps forwards only, and makes wrong ones backwards.
	maxCode = 1<<17 - 1
	// maxUpvalues is what the compiler counts to, before it begins at 0 again.
	maxUpvalues = 255
)

// generate makes the code of a file. What is too much for the compiler in the file's own
// code has a line, too: that of the statement with which it becomes too much.
func generate(chunk []ast.Stmt, file string) (*glua.FunctionProto, error) {
	proto, err := tryGenerate(chunk, file)
	if err == nil || lineOf(err) > 0 {
		return proto, err
	}
	// Of every beginning of the file, the shortest that fails in the same way ends with
	// the statement to blame.
	at := sort.Search(len(chunk), func(i int) bool {
		_, short := tryGenerate(beginning(chunk, i+1), file)
		return short != nil && short.Error() == err.Error()
	})
	if at == len(chunk) || chunk[at].Line() == 0 {
		return nil, err
	}
	msg := err.Error()
	var refused *glua.CompileError
	if errors.As(err, &refused) {
		msg = refused.Message
	}
	return nil, &lineError{chunk[at].Line(), msg}
}

// beginning is the first n statements, and the labels behind them: a goto may need them.
func beginning(chunk []ast.Stmt, n int) []ast.Stmt {
	out := slices.Clone(chunk[:n])
	for _, s := range chunk[n:] {
		if label, ok := s.(*ast.LabelStmt); ok {
			out = append(out, label)
		}
	}
	return out
}

func lineOf(err error) int {
	var refused *glua.CompileError
	var own *lineError
	switch {
	case errors.As(err, &refused):
		return refused.Line
	case errors.As(err, &own):
		return own.line
	}
	return 0
}

func tryGenerate(chunk []ast.Stmt, file string) (proto *glua.FunctionProto, err error) {
	defer func() {
		// The compiler panics on what it does not foresee. The file is to blame.
		if rcv := recover(); rcv != nil {
			proto, err = nil, fmt.Errorf("the compiler gave up: %v", rcv)
		}
	}()
	if proto, err = glua.Compile(chunk, file); err != nil {
		return nil, err
	}
	if err := checkSize(proto); err != nil {
		return nil, err
	}
	return proto, nil
}

// checkSize refuses functions that the compiler makes wrong code for.
func checkSize(p *glua.FunctionProto) error {
	for _, sub := range p.FunctionPrototypes {
		if err := checkSize(sub); err != nil {
			return err
		}
	}
	if len(p.Code) > maxCode {
		return &lineError{p.LineDefined, fmt.Sprintf("a function has more than %d instructions", maxCode)}
	}
	if len(p.DbgUpvalues) > maxUpvalues {
		return &lineError{p.LineDefined, fmt.Sprintf("a function uses more than %d local variables of functions around it", maxUpvalues)}
	}
	return nil
}

// explain says what to do about a mistake whose message speaks of the compiler's inside.
func explain(msg string) string {
	if strings.HasPrefix(msg, "too long to jump") {
		return fmt.Sprintf("a block has more than %d instructions", maxCode)
	}
	if strings.HasPrefix(msg, "too many local variables") || strings.HasPrefix(msg, "register overflow") {
		return msg + ": a function has room for about 200 local variables, arguments and values between; put some into a table, or between do and end"
	}
	return msg
}
