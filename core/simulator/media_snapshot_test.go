package simulator_test

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wildcathub/wildcat/core/simulator"
	"github.com/wildcathub/wildcat/core/simulator/simtest"
)

func TestASnapshotHoldsMediaAndWhoKeptThem(t *testing.T) {
	first := newServer(t, t.TempDir())
	owner, friend := simtest.AddPhone(t, first, "15550001"), simtest.AddPhone(t, first, "15550002")
	ctx := simtest.Within(t, 30*time.Second)
	var ids []string
	for i := range 3 { // one is served, one only kept by phones, one only by its sender
		id, err := friend.SendMedia(ctx, "15550001", simulator.Media{Kind: simulator.KindVideo, Data: noise(uint64(i), 3<<20)}, simulator.SendOptions{})
		require.NoError(t, err)
		ids = append(ids, id)
		_, err = owner.WaitReceived(ctx, i+1)
		require.NoError(t, err)
		if i > 0 {
			list := first.Media()
			require.Len(t, list, 2)
			m, ok := friend.Message("15550001", ids[0])
			require.True(t, ok)
			for _, hosted := range list {
				if hosted.Path != m.Content.VideoMessage.GetDirectPath() {
					require.NoError(t, first.DeleteMedia(hosted.ID))
				}
			}
		}
	}
	require.NoError(t, owner.ForgetMedia("15550002", ids[2]))
	taken := snapshotOf(t, first)
	served := first.Media()
	require.Len(t, served, 1)

	for _, dir := range []string{"", t.TempDir()} {
		second := simtest.Serve(t, simulator.Options{Dir: dir, Snapshot: bytes.NewReader(taken)})
		require.Equal(t, served, second.Media())
		resp, body := fetch(t, second, served[0].Path)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.EqualValues(t, served[0].Size, len(body))
		owner, friend := second.Phone("15550001"), second.Phone("15550002")
		for i, id := range ids {
			m, ok := friend.Message("15550001", id)
			require.True(t, ok)
			got, err := friend.Download(ctx, m)
			require.NoError(t, err)
			require.Equal(t, noise(uint64(i), 3<<20), got)
			m, ok = owner.Message("15550002", id)
			require.True(t, ok)
			require.Equal(t, i == 2, m.Media.Missing)
			got, err = owner.Download(ctx, m)
			if i == 2 {
				require.ErrorIs(t, err, simulator.ErrUnknownMedia)
				continue
			}
			require.NoError(t, err)
			require.Equal(t, noise(uint64(i), 3<<20), got)
		}

		// Nobody holds more than the phones and the link do.
		require.NoError(t, second.DeleteMedia(served[0].ID))
		for _, id := range ids {
			_, err := friend.Revoke(ctx, "15550001", id)
			require.NoError(t, err)
			m, err := owner.WaitChanged(ctx, "15550002", id, func(m simulator.Message) bool { return m.Revoked })
			require.NoError(t, err)
			require.Nil(t, m.Media)
		}
		var after bytes.Buffer
		require.NoError(t, second.Snapshot(&after))
		require.Less(t, after.Len(), 1<<20, "no file is left")
	}
}
