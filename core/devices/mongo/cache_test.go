package mongo

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheCacheIsBoundedAndForgetsTheOldest(t *testing.T) {
	c := newCache(20_000)
	for i := range 100 {
		c.written(fmt.Sprint(i), &record{ID: fmt.Sprint(i), Value: make([]byte, 1000)})
		_, known, _ := c.get("0") // it is in use all the time
		require.True(t, known)
		require.LessOrEqual(t, c.used, c.limit)
	}
	_, known, _ := c.get("1")
	require.False(t, known)
	_, known, _ = c.get("99")
	require.True(t, known)
	for i := range 100 {
		c.drop(fmt.Sprint(i))
	}
	require.Zero(t, c.used)
	require.Zero(t, c.recent.Len())
}

func TestWhatWasReadBeforeAWriteIsNotRemembered(t *testing.T) {
	c := newCache(cacheBytes)
	_, known, mark := c.get("a")
	require.False(t, known)
	c.written("a", &record{ID: "a", Value: []byte("new")})
	c.fill("a", &record{ID: "a", Value: []byte("old")}, mark)
	rec, _, _ := c.get("a")
	require.Equal(t, "new", string(rec.Value))

	_, _, mark = c.get("b")
	c.drop("b") // a write whose outcome is unknown
	c.fill("b", nil, mark)
	_, known, _ = c.get("b")
	require.False(t, known)

	_, _, mark = c.get("c")
	c.fill("c", nil, mark)
	rec, known, _ = c.get("c")
	require.True(t, known, "that there is none")
	require.Nil(t, rec)
}

func TestWhatComesFromOutsideStaysWithinItsPartOfAnID(t *testing.T) {
	require.Equal(t, "15550001:4@s.whatsapp.net/device", deviceID("15550001:4@s.whatsapp.net"))
	seen := map[string]bool{}
	for _, parts := range [][]string{{"a", "b"}, {"a/b"}, {"a%2Fb"}, {"a", "b", ""}, {"a\xff"}, {"a\xfe"}, {"a;"}, {"a:"}, {"a\x00"}} {
		id := path(parts...)
		require.False(t, seen[id], "%q", parts)
		seen[id] = true
	}
	require.True(t, remembered("j/peer/1:0/session"))
	require.False(t, remembered("j/event/00"))
	require.False(t, remembered("j/prekey/00000001"))
}

func TestCollections(t *testing.T) {
	for _, c := range []struct{ account, collection, want string }{
		{"anna", "", "auth_anna"},
		{"anna", "wa_keys", "wa_keys"},
		{"anna", "auth_anna", "auth_anna"},
		{"anna", "messages", "auth_messages"},
		{"anna", "devices", "auth_devices"},
		{"anna", "media.files", "auth_media.files"},
		{"anna", "system.users", "auth_system.users"},
	} {
		require.Equal(t, c.want, collectionOf(Owner{Account: c.account, Collection: c.collection}))
	}
}
