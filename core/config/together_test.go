package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// No mistake hides another one: who mends what is listed is done.
func TestAllMistakesAreReportedTogether(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a misspelt key beside the right one": {
			"server:\n  prot: 1\n  port: 70000\n",
			"w.yaml:2:3: unknown field \"prot\", did you mean \"port\"?\n" +
				"w.yaml:3:9: expected a number from 0 to 65535, not 70000",
		},
		"the right one first": {
			"server:\n  port: 70000\n  prot: 1\n",
			"w.yaml:2:9: expected a number from 0 to 65535, not 70000\n" +
				"w.yaml:3:3: unknown field \"prot\", did you mean \"port\"?",
		},
		"another wrong value in the mapping": {
			"server: {prot: 1, host: a b, max_body: x}\n",
			"w.yaml:1:10: unknown field \"prot\", did you mean \"port\"?\n" +
				"w.yaml:1:25: expected an address or a name without a port, not \"a b\"\n" +
				"w.yaml:1:40: expected a whole number, not \"x\"",
		},
		"a misspelt section": {
			"sever: {port: 70000, hots: x}\n",
			"w.yaml:1:1: unknown field \"sever\", did you mean \"server\"?\n" +
				"w.yaml:1:15: expected a number from 0 to 65535, not 70000\n" +
				"w.yaml:1:22: unknown field \"hots\", did you mean \"host\"?",
		},
		"a misspelt section beside the right one": {
			"server: {port: 70000}\nsever: {port: 80000}\n",
			"w.yaml:1:16: expected a number from 0 to 65535, not 70000\n" +
				"w.yaml:2:1: unknown field \"sever\", did you mean \"server\"?",
		},
		"a misspelt list": {
			"conectors:\n- {name: a}\n- {name: a b, use: webhook, enabld: true, events: [mesage]}\n",
			"w.yaml:1:1: unknown field \"conectors\", did you mean \"connectors\"?\n" +
				"w.yaml:2:3: a connector needs use: the name of a built-in, or the path of a program\n" +
				"w.yaml:3:10: expected small letters, digits, _ and -, at most 64, not \"a b\"\n" +
				"w.yaml:3:29: unknown field \"enabld\", did you mean \"enabled\"?\n" +
				"w.yaml:3:52: unknown event type \"mesage\", did you mean \"message\"?",
		},
		"a misspelt key that holds something else": {
			"sever: 5\nlog: {level: loud}\n",
			"w.yaml:1:1: unknown field \"sever\", did you mean \"server\"?\n" +
				"w.yaml:2:14: expected debug, info, warn or error, not \"loud\"",
		},
		"a section that is given twice": {
			"server: {port: 70000}\nserver: {host: a b, max_body: x}\n",
			"w.yaml:1:16: expected a number from 0 to 65535, not 70000\n" +
				"w.yaml:2:1: field \"server\" is given twice, first in line 1\n" +
				"w.yaml:2:16: expected an address or a name without a port, not \"a b\"\n" +
				"w.yaml:2:31: expected a whole number, not \"x\"",
		},
		"a value that is given twice": {
			"server: {port: 70000, port: 1}\n",
			"w.yaml:1:16: expected a number from 0 to 65535, not 70000\n" +
				"w.yaml:1:23: field \"port\" is given twice, first in line 1",
		},
		"in a connector": {
			"connectors:\n- {naem: x, name: A, use: webhook, retry: [x, 1ms], ordering: [], enabled: maybe, accounts: [a b, [c]], sha256: 00}\n",
			"w.yaml:2:4: unknown field \"naem\", did you mean \"name\"?\n" +
				"w.yaml:2:19: expected small letters, digits, _ and -, at most 64, not \"A\"\n" +
				"w.yaml:2:44: expected a duration such as 5s, 2m or 1h30m, not \"x\"\n" +
				"w.yaml:2:47: expected a duration from 10ms to 168h, not 1ms\n" +
				"w.yaml:2:63: expected text, not a list\n" +
				"w.yaml:2:76: expected true or false, not \"maybe\"\n" +
				"w.yaml:2:94: expected an account id (letters, digits, _ and -, at most 64), not \"a b\"\n" +
				"w.yaml:2:99: expected text, not a list\n" +
				"w.yaml:2:113: only a program can be pinned, and \"webhook\" is a built-in",
		},
		"in a rule without a file": {
			"rules: {files: [{name: a b, timeout: 1h, accounts: [x y], chats: ['']}, {}]}\n",
			"w.yaml:1:17: a rule needs a file\n" +
				"w.yaml:1:24: expected letters, digits, dot, _ and -, at most 64, not \"a b\"\n" +
				"w.yaml:1:38: expected a duration from 1ms to 250ms, not 1h\n" +
				"w.yaml:1:53: expected an account id (letters, digits, _ and -, at most 64), not \"x y\"\n" +
				"w.yaml:1:67: expected a chat, such as 919547400579@s.whatsapp.net\n" +
				"w.yaml:1:73: a rule needs a file",
		},
		"in a rule of which nobody knows whether it is enabled": {
			"rules: {files: [{file: gone.lua, enabled: maybe, fiel: x}]}\n",
			"w.yaml:1:24: rule file gone.lua does not exist\n" +
				"w.yaml:1:43: expected true or false, not \"maybe\"\n" +
				"w.yaml:1:50: unknown field \"fiel\", did you mean \"file\"?",
		},
		"what was not read is not compared": {
			"whatsapp:\n  networx: sandbox\n  url: http://127.0.0.1:99999\n  reconnect: {min: x, max: 500ms}\n",
			"w.yaml:2:3: unknown field \"networx\", did you mean \"network\"?\n" +
				"w.yaml:3:8: expected the address of a sandbox, such as http://127.0.0.1:8090\n" +
				"w.yaml:4:20: expected a duration such as 5s, 2m or 1h30m, not \"x\"",
		},
		"a name that was not read is not taken": {
			"rules: {files: [{file: a.lua, name: [], enabled: false}, {file: b/a.lua, enabled: false}]}\n",
			"w.yaml:1:37: expected text, not a list",
		},
		"all sections": {
			"data: ''\nserver: {port: -1}\nlog: {levl1: x, format: xml}\nmedia: {ffmpeg_path: []}\ncluster: {advertise: 'http://a:99999', lease: 1s}\nnonsense: {}\negress: {allow_cidrs: [x, {}]}\n",
			"w.yaml:1:7: the data folder must have a name\n" +
				"w.yaml:2:16: expected a number from 0 to 65535, not -1\n" +
				"w.yaml:3:7: unknown field \"levl1\", did you mean \"level\"?\n" +
				"w.yaml:3:25: expected text or json, not \"xml\"\n" +
				"w.yaml:4:22: expected text, not a list\n" +
				"w.yaml:5:22: expected a URL such as http://10.0.0.7:3000, not \"http://a:99999\"\n" +
				"w.yaml:5:47: expected a duration from 3s to 5m, not 1s\n" +
				"w.yaml:6:1: unknown field \"nonsense\"\n" +
				"w.yaml:7:24: expected a network such as 10.0.0.0/8, not \"x\"\n" +
				"w.yaml:7:27: expected text, not keys and values",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse("w.yaml", []byte(c.text), env())
			require.Error(t, err)
			require.Equal(t, strings.Split(c.want, "\n"), strings.Split(err.Error(), "\n"))
		})
	}
}

func TestAMisspeltPinIsNeverTakenForRead(t *testing.T) {
	_, err := parse("w.yaml", []byte("conectors:\n- {name: a, use: ./prog, sha265: [x]}\n- {name: b, use: ./prog, use: ./other}\n"), env())
	var problems Problems
	require.ErrorAs(t, err, &problems)
	require.True(t, problems.About("connectors[0].sha256"))
	require.True(t, problems.About("connectors[1].use"))
	require.False(t, problems.About("connectors[1].sha256"))
}
