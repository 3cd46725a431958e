// Package lua runs the operator's rules: Lua files that look at each message and
// say what to answer, where to route it, or to drop it.
//
// It owns compiling, the sandbox, the limits and the Lua API (one file
// mod_<name>.go for each module, one row for each function). It does not own what
// becomes of a verdict: it returns pipeline.Verdict values, sends nothing and
// writes nothing. The Lua interpreter is gopher-lua; as it comes it is not safe for
// text that strangers send, so the package replaces every library function by one
// that is bounded, counts instructions, and rewrites the operations of the
// language itself that can take much memory in one step ("..", {}, t[k] = v, #t).
//
// A file is one rule and one unit: when one of its handlers fails, the whole rule
// contributes nothing to the event, and the other rules go on.
package lua
