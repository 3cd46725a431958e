package webhook

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"testing/iotest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestStandardWebhooksTestVector(t *testing.T) {
	key, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	got := Sign([][]byte{key}, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	require.Equal(t, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", got)
}

func TestIndependentLibraryVerifiesWhatWeSign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, maxSecrets).Draw(t, "secrets")
		var secrets []string
		var keys [][]byte
		for range n {
			s, err := NewSecret(rand.Reader)
			require.NoError(t, err)
			key, err := ParseSecret(s)
			require.NoError(t, err)
			require.Len(t, key, secretSize)
			secrets, keys = append(secrets, s), append(keys, key)
		}
		id := rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "id")
		body := rapid.SliceOf(rapid.Byte()).Draw(t, "body")
		stamp := strconv.FormatInt(time.Now().Unix(), 10)
		h := http.Header{}
		h.Set("webhook-id", id)
		h.Set("webhook-timestamp", stamp)
		h.Set("webhook-signature", Sign(keys, id, stamp, body))
		for _, s := range secrets {
			wh, err := standardwebhooks.NewWebhook(s)
			require.NoError(t, err)
			require.NoError(t, wh.Verify(body, h), "each active secret verifies")
			require.Error(t, wh.Verify(append(bytes.Clone(body), 'x'), h))
		}
	})
}

func TestSecretsThatAreNone(t *testing.T) {
	for _, s := range []string{"secret", "whsec_", "whsec_!!!", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"} {
		_, err := ParseSecret(s)
		require.ErrorContains(t, err, "whsec_", s)
	}
	_, err := NewSecret(iotest.ErrReader(errors.New("no entropy")))
	require.ErrorContains(t, err, "no entropy")
}
