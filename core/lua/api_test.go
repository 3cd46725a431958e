package lua

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/pipeline"
	"github.com/wildcathub/wildcat/sdk"
)

func TestAMessageHasItsFields(t *testing.T) {
	ev := message("hello")
	ev.Message.Quote = &sdk.Quote{ID: "Q1"}
	ev.Message.Mentions = []string{"a@lid", "b@lid"}
	set := load(t, body(`
		local parts = {}
		for _, f in ipairs({"text", "chat", "from", "sender", "sender_pn", "sender_lid", "participant", "name", "id",
			"from_me", "kind", "is_group", "has_media", "account", "time", "seq", "event_id", "quoted_id"}) do
			parts[#parts + 1] = f .. "=" .. tostring(msg[f])
		end
		parts[#parts + 1] = "mentions=" .. table.concat(msg.mentions, "+")
		parts[#parts + 1] = tostring(msg)
		msg:reply(table.concat(parts, "\n"))`), Deps{})
	v, err := eval(t, set, ev)
	require.NoError(t, err)
	require.Equal(t, strings.Join([]string{
		"text=hello", "chat=4915550001@s.whatsapp.net", "from=4915550001@s.whatsapp.net",
		"sender=4915550001@s.whatsapp.net", "sender_pn=4915550001@s.whatsapp.net", "sender_lid=77@lid",
		"participant=", "name=Ann", "id=3EB0AA", "from_me=false", "kind=text", "is_group=false", "has_media=false",
		"account=sales", "time=1740830400", "seq=7", "event_id=0123456789abcdef0123456789abcdef", "quoted_id=Q1",
		"mentions=a@lid+b@lid", "message",
	}, "\n"), v.Actions[0].Text)
}

func TestActionsBecomeTheVerdict(t *testing.T) {
	v, err := eval(t, load(t, body(`
		msg:reply("one")
		msg:reply("two", { quote = true, mentions = { "a@lid" } })
		msg:send("4915550002", "three", { mentions = { "b@lid" } })
		msg:route("crm", "audit") msg:route("crm")
		msg:tag("seen") msg:tag("seen")`), Deps{}), message("x"))
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(pipeline.Verdict{
		Routes: []string{"crm", "audit"}, Tags: []string{"seen"},
		Actions: []pipeline.Action{
			{Kind: pipeline.ActionReply, Text: "one"},
			{Kind: pipeline.ActionReply, Text: "two", Quote: true, Mentions: []string{"a@lid"}},
			{Kind: pipeline.ActionSend, To: "4915550002", Text: "three", Mentions: []string{"b@lid"}},
		},
	}, v))
}

func TestATextMayHaveAsManyCharactersAsOverREST(t *testing.T) {
	for _, letter := range []string{"x", "é", "👋"} {
		want := strings.Repeat(letter, 65_536)
		require.Equal(t, want, answer(t, `msg:reply(string.rep("`+letter+`", 65536))`))
	}
}

func TestAFailedHandlerContributesNothingAndADropEndsTheRule(t *testing.T) {
	set := load(t, body(`msg:reply("a")`)+"\n"+body(`msg:tag("t") error("no")`), Deps{})
	v, err := eval(t, set, message("x"))
	require.ErrorContains(t, err, "x.lua:5: no")
	require.Empty(t, v)

	set = load(t, body(`msg:tag("a") msg:drop()`)+"\n"+body(`msg:tag("b")`), Deps{})
	v, err = eval(t, set, message("x"))
	require.NoError(t, err)
	require.Equal(t, pipeline.Verdict{Drop: true, Tags: []string{"a"}}, v)
}

func TestAStaleMessageRaises(t *testing.T) {
	set := load(t, `local kept
		wildcat.on("message", { equals = "keep" }, function(msg) kept = msg end)
		wildcat.on("message", { equals = "use" }, function(msg) msg:reply(kept.text) end)
		wildcat.on("message", { equals = "call" }, function(msg) kept:reply("x") end)
		wildcat.on("message", { equals = "bound" }, function(msg) local f = msg.reply f({}, "x") end)`, Deps{})
	_, err := eval(t, set, message("keep"))
	require.NoError(t, err)
	for _, text := range []string{"use", "call"} {
		_, err = eval(t, set, message(text))
		require.ErrorContains(t, err, "its handler has returned")
	}
	_, err = eval(t, set, message("bound"))
	require.ErrorContains(t, err, "with a colon")
}

func TestWrongCallsNameTheMistake(t *testing.T) {
	for code, want := range map[string]string{
		`msg:reply()`:                       "string expected, got nil",
		`msg:reply("")`:                     "the text is empty",
		`msg:reply("  \n")`:                 "the text is empty",
		`msg:reply(string.rep("x", 70000))`: "message length invalid (70000): must be between 1 and 65536 characters",
		`msg:reply(string.rep("é", 65537))`: "message length invalid (65537)",
		`for i = 1, 9 do msg:reply(string.rep("👋", 65536)) end`: "more than 2097152 bytes together",
		`msg:reply(("é"):sub(1, 1))`:                            "not valid UTF-8",
		`msg:reply("x", { qoute = true })`:                      `did you mean "quote"?`,
		`msg:reply("x", { quote = 1 })`:                         "must be true or false",
		`msg:reply("x", { mentions = { 1 } })`:                  "must be a list of JIDs",
		`msg:send("", "x")`:                                     "phone number or JID",
		`msg:send("1", "x", { quote = true })`:                  "cannot quote",
		`local x = #nil`:                                        "attempt to get the length (#) of a nil value",
		`local x = #5`:                                          "length (#) of a number",
		`msg:route()`:                                           "needs the name of a connector",
		`msg:route("a", 5)`:                                     "the name of a connector must be a string",
		`msg:tag({})`:                                           "the name of a tag must be a string of 1 to 100 bytes, not a table",
		`msg.text = "x"`:                                        "a message is read-only",
		`local x = msg.txt`:                                     `msg has no field or method "txt"`,
		`msg:answer("x")`:                                       `msg has no field or method "answer"`,
		`wildcat.on("message", {}, print)`:                      "only be called while the file loads",
		`wildcat.x = 1`:                                         "read-only",
		`local x = nil .. "a"`:                                  "attempt to join (..) a nil value",
		`local x = "a" .. {}`:                                   "attempt to join (..) a table value",
		`error({ code = 1 })`:                                   "error with a table value",
		`error()`:                                               "error with a nil value",
		`assert(false)`:                                         "assertion failed!",
		`assert(nil, "why")`:                                    "why",
		`tostring(setmetatable({}, {__tostring = function() return 1 end}))`: "must return a string",
		`string.format("%d", {})`:                   "number expected, got table",
		`string.format("%y", 1)`:                    "invalid format",
		`string.format("%d", 0/0)`:                  "no whole representation",
		`string.format("%")`:                        "ends with '%'",
		`string.char(256)`:                          "not between 0 and 255",
		`("x"):gsub("x", "%")`:                      "write %% for a percent sign",
		`("x"):gsub("x", "%2")`:                     "invalid capture index",
		`("x"):gsub("x", function() return {} end)`: "invalid replacement value (a table)",
		`math.random(0)`:                            "interval is empty",
		`math.random(2, 1)`:                         "interval is empty",
		`time.format("%Q")`:                         "unknown verb '%Q'",
		`time.parts(0, "Nowhere/City")`:             "unknown time zone",
		`time.parts(1e300)`:                         "out of range",
		`table.insert({}, 1, 2, 3)`:                 "two or three arguments",
		`table.concat({ {} })`:                      "element 1 is a table",
		`tonumber("1", 99)`:                         "base out of range",
	} {
		got := answer(t, code)
		require.Contains(t, got, want, code)
		require.True(t, strings.HasPrefix(got, "ERR "), code)
	}
}

func TestTheLibraryDoesWhatLuaDoes(t *testing.T) {
	for expr, want := range map[string]string{
		`1 .. 2`:                            "12",
		`"a" .. "b" .. 1.5 .. true and "x"`: "",
		`("a"):rep(3), ("a"):rep(3, "-"), ("a"):rep(0), (""):rep(1e9)`:                                                                              "aaa,a-a-a,,",
		`("héllo"):upper(), ("ÀB"):lower(), ("ab"):reverse(), #"é"`:                                                                                 "HÉLLO,àb,ba,2",
		`("hello"):sub(2), ("hello"):sub(-3, -2), ("hello"):sub(4, 2), ("hello"):sub(-100, 100), ("x"):sub(9)`:                                      "ello,ll,,hello,",
		`("abc"):byte(), ("abc"):byte(-1), ("abc"):byte(1, -1)`:                                                                                     "97,99,97,98,99",
		`("abc"):byte(10), string.char(104, 105), ("abc"):len()`:                                                                                    "nil,hi,3",
		`("hello world"):find("wor"), ("hello"):find("l+")`:                                                                                         "7,3,4",
		`("a.b"):find(".", 1, true), ("a.b"):find("%."), ("abc"):find("b", -1)`:                                                                     "2,2,nil",
		`(("hello"):find("")), ("hello"):find("", 10)`:                                                                                              "1,6,5",
		`("key = value"):match("^(%w+)%s*=%s*(%w+)$")`:                                                                                              "key,value",
		`("hello"):match("l()l"), ("x"):match("y"), ("2025-03"):match("%d+", 5)`:                                                                    "4,nil,03",
		`("hello"):gsub("l", "L"), ("hello"):gsub("", "-")`:                                                                                         "heLLo,-h-e-l-l-o-,6",
		`("hello"):gsub("l", "L", 1)`:                                                                                                               "heLlo,1",
		`("hello"):gsub("x*", "-", 0)`:                                                                                                              "hello,0",
		`("abc"):gsub("%w", "%0%0"), ("abc"):gsub("(a)(b)", "%2%1")`:                                                                                "aabbcc,bac,1",
		`("$a $b"):gsub("%$(%w)", { a = "1" })`:                                                                                                     "1 $b,2",
		`("abc"):gsub("%w", function(c) if c == "b" then return "X" end end)`:                                                                       "aXc,3",
		`("abc"):gsub("^a", "x"), ("a b"):gsub("%s", "%%")`:                                                                                         "xbc,a%b,1",
		`string.format("%5d|%-5s|%05.1f|%x|%q|%%|%c|%g", 42, "ab", 3.14159, 255, "a\"b", 65, 0.1)`:                                                  `   42|ab   |003.1|ff|"a\"b"|%|A|0.1`,
		`string.format("%s %s %s %s", nil, true, 1.5, "x"), string.format("%i", 3.9)`:                                                               "nil true 1.5 x,3",
		`tostring(nil), tostring(1e15), tostring(0.1), tostring(1/0), tostring(-1/0), tostring({}), tostring(print)`:                                "nil,1e+15,0.1,inf,-inf,table,function",
		`#"abc", #{1, 2}, #setmetatable({}, {__len = function() return 9 end}), #("x"):rep(4)`:                                                      "3,2,9,4",
		`tonumber("10"), tonumber("0x1F"), tonumber("-0x10"), tonumber(" 1.5e3 "), tonumber("z", 36), tonumber("x"), tonumber("inf"), tonumber("")`: "10,31,-16,1500,35,nil,nil,nil",
		`select("#", 1, 2, nil), select(2, "a", "b", "c")`:                                                                                          "3,b,c",
		`select(-1, "a", "b")`:                                                                                  "b",
		`unpack({1, 2, 3}), unpack({1, 2, 3}, 2)`:                                                               "1,2,3",
		`pcall(error, "x", 0), pcall(function() return 1, 2 end)`:                                               "false,true,1,2",
		`xpcall(function() error("x", 0) end, function(e) return e .. "!" end)`:                                 "false,x!",
		`xpcall(function() return 7 end, print)`:                                                                "true,7",
		`type(nil), type(print), rawequal("a", "a"), rawget({ a = 1 }, "a")`:                                    "nil,function,true,1",
		`table.concat({1, 2, 3}, "-", 2), #table.concat({}), table.maxn({1, 2})`:                                "2-3,0,2",
		`next({}), type(next), (next({ 5 }))`:                                                                   "nil,function,1",
		`math.max(1, 3, 2), math.min(3, 1), math.floor(1.5), math.ceil(1.5), math.huge == 1/0, math.fmod(7, 3)`: "3,1,1,2,true,1",
		`math.random(1, 10), math.random(4), math.random()`:                                                     "6,3,0.5",
		`wildcat.now(), time.now()`:                                                                             "1740830400,1740830400",
		`time.format("%Y-%m-%d %H:%M:%S %a %j %%", 0), time.format("%F %T")`:                                    "1970-01-01 00:00:00 Thu 001 %,2025-03-01 12:00:00",
		`time.parts(0).year, time.parts(0).wday, time.parts().hour`:                                             "1970,5,12",
		`getmetatable("") , getmetatable(msg), getmetatable(_G)`:                                                "false,false,false",
		`_G.wildcat == wildcat, _VERSION, os, io, debug, coroutine`:                                             "true,Lua 5.1,nil,nil,nil,nil",
		`(("x"):rep(3)), ({ 1, 2, [5] = 3 })[5]`:                                                                "xxx,3",
	} {
		set := load(t, body(show(expr)), Deps{
			Now:  frozen,
			Rand: func() float64 { return 0.5 },
		})
		v, err := eval(t, set, message("x"))
		if want == "" {
			require.Error(t, err, expr)
			continue
		}
		require.NoError(t, err, expr)
		require.Equal(t, "="+want, v.Actions[0].Text, expr)
	}
}

func TestLoopsAndTablesWork(t *testing.T) {
	for code, want := range map[string]string{
		`local t = {} for w in msg.text:gmatch("%w+") do t[#t + 1] = w:upper() end msg:reply(table.concat(t, "-"))`:                              "HELLO-WORLD",
		`for k, v in ("a=1, b=2"):gmatch("(%w)=(%w)") do msg:reply(k .. v) end`:                                                                  "a1|b2",
		`for a in ("abab"):gmatch("^ab") do msg:reply(a) end`:                                                                                    "ab",
		`local n = 0 for _ in ("abc"):gmatch("") do n = n + 1 end msg:reply("" .. n)`:                                                            "4",
		`local t = {3, 1, 2} table.sort(t) msg:reply(table.concat(t)) table.sort(t, function(a, b) return a > b end) msg:reply(table.concat(t))`: "123|321",
		`local t = {"b", "a"} table.sort(t) msg:reply(t[1])`:                                                                                     "a",
		`local t = {1, 2, 3} table.insert(t, 1, 0) table.insert(t, 4) table.remove(t, 2) table.remove(t) msg:reply(table.concat(t, ","))`:        "0,2,3",
		`local t = {} table.insert(t, "x") msg:reply(tostring(table.remove(t))) msg:reply(tostring(table.remove(t)))`:                            "x|nil",
		`for i, v in ipairs({ "a", "b", nil, "d" }) do msg:reply(i .. v) end`:                                                                    "1a|2b",
		`local s = 0 for k, v in pairs({ a = 1, b = 2, 3 }) do s = s + v end msg:reply("" .. s)`:                                                 "6",
		`local t = setmetatable({}, { __index = function(_, k) return k .. "!" end, __concat = function(a, b) return "cat" end, __call = function(_, x) return x end }) msg:reply(t.a) msg:reply(t .. "x") msg:reply("x" .. t) msg:reply(t("y"))`: "a!|cat|cat|y",
		`local log = {} local t = setmetatable({}, { __newindex = function(t, k, v) rawequal(1, 1) log[1] = k .. v end }) t["x" .. 1] = "y" msg:reply(log[1])`:                                                                                    "x1y",
	} {
		require.Equal(t, want, answer(t, code), code)
	}
}

func TestAssignmentsKeepTheirMeaning(t *testing.T) {
	for code, want := range map[string]string{
		`local t = {1, 2} local i, j = 1, 2 t[i], t[j] = t[j], t[i] msg:reply(t[1] .. t[2])`:                     "21",
		`local a, t, k = 1, {}, "k" a, t[k], t.f = "x", "y", "z" msg:reply(a .. t.k .. t.f)`:                     "xyz",
		`local t, k = {}, 1 t[k], k = "a", 2 msg:reply(t[1] .. k)`:                                               "a2",
		`local function f() return "a", "b" end local t, i = {}, 1 t[i], t[i + 1] = f() msg:reply(t[1] .. t[2])`: "ab",
		`local function f() return "a", "b" end local t, i = {}, 1 t[i] = f() msg:reply(t[1] .. #t)`:             "a1",
		`local t, i = {}, 1 t[i], t[i + 1] = "only" msg:reply(t[1] .. tostring(t[2]))`:                           "onlynil",
		`local t, i = {}, 1 t[i] = "a", error msg:reply(t[1])`:                                                   "a",
		`local t = { u = {} } t.u["x" .. 1] = 5 t.u[100] = 6 msg:reply(t.u.x1 .. t.u[100])`:                      "56",
		`local t = {} for i = 1, 3 do t[i] = function() return i end end msg:reply(t[1]() .. t[3]())`:            "13",
		`local function f(...) return ... end msg:reply("a" .. f("b", "c"))`:                                     "ab",
		`local function f(...) return ... .. "x" end msg:reply(f("b", "c"))`:                                     "bx",
		`local n = 0 local function f() n = n + 1 return n end msg:reply(f() .. f() .. f())`:                     "123",
		`local function f(...) local t = { ... } return #t .. select("#", ...) end msg:reply(f(1, 2, 3))`:        "33",
	} {
		require.Equal(t, want, answer(t, code), code)
	}
	long := `"a"` + strings.Repeat(` .. "b"`, 500)
	require.Equal(t, "a"+strings.Repeat("b", 500), answer(t, "msg:reply("+long+")"))
}

func TestLogLinesAreCappedAndNameTheRule(t *testing.T) {
	var out bytes.Buffer
	set := load(t, body(`for i = 1, 30 do log.warn("n", i) end print("x") wildcat.log("y")`), Deps{
		Logger: slog.New(slog.NewTextHandler(&out, nil)),
	})
	_, err := eval(t, set, message("secret text"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 20)
	require.Contains(t, lines[0], `level=WARN msg="rule log" component=lua rule=x line="n\t1" account=sales event_id=0123456789abcdef0123456789abcdef`)
	require.Contains(t, lines[19], "last_line_of_event=true")
	require.NotContains(t, out.String(), "secret")
}

func TestEvalStopsWhenItsContextEnds(t *testing.T) {
	set := load(t, body(`while true do end`), Deps{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := set.Rules()[0].Eval(ctx, message("x"))
	var f *Failure
	require.ErrorAs(t, err, &f)
	require.Equal(t, killCanceled, f.Killed)
	require.Zero(t, set.Status()[0].Failures, "no fault of the rule")
}

func TestTheWallClockStopsARule(t *testing.T) {
	now := time.Unix(0, 0)
	set := load(t, body(`for i = 1, 20000 do end msg:reply("done")`), Deps{Now: func() time.Time {
		now = now.Add(time.Millisecond)
		return now
	}})
	_, err := eval(t, set, message("x"))
	var f *Failure
	require.ErrorAs(t, err, &f)
	require.Equal(t, killWall, f.Killed)
	require.Contains(t, f.Message, "the limit is 50ms")
}
