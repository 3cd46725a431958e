package lua

import (
	"bytes"
	"errors"
	"fmt"

	glua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

const (
	// maxConcats bounds the ".." and "^" in one expression: both associate to the
	// right, so that the parser must stack all of them.
	maxConcats = 1000
	// maxNames bounds distinct names and constants: the compiler looks each up in a
	// list.
	maxNames = 8000
	// maxDepth bounds the depth of the syntax tree, and so the recursion of the passes
	// over it.
	maxDepth = 1000
)

// compile turns a file into code that any number of states share.
func compile(src *source, text []byte, lim Limits) (proto *glua.FunctionProto, err error) {
	defer func() {
		// The compiler panics on what it does not foresee. The file is to blame.
		if rcv := recover(); rcv != nil {
			proto, err = nil, fmt.Errorf("the compiler gave up: %v", rcv)
		}
	}()
	if len(text) > lim.SourceBytes {
		return nil, fmt.Errorf("%d bytes is more than the limit of %d for a rule file", len(text), lim.SourceBytes)
	}
	if bytes.HasPrefix(text, []byte("\x1b")) {
		return nil, errors.New("binary chunks are not supported")
	}
	if err := checkTokens(text, src.file, lim.Nesting); err != nil {
		return nil, err
	}
	chunk, err := parse.Parse(bytes.NewReader(text), src.file)
	if err != nil {
		return nil, err
	}
	if chunk == nil {
		return nil, errors.New("the parser gave up")
	}
	chunk, err = rewrite(chunk)
	if err != nil {
		return nil, err
	}
	proto, err = generate(chunk, src.file)
	if err != nil {
		return nil, err
	}
	dropArg(proto)
	return proto, nil
}

// dropArg makes vararg functions not build Lua 5.0's table "arg": it is 3 KB a call.
func dropArg(p *glua.FunctionProto) {
	p.IsVarArg &^= glua.VarArgNeedsArg
	for _, sub := range p.FunctionPrototypes {
		dropArg(sub)
	}
}

// checkTokens refuses what would take the parser's stack or the compiler's
// recursion too far, before either sees it.
func checkTokens(text []byte, file string, nesting int) error {
	sc := parse.NewScanner(bytes.NewReader(text), file)
	lx := &parse.Lexer{}
	names := map[string]struct{}{}
	level, prefix := 0, 0
	concats := []int{0} // of each open level
	for {
		tok, err := sc.Scan(lx)
		if err != nil {
			return nil //nolint:nilerr // the parser reports it better
		}
		lx.PrevTokenType = tok.Type
		if tok.Type < 0 {
			return nil
		}
		too := func(format string, args ...any) error {
			return &lineError{tok.Pos.Line, fmt.Sprintf(format, args...)}
		}
		switch tok.Type {
		case '(', '{', '[', parse.TFunction, parse.TDo, parse.TThen, parse.TRepeat:
			level++
			concats = append(concats, 0)
			if level > nesting {
				return too("brackets and blocks are nested more than %d deep", nesting)
			}
		case ')', '}', ']', parse.TEnd, parse.TUntil:
			if level > 0 {
				level--
				concats = concats[:len(concats)-1]
			}
		case parse.TElse, parse.TElseIf:
			// Closes a then; elseif opens the next one with its own then.
			if tok.Type == parse.TElseIf && level > 0 {
				level--
				concats = concats[:len(concats)-1]
			}
			concats[len(concats)-1] = 0
		case parse.T2Comma, '^':
			concats[len(concats)-1]++
			if concats[len(concats)-1] > maxConcats {
				return too("more than %d operators '..' or '^' in one expression", maxConcats)
			}
		case ',', ';', '=', parse.TLocal, parse.TReturn, parse.TIf, parse.TWhile, parse.TFor, parse.TAnd, parse.TOr:
			concats[len(concats)-1] = 0
		case parse.TIdent, parse.TString, parse.TNumber:
			names[tok.Str] = struct{}{}
			if len(names) > maxNames {
				return too("more than %d different names and constants", maxNames)
			}
		}
		switch tok.Type {
		case '-', '#', parse.TNot:
			prefix++
			if prefix > nesting {
				return too("more than %d operators before one value", nesting)
			}
		default:
			prefix = 0
		}
	}
}

// The names of the functions that rewritten code calls. No source can spell them,
// so no rule can take or replace them; the chunk gets them as its arguments.
const (
	nameConcat = "(concat)"
	nameTable  = "(table)"
	nameSet    = "(set)"
	nameLen    = "(len)"
)

// prologue is `local (concat), (table), (set), (len) = ...`.
func prologue() ast.Stmt {
	all := &ast.Comma3Expr{}
	all.SetLine(1)
	s := &ast.LocalAssignStmt{Names: []string{nameConcat, nameTable, nameSet, nameLen}, Exprs: []ast.Expr{all}}
	s.SetLine(1)
	s.SetLastLine(1)
	return s
}
