package seed_test

import (
	"bytes"
	"context"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/seed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "seed.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestAllMistakesOfAFileAreReportedWithTheirPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"of every kind": {
			"phones:\n- number: 12\n  nick: Ann\n  replies:\n  - {pattern: \"(\", reply: x}\n  - {pattern: x}\n- name: Ben\n- number: \"15550001\"\n- number: +15550001\n  number: 15550003\n-\nrules: {}\n",
			[]string{
				"2:11: \"12\" is no phone number",
				"3:3: unknown field \"nick\": the fields here are number, name,",
				"5:15: error parsing regexp",
				"6:5: a reply wants a pattern and a reply",
				"7:3: a phone without a number",
				"9:11: phone 15550001 is given twice",
				"10:3: field \"number\" is given twice, first in line 9",
				"11:2: empty entry in a list",
				"12:1: unknown field \"rules\"",
			},
		},
		"in groups, contacts and faults": {
			"phones:\n- {number: 15550001, contacts: [{number: x, name: A}, {number: 15550002}], picture: none.jpg, business: {}}\ngroups:\n- {subject: A, owner: 15550009}\n- {owner: 15550001, members: [], admins: [15550001]}\nfaults:\n- {action: explode}\n- {action: drop, direction: out, nth: many}\n",
			[]string{
				`2:42: "x" is no phone number`, `2:55: a contact without a name`, `2:85: stat `, `2:105: a business without a name`,
				`4:23: no phone of this file has the number 15550009`, `5:3: a group without a subject`, `5:43: 15550001 is not among the members`,
				`7:3: invalid fault: action "explode"`, `8:39: expected a whole number, not "many"`,
			},
		},
		"of values that are too long, or given twice": {
			"phones:\n- {number: 15550001, about: " + strings.Repeat("a", 140) + ",\n   contacts: [{number: 15550002, name: A}, {number: +15550002, name: B},\n   {number: 15550001, name: Me}]}\n- number: 15550002\n  picture: seed.yaml\n  business: {name: B, time_zone: Mars/North,\n    hours: [{day: noday, mode: open_24h}, {day: mon, mode: specific_hours, open: -1, close: 2000}]}\ngroups:\n- {owner: 15550001, members: [15550002, 15550002,\n   15550001], subject: " + strings.Repeat("s", 101) + "}\n- {owner: 15550001, subject: A}\n- {owner: +15550001, subject: A}\nfaults:\n- {action: drop, direction: out, times: 1.9}\n",
			[]string{
				"2:29: 140 characters: want at most 139", "3:53: contact 15550002 is given twice", "4:13: the phone's own number",
				"6:12: ", `7:34: "Mars/North" is no time zone`, `8:19: "noday": want mon`, "8:82: -1: want minutes", "8:93: 2000: want minutes",
				"10:41: member 15550002 is given twice", "11:4: the owner is a member already", "11:24: 101 characters",
				`13:31: the group "A" of this owner is given twice`, `15:41: expected a whole number, not "1.9"`,
			},
		},
		"no YAML further down":                      {"phones:\n- number: 15550001\n  name: [\n", []string{"3:1: did not find expected node content"}},
		"a line that is not indented as the others": {"phones:\n  - number: 1\n   name: x\n", []string{"3:1: did not find expected '-' indicator"}},
		"an alias of nothing":                       {"a: 1\nb: *x\n", []string{"2:1: unknown anchor 'x'"}},
		"a list in place of values":                 {"- a\n", []string{"1:1: expected keys and values, not a list"}},
		"a value in place of a list":                {"phones: {number: 1}\n", []string{"1:9: expected a list, not keys and values"}},
		"no YAML":                                   {"phones: [\n", []string{"did not find expected node content"}},
		"two documents":                             {"phones: []\n---\nphones: []\n", []string{"a second document"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, c.text)
			_, err := seed.Load(path)
			var problems seed.Problems
			require.ErrorAs(t, err, &problems)
			lines := strings.Split(err.Error(), "\n")
			for i, want := range c.want {
				require.Greater(t, len(lines), i, err)
				require.Contains(t, lines[i], want)
				require.True(t, strings.HasPrefix(lines[i], path+":"), lines[i])
			}
			require.GreaterOrEqual(t, len(c.want)+1, len(lines), err)
		})
	}
	_, err := seed.Load(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	s, err := seed.Load(write(t, ""))
	require.NoError(t, err)
	require.Empty(t, s.Phones)
}

const whole = `phones:
- number: +15550001
  name: Bot
  about: Answers
  picture: bot.jpg
  business: {name: Bot Ltd, email: bot@example.com, categories: {"1": Robots}}
  contacts: [{number: 15550002, name: Ann Abel}]
  replies: [{pattern: 'hi (\w+)', reply: 'hello $1'}]
- {number: 15550002}
- {number: 15550003}
groups:
- {subject: Team, description: us, owner: 15550001, members: [15550002, +15550003], admins: [15550002]}
faults:
- {action: delay, direction: out, tag: message, delay_ms: 5, probability: 0.5, seed: 7}
`

func TestASeedIsAppliedAgainOverTheSameState(t *testing.T) {
	path := write(t, whole)
	var picture bytes.Buffer
	require.NoError(t, jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 64)), nil))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "bot.jpg"), picture.Bytes(), 0o600))
	s, err := seed.Load(path)
	require.NoError(t, err)
	dir := t.TempDir()
	var pictureID, jid string
	for round := range 2 {
		server, err := simulator.New(simulator.Options{Dir: dir})
		require.NoError(t, err)
		require.NoError(t, server.Start("127.0.0.1:0"))
		require.NoError(t, s.Apply(t.Context(), server))
		require.Len(t, server.Phones(), 3)
		bot := server.Phone("15550001")
		require.Equal(t, "Bot", bot.Name())
		require.Equal(t, []string{"Answers", "By hand"}[round], bot.About())
		require.Equal(t, "Robots", bot.Business().Categories["1"])
		require.Equal(t, "Ann Abel", bot.Contacts()[0].FullName)
		id, data := bot.Picture()
		require.Equal(t, picture.Bytes(), data)
		require.Len(t, server.Faults(), 1)
		require.Len(t, server.Groups(), 1)
		group := server.Groups()[0]
		require.Equal(t, "us", group.Description)
		require.Len(t, group.Members, 3-round)
		if round > 0 {
			require.Equal(t, []string{pictureID, jid}, []string{id, group.JID}, "the second time nothing is made anew")
		}
		pictureID, jid = id, group.JID
		ann := server.Phone("15550002")
		_, err = ann.SendText(t.Context(), "15550001", "hi bot")
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		got, err := ann.WaitMessage(ctx, func(m simulator.Message) bool { return m.N > round && m.Text == "hello bot" })
		cancel()
		require.NoError(t, err)
		require.Equal(t, "15550001", got.From)
		// What is changed by hand stays so.
		require.NoError(t, bot.SetAbout(t.Context(), "By hand"))
		if round == 0 {
			require.NoError(t, bot.GroupRemove(t.Context(), jid, "15550003"))
		}
		require.NoError(t, server.Close())
	}
}

func TestTheExampleSeedIsGood(t *testing.T) {
	s, err := seed.Load(filepath.Join("..", "..", "..", "examples", "sandbox", "seed.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, s.Phones)
	require.NotEmpty(t, s.Groups)
	server, err := simulator.New(simulator.Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, server.Close()) }()
	require.NoError(t, s.Apply(t.Context(), server))
	require.Len(t, server.Phones(), len(s.Phones))
}
