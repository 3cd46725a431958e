package lua

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/sdk"
)

// longest is how many characters WhatsApp takes.
const longest = 65_536

// long repeats a piece behind a start to the greatest length, with an end.
func long(start, piece, end string) string {
	one := []rune(piece)
	room := longest - len([]rune(start)) - len([]rune(end))
	return start + strings.Repeat(piece, room/len(one)) + string(one[:room%len(one)]) + end
}

// hostile are texts that a stranger may write to a script: behind each beginning that gets
// into a handler, long runs of all that its patterns tell apart.
func hostile(script string) []string {
	starts := []string{""}
	for _, m := range regexp.MustCompile(`"\^?(!\w*)`).FindAllStringSubmatch(script, -1) {
		if !slices.Contains(starts, m[1]) {
			starts = append(starts, m[1], m[1]+" ", m[1]+" x")
		}
	}
	pieces := []string{" ", "\t", " \n", "x ", "a", "7", "%", "!", "é", "👋", " 👋", "\x00", "urgent invoice "}
	var out []string
	for _, start := range starts {
		for _, piece := range pieces {
			for _, end := range []string{"", "y", "👋"} {
				out = append(out, long(start, piece, end))
			}
		}
	}
	return out
}

// Nobody may be able to write a text that stops a rule which we tell people to use.
func TestShippedScriptsAndExamplesTakeEveryText(t *testing.T) {
	scripts := map[string]string{}
	shipped, err := filepath.Glob("../../scripts/*.lua")
	require.NoError(t, err)
	require.NotEmpty(t, shipped)
	for _, file := range shipped {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		scripts[filepath.Base(file)] = string(text)
	}
	for file, blocks := range examples(t) {
		for _, text := range blocks {
			scripts[file+": "+text] = text
		}
	}
	for name, script := range scripts {
		set := load(t, script, Deps{Now: frozen})
		matched := 0
		for _, text := range hostile(script) {
			ev := message(text)
			ev.Message.Time = ev.Time.Add(-10 * time.Hour) // at night
			ev.Message.Name = strings.Repeat("👋", 25)
			if strings.Contains(script, "has_media = true") {
				ev.Message.Media = &sdk.Media{}
			}
			if !set.Rules()[0].Match(ev) {
				continue
			}
			matched++
			_, err := eval(t, set, ev)
			require.NoError(t, err, "%s: %.20q… %d bytes", name, text, len(text))
		}
		if !strings.Contains(script, "equals =") && name != "quiet.lua" {
			require.Positive(t, matched, name)
		}
	}
}
