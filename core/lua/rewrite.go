package lua

import (
	"fmt"
	"strconv"

	"github.com/yuin/gopher-lua/ast"
)

// maxOperands is how many operands of ".." go to one call. Each needs a register, of
// which a function has 200. A longer chain, which stock Lua here refuses, is joined
// in groups; only a __concat in so long a chain could see the difference.
const maxOperands = 100

// smallIndex is the largest constant index that is set without a check: the gap
// that it can leave in a table is harmless.
const smallIndex = 64

// rewrite turns the operations of the language that can take much memory or time in
// one instruction into calls that account for it:
//
//	a .. b .. c   (concat)(a, b, c)
//	{…}           (table)({…})
//	t[k] = v      (set)(t, k, v)     unless k is a field name or a small number
//	#t            (len)(t)
//
// Line numbers survive, evaluation order too.
func rewrite(chunk []ast.Stmt) (out []ast.Stmt, err error) {
	defer func() {
		if rcv := recover(); rcv != nil {
			deep, ok := rcv.(*lineError)
			if !ok {
				panic(rcv)
			}
			err = deep
		}
	}()
	w := &rewriter{}
	out = append([]ast.Stmt{prologue()}, w.block(chunk)...)
	return out, nil
}

type rewriter struct{ depth, line int }

func (w *rewriter) enter(n ast.PositionHolder) {
	if n.Line() > 0 {
		w.line = n.Line()
	}
	w.depth++
	if w.depth > maxDepth {
		panic(&lineError{w.line, fmt.Sprintf("an expression or a chain of elseif is more than %d deep", maxDepth)})
	}
}

func (w *rewriter) leave() { w.depth-- }

func (w *rewriter) block(stmts []ast.Stmt) []ast.Stmt {
	out := make([]ast.Stmt, len(stmts))
	for i, s := range stmts {
		out[i] = w.stmt(s)
	}
	return out
}

func (w *rewriter) stmt(s ast.Stmt) ast.Stmt {
	w.enter(s)
	defer w.leave()
	switch s := s.(type) {
	case *ast.AssignStmt:
		w.exprs(s.Lhs)
		w.exprs(s.Rhs)
		return assign(s)
	case *ast.LocalAssignStmt:
		w.exprs(s.Exprs)
	case *ast.FuncCallStmt:
		s.Expr = w.expr(s.Expr)
	case *ast.DoBlockStmt:
		s.Stmts = w.block(s.Stmts)
	case *ast.WhileStmt:
		s.Condition = w.expr(s.Condition)
		s.Stmts = w.block(s.Stmts)
	case *ast.RepeatStmt:
		s.Condition = w.expr(s.Condition)
		s.Stmts = w.block(s.Stmts)
	case *ast.IfStmt:
		s.Condition = w.expr(s.Condition)
		s.Then = w.block(s.Then)
		s.Else = w.block(s.Else)
	case *ast.NumberForStmt:
		s.Init, s.Limit = w.expr(s.Init), w.expr(s.Limit)
		if s.Step != nil {
			s.Step = w.expr(s.Step)
		}
		s.Stmts = w.block(s.Stmts)
	case *ast.GenericForStmt:
		w.exprs(s.Exprs)
		s.Stmts = w.block(s.Stmts)
	case *ast.FuncDefStmt:
		s.Func.Stmts = w.block(s.Func.Stmts)
	case *ast.ReturnStmt:
		w.exprs(s.Exprs)
	}
	return s
}

func (w *rewriter) exprs(es []ast.Expr) {
	for i, e := range es {
		es[i] = w.expr(e)
	}
}

func (w *rewriter) expr(e ast.Expr) ast.Expr {
	w.enter(e)
	defer w.leave()
	switch e := e.(type) {
	case *ast.AttrGetExpr:
		e.Object, e.Key = w.expr(e.Object), w.expr(e.Key)
	case *ast.TableExpr:
		for _, f := range e.Fields {
			if f.Key != nil {
				f.Key = w.expr(f.Key)
			}
			f.Value = w.expr(f.Value)
		}
		return call(nameTable, e.Line(), e)
	case *ast.FuncCallExpr:
		if e.Func != nil {
			e.Func = w.expr(e.Func)
		}
		if e.Receiver != nil {
			e.Receiver = w.expr(e.Receiver)
		}
		w.exprs(e.Args)
	case *ast.LogicalOpExpr:
		e.Lhs, e.Rhs = w.expr(e.Lhs), w.expr(e.Rhs)
	case *ast.RelationalOpExpr:
		e.Lhs, e.Rhs = w.expr(e.Lhs), w.expr(e.Rhs)
	case *ast.ArithmeticOpExpr:
		e.Lhs, e.Rhs = w.expr(e.Lhs), w.expr(e.Rhs)
	case *ast.StringConcatOpExpr:
		return w.concat(e)
	case *ast.UnaryMinusOpExpr:
		e.Expr = w.expr(e.Expr)
	case *ast.UnaryNotOpExpr:
		e.Expr = w.expr(e.Expr)
	case *ast.UnaryLenOpExpr:
		return call(nameLen, e.Line(), single(w.expr(e.Expr)))
	case *ast.FunctionExpr:
		e.Stmts = w.block(e.Stmts)
	}
	return e
}

// concat flattens a chain of ".."; it associates to the right.
func (w *rewriter) concat(e *ast.StringConcatOpExpr) ast.Expr {
	var operands []ast.Expr
	line := e.Line()
	for {
		operands = append(operands, single(w.expr(e.Lhs)))
		next, ok := e.Rhs.(*ast.StringConcatOpExpr)
		if !ok {
			operands = append(operands, single(w.expr(e.Rhs)))
			break
		}
		e = next
	}
	for len(operands) > maxOperands {
		var groups []ast.Expr
		for from := 0; from < len(operands); from += maxOperands {
			to := min(from+maxOperands, len(operands))
			groups = append(groups, call(nameConcat, operands[from].Line(), operands[from:to]...))
		}
		operands = groups
	}
	return call(nameConcat, line, operands...)
}

// call is name(args…), adjusted to one result.
func call(name string, line int, args ...ast.Expr) ast.Expr {
	fn := &ast.IdentExpr{Value: name}
	fn.SetLine(line)
	c := &ast.FuncCallExpr{Func: fn, Args: args, AdjustRet: true}
	c.SetLine(line)
	return c
}

// single adjusts an expression to one value, as an operand is.
func single(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.FuncCallExpr:
		e.AdjustRet = true
	case *ast.Comma3Expr:
		e.AdjustRet = true
	}
	return e
}

// checked says whether an assignment to this needs a check.
func checked(lhs ast.Expr) (*ast.AttrGetExpr, bool) {
	at, ok := lhs.(*ast.AttrGetExpr)
	if !ok {
		return nil, false
	}
	switch key := at.Key.(type) {
	case *ast.StringExpr:
		return nil, false
	case *ast.NumberExpr:
		if n, err := strconv.Atoi(key.Value); err == nil && n <= smallIndex {
			return nil, false
		}
	}
	return at, true
}

// assign rewrites t[k] = v, and a, t[k] = x, y by way of locals that hold every
// operand first:
//
//	do local (o2), (k2), (v1), (v2) = t, k, x, y; a = (v1); (set)((o2), (k2), (v2)) end
func assign(s *ast.AssignStmt) ast.Stmt {
	some := false
	for _, lhs := range s.Lhs {
		if _, ok := checked(lhs); ok {
			some = true
		}
	}
	if !some {
		return s
	}
	line := s.Line()
	if at, ok := checked(s.Lhs[0]); ok && len(s.Lhs) == 1 && len(s.Rhs) == 1 {
		return statement(line, call(nameSet, line, at.Object, at.Key, single(s.Rhs[0])))
	}
	names := []string{}
	exprs := []ast.Expr{}
	hold := func(name string, e ast.Expr) ast.Expr {
		names = append(names, name)
		if e != nil {
			exprs = append(exprs, single(e))
		}
		id := &ast.IdentExpr{Value: name}
		id.SetLine(line)
		return id
	}
	targets := make([]ast.Expr, len(s.Lhs))
	for i, lhs := range s.Lhs {
		targets[i] = lhs
		if at, ok := lhs.(*ast.AttrGetExpr); ok {
			held := &ast.AttrGetExpr{
				Object: hold(fmt.Sprintf("(o%d)", i), at.Object),
				Key:    at.Key,
			}
			if _, field := at.Key.(*ast.StringExpr); !field {
				held.Key = hold(fmt.Sprintf("(k%d)", i), at.Key)
			}
			held.SetLine(line)
			targets[i] = held
		}
	}
	values := make([]ast.Expr, len(s.Lhs))
	for i := range s.Lhs {
		values[i] = hold(fmt.Sprintf("(v%d)", i), nil)
	}
	block := &ast.DoBlockStmt{}
	block.SetLine(line)
	block.SetLastLine(line)
	local := &ast.LocalAssignStmt{Names: names, Exprs: append(exprs, s.Rhs...)}
	local.SetLine(line)
	block.Stmts = append(block.Stmts, local)
	for i, target := range targets {
		if at, ok := checked(target); ok {
			block.Stmts = append(block.Stmts, statement(line, call(nameSet, line, at.Object, at.Key, values[i])))
			continue
		}
		one := &ast.AssignStmt{Lhs: []ast.Expr{target}, Rhs: []ast.Expr{values[i]}}
		one.SetLine(line)
		block.Stmts = append(block.Stmts, one)
	}
	return block
}

func statement(line int, e ast.Expr) ast.Stmt {
	s := &ast.FuncCallStmt{Expr: e}
	s.SetLine(line)
	return s
}
