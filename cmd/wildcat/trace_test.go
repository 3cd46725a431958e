package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestATraceShowsRoutesThatLeadNowhere(t *testing.T) {
	for name, c := range map[string]struct {
		verdict     string
		want, lacks []string
	}{
		"one of two": {
			verdict: `{"rules":[{"rule":"a","result":"ok"},{"rule":"b","result":"ok","unrouted":["acounting"]}],"unrouted":["acounting"],"endpoints":["connector:crm"]}`,
			want:    []string{"rule       b: ok \nunrouted   acounting by b: no connector of this name gets this event\n"},
			lacks:   []string{"verdict"},
		},
		"all": {
			verdict: `{"rules":[{"rule":"b","result":"ok","unrouted":["x","acounting"]}],"unrouted":["acounting","x"]}`,
			want:    []string{"unrouted   x by b: ", "verdict    no connector gets it: all routes lead nowhere (acounting, x)\n"},
		},
		"of before, when the rule was not named": {
			verdict: `{"rules":[{"rule":"b","result":"ok"}],"unrouted":["acounting"]}`,
			want:    []string{"verdict    no connector gets it: all routes lead nowhere (acounting)\n"},
		},
		"no connectors": {verdict: `{"rules":[{"rule":"b","result":"ok"}]}`, lacks: []string{"unrouted", "verdict"}},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			require.NoError(t, printTrace(&out, []byte(`{"verdict":`+c.verdict+`}`)))
			for _, want := range c.want {
				require.Contains(t, out.String(), want)
			}
			for _, lacks := range c.lacks {
				require.NotContains(t, out.String(), lacks)
			}
		})
	}
}
