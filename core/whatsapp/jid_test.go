package whatsapp

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/types"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{
		"919547400579@s.whatsapp.net":    "919547400579@s.whatsapp.net",
		" 919547400579@s.whatsapp.net ":  "919547400579@s.whatsapp.net",
		"919547400579:12@s.whatsapp.net": "919547400579@s.whatsapp.net",
		"919547400579@c.us":              "919547400579@s.whatsapp.net",
		"+91 95474-00579":                "919547400579@s.whatsapp.net",
		"+1 (555) 010.9999":              "15550109999@s.whatsapp.net",
		"15550001":                       "15550001@s.whatsapp.net",
		"120363041234567890@g.us":        "120363041234567890@g.us",
		"4915112345678-1412345678@g.us":  "4915112345678-1412345678@g.us",
		"status@broadcast":               "status@broadcast",
		"1412345678@broadcast":           "1412345678@broadcast",
		"123456789012345@lid":            "123456789012345@lid",
		"123456789012345:3@lid":          "123456789012345@lid",
		"120363041234567890@newsletter":  "120363041234567890@newsletter",
	} {
		got, err := ParseAddress(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{
		"", " ", "+", "1234", "1234567890123456", "0049 151 1234567", "bob", "bob@s.whatsapp.net", "@s.whatsapp.net",
		"123@example.com", "123@s.whatsapp.net.evil", "x@g.us", "-123@g.us", "123-@g.us", "12-34-56@g.us",
		"other@broadcast", "++123456", "123456\n", "12345@S.WHATSAPP.NET", "١٢٣٤٥٦", "123456@", strings.Repeat("1 ", 60),
	} {
		got, err := ParseAddress(in)
		if in == "123456\n" { // white space around an address is no mistake
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, ErrAddress, "%q gave %q", in, got)
		require.Empty(t, got)
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"+91 95474-00579", "1@g.us", "status@broadcast", "1:2@lid", "a@newsletter", "1-2@g.us", "0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseAddress(s)
		if err != nil {
			require.ErrorIs(t, err, ErrAddress)
			return
		}
		again, err := ParseAddress(got)
		require.NoError(t, err)
		require.Equal(t, got, again)
		j, err := types.ParseJID(got)
		require.NoError(t, err)
		require.Equal(t, got, j.String())
		require.Zero(t, j.Device)
		require.NotEmpty(t, j.User)
	})
}
