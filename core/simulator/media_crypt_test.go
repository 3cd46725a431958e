package simulator

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"go.mau.fi/whatsmeow"
)

func TestAFileIsReadOnlyWithItsKeyAndUnchanged(t *testing.T) {
	s, err := New(Options{})
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Close()) }()
	rapid.Check(t, func(t *rapid.T) {
		plain := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "plain")
		up, err := s.uploadMedia(whatsmeow.MediaImage, bytes.NewReader(plain))
		require.NoError(t, err)
		sealed, err := s.readMedia(mediaHash(up.EncSHA256))
		require.NoError(t, err)
		require.EqualValues(t, len(plain), up.Size)
		got, err := decryptMedia(bytes.Clone(sealed), up.Key, whatsmeow.MediaImage)
		require.NoError(t, err)
		require.True(t, bytes.Equal(plain, got))

		_, err = decryptMedia(bytes.Clone(sealed), up.Key, whatsmeow.MediaVideo)
		require.ErrorIs(t, err, ErrMediaBroken, "the key of another kind")
		changed := bytes.Clone(sealed)
		changed[rapid.IntRange(0, len(changed)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "by"))
		_, err = decryptMedia(changed, up.Key, whatsmeow.MediaImage)
		require.ErrorIs(t, err, ErrMediaBroken, "one byte changed")
		_, err = decryptMedia(bytes.Clone(sealed[:rapid.IntRange(0, len(sealed)-1).Draw(t, "cut")]), up.Key, whatsmeow.MediaImage)
		require.ErrorIs(t, err, ErrMediaBroken, "cut off")
	})
}
