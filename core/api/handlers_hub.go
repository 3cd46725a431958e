package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"

	"github.com/gin-gonic/gin"
)

// Nudge tells a hub of deliveries that another one has written and that are its to make. It
// says nothing that is not in the database: one that is lost, late or repeated does no harm.
type Nudge struct {
	Lanes []NudgeLane `json:"lanes,omitempty"`
	// More says that there are more lanes than are named.
	More bool `json:"more,omitempty"`
}

// NudgeLane is a chat's queue to an endpoint.
type NudgeLane struct {
	Endpoint string `json:"endpoint"`
	Account  string `json:"account"`
	Chat     string `json:"chat"`
}

// NudgePath is where hubs take nudges.
const NudgePath = "/v1/hubs/nudge"

// maxNudge bounds a nudge's body, in bytes. A sender that has more to tell says that there is more.
const maxNudge = 256 << 10

// NudgeQuery is the query of a nudge: the hash of its body, since the hubs' proof is one of the
// address only.
func NudgeQuery(body []byte) url.Values {
	sum := sha256.Sum256(body)
	return url.Values{"sha256": {hex.EncodeToString(sum[:])}}
}

// nudged takes a nudge from another hub.
func (s *Server) nudged(c *gin.Context) error {
	raw, err := io.ReadAll(http.MaxBytesReader(c.Writer, c.Request.Body, maxNudge))
	if err != nil {
		return errNudge.because(err)
	}
	var n Nudge
	if c.Request.URL.RawQuery != NudgeQuery(raw).Encode() || json.Unmarshal(raw, &n) != nil {
		return errNudge
	}
	s.deps.Nudged(n)
	return ok(c, gin.H{"ok": true})
}
