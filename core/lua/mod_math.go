package lua

import (
	"math"

	glua "github.com/yuin/gopher-lua"
)

// mathRows are the math library. randomseed is left out: the generator belongs to
// the program.
func mathRows() []row {
	rows := []row{
		{"atan2", two(math.Atan2)},
		{"fmod", two(math.Mod)},
		{"frexp", mathFrexp},
		{"ldexp", mathLdexp},
		{"max", mathMax},
		{"min", mathMin},
		{"modf", mathModf},
		{"pow", two(math.Pow)},
		{"random", mathRandom},
	}
	for name, fn := range map[string]func(float64) float64{
		"abs": math.Abs, "acos": math.Acos, "asin": math.Asin, "atan": math.Atan, "ceil": math.Ceil,
		"cos": math.Cos, "cosh": math.Cosh, "exp": math.Exp, "floor": math.Floor, "log": math.Log,
		"log10": math.Log10, "sin": math.Sin, "sinh": math.Sinh, "sqrt": math.Sqrt, "tan": math.Tan, "tanh": math.Tanh,
		"deg": func(x float64) float64 { return x * 180 / math.Pi },
		"rad": func(x float64) float64 { return x * math.Pi / 180 },
	} {
		rows = append(rows, row{name, one(fn)})
	}
	return rows
}

func mathConstants() []constant {
	return []constant{{"pi", glua.LNumber(math.Pi)}, {"huge", glua.LNumber(math.Inf(1))}}
}

func one(fn func(float64) float64) glua.LGFunction {
	return func(l *glua.LState) int {
		l.Push(glua.LNumber(fn(float64(l.CheckNumber(1)))))
		return 1
	}
}

func two(fn func(a, b float64) float64) glua.LGFunction {
	return func(l *glua.LState) int {
		l.Push(glua.LNumber(fn(float64(l.CheckNumber(1)), float64(l.CheckNumber(2)))))
		return 1
	}
}

func mathFrexp(l *glua.LState) int {
	frac, exp := math.Frexp(float64(l.CheckNumber(1)))
	l.Push(glua.LNumber(frac))
	l.Push(glua.LNumber(exp))
	return 2
}

func mathLdexp(l *glua.LState) int {
	l.Push(glua.LNumber(math.Ldexp(float64(l.CheckNumber(1)), l.CheckInt(2))))
	return 1
}

func mathModf(l *glua.LState) int {
	whole, frac := math.Modf(float64(l.CheckNumber(1)))
	l.Push(glua.LNumber(whole))
	l.Push(glua.LNumber(frac))
	return 2
}

func mathMax(l *glua.LState) int {
	best := l.CheckNumber(1)
	for i := 2; i <= l.GetTop(); i++ {
		best = max(best, l.CheckNumber(i))
	}
	l.Push(best)
	return 1
}

func mathMin(l *glua.LState) int {
	best := l.CheckNumber(1)
	for i := 2; i <= l.GetTop(); i++ {
		best = min(best, l.CheckNumber(i))
	}
	l.Push(best)
	return 1
}

func mathRandom(l *glua.LState) int {
	f := of(l).deps.Rand()
	low := 1.0
	var high float64
	switch l.GetTop() {
	case 0:
		l.Push(glua.LNumber(f))
		return 1
	case 1:
		high = math.Floor(float64(l.CheckNumber(1)))
	default:
		low, high = math.Floor(float64(l.CheckNumber(1))), math.Floor(float64(l.CheckNumber(2)))
	}
	if !(low <= high) || math.IsInf(high-low, 0) {
		fail(l, "math.random: the interval is empty")
	}
	l.Push(glua.LNumber(low + math.Floor(f*(high-low+1))))
	return 1
}
