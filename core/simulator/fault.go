package simulator

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// ErrFault says that a fault's description is not valid; the text around it says why.
var ErrFault = errors.New("invalid fault")

// Direction is the way of a stanza, as seen from the server; of media, the way of the file.
type Direction string

// The directions.
const (
	// In is from a client to the server; of media, an upload.
	In Direction = "in"
	// Out is from the server to a client; of media, a download.
	Out Direction = "out"
)

// FaultAction is what a [Fault] does.
type FaultAction string

// The actions. Those on stanzas come first; they need a direction unless they say that
// they are of one.
const (
	// FaultDrop loses the stanza. One that was queued for the device stays queued, and goes out
	// again after the device's next login.
	FaultDrop FaultAction = "drop"
	// FaultDelay hands the stanza on later, by DelayMS and up to JitterMS more; what comes
	// behind it is not held up. Equal delays keep the order of one connection and direction.
	FaultDelay FaultAction = "delay"
	// FaultDuplicate hands the stanza on, and Copies more of it; 0 is one more.
	FaultDuplicate FaultAction = "duplicate"
	// FaultHold keeps the stanza until the rule's Release, or until ReleaseAt are held. What
	// is held for a connection that has ended is forgotten, as on a network.
	FaultHold FaultAction = "hold"
	// FaultMutate changes the stanza by Mutate or Mutation, and lets later rules see the result.
	FaultMutate FaultAction = "mutate"
	// FaultIQError answers a client's query with an error, Code and Text, without handling it. In.
	FaultIQError FaultAction = "iq-error"
	// FaultAckError acknowledges a client's message with error=Code, without handling it. In.
	FaultAckError FaultAction = "ack-error"
	// FaultDeduplicate acknowledges a message whose id the device has sent before to the same
	// chat, while the rule was there, without handling it; WhatsApp itself does not. Answers to
	// retry receipts pass. A message that is new goes on to later rules. In.
	FaultDeduplicate FaultAction = "deduplicate"
	// FaultCutBefore closes the connection in the stanza's place: it never arrives, or never leaves.
	FaultCutBefore FaultAction = "cut-before"
	// FaultCutAfter handles a client's stanza, durably, and closes the connection without any
	// answer. Outwards the stanza is the last that leaves, and what the client says to it is not heard.
	FaultCutAfter FaultAction = "cut-after"
	// FaultStreamError ends the connection with a stream error Code in the stanza's place; see
	// [Device.StreamError].
	FaultStreamError FaultAction = "stream-error"

	// FaultSocketStatus answers the request for a websocket with the HTTP status Code; 0 is 503.
	// The server does not know yet which device asks: this and the next three match all.
	FaultSocketStatus FaultAction = "websocket-status"
	// FaultHandshakeHang never answers the client's hello.
	FaultHandshakeHang FaultAction = "handshake-hang"
	// FaultHandshakeSpoil answers it with a hello that does not decrypt.
	FaultHandshakeSpoil FaultAction = "handshake-spoil"
	// FaultHandshakeHalf answers it, hears the client's end of it, and closes.
	FaultHandshakeHalf FaultAction = "handshake-half"
	// FaultLoginFailure refuses a login with <failure reason=Code>, Text as its message, and for
	// 402 BanCode and ExpireS. It changes nothing else: what becomes of the device is up to the client.
	FaultLoginFailure FaultAction = "login-failure"
	// FaultNoLinger closes right behind a last stanza, such as <failure>, which races with the
	// client's handling of it. Tag and Code say which last stanza: "failure", "stream:error".
	FaultNoLinger FaultAction = "no-linger"

	// FaultMediaStatus answers a request for media with the HTTP status Code. On media Type is
	// "image", "video", "audio", "document" and so on, and no direction means both.
	FaultMediaStatus FaultAction = "media-status"
	// FaultMediaTruncate breaks a download off in the middle. Out.
	FaultMediaTruncate FaultAction = "media-truncate"
	// FaultMediaCorrupt changes one byte of a download. Out.
	FaultMediaCorrupt FaultAction = "media-corrupt"
	// FaultMediaSlow waits DelayMS before it serves.
	FaultMediaSlow FaultAction = "media-slow"
)

// Fault describes something that goes wrong: what it applies to, and what happens. Its
// JSON form is what the control API takes. Of several faults that match one stanza the one
// that was added first decides.
//
// Faults act on connections. What simulated phones send each other has none, and no fault.
type Fault struct {
	// Name is for whoever reads a list of faults.
	Name   string      `json:"name,omitempty"`
	Action FaultAction `json:"action"`

	// What it applies to. Empty fields match everything.

	Direction Direction `json:"direction,omitempty"`
	// Device is a number, which means all its companions, or one device's JID.
	Device string `json:"device,omitempty"`
	// Tag, Class, Type, XMLNS and ID are the stanza's own; "-" as Class or Type matches a
	// stanza that has none, as an ordinary delivery receipt has no type.
	Tag   string `json:"tag,omitempty"`
	Class string `json:"class,omitempty"`
	Type  string `json:"type,omitempty"`
	XMLNS string `json:"xmlns,omitempty"`
	ID    string `json:"id,omitempty"`
	// Nth makes it happen at the nth match only, counted from 1; 0 at each.
	Nth int `json:"nth,omitempty"`
	// Times bounds how often it happens; 0 does not.
	Times int `json:"times,omitempty"`
	// Probability of each match, above 0 and up to 1; 0 is always. Seed makes the same choices
	// again, and shuffles what is released.
	Probability float64 `json:"probability,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`

	// What it does.

	DelayMS   int    `json:"delay_ms,omitempty"`
	JitterMS  int    `json:"jitter_ms,omitempty"`
	Copies    int    `json:"copies,omitempty"`
	ReleaseAt int    `json:"release_at,omitempty"`
	Order     Order  `json:"order,omitempty"` // of a release at ReleaseAt
	Mutation  string `json:"mutation,omitempty"`
	// Mutate changes a deep copy of the stanza. It must not call the server.
	Mutate func(*waBinary.Node) `json:"-"`
	Code   int                  `json:"code,omitempty"`
	Text   string               `json:"text,omitempty"`
	// BanCode says why a number is banned for a time (101 to 106), ExpireS for how many seconds.
	BanCode int `json:"ban_code,omitempty"`
	ExpireS int `json:"expire_s,omitempty"`
}

// Order is the order in which held stanzas are released.
type Order string

// The orders.
const (
	AsHeld   Order = "held"
	Reversed Order = "reversed"
	// Shuffled is a random order, by the fault's Seed.
	Shuffled Order = "shuffled"
)

// maxDelayMS bounds DelayMS and JitterMS: a connection does not live much longer.
const maxDelayMS = 10 * 60 * 1000

// stage is where a fault acts.
type stage int

const (
	onStanza stage = iota
	onSocket
	onHandshake
	onLogin
	onLast
	onMedia
)

// faultKind says what an action needs.
type faultKind struct {
	stage    stage
	only     Direction // the one direction that it has
	tag      string    // the one tag that it has
	low, top int       // of Code; top 0 for none
	standard int       // of Code
}

// faultKinds is where an action is added.
func faultKinds() map[FaultAction]faultKind {
	return map[FaultAction]faultKind{
		FaultDrop:           {},
		FaultDelay:          {},
		FaultDuplicate:      {},
		FaultHold:           {},
		FaultMutate:         {},
		FaultCutBefore:      {},
		FaultCutAfter:       {},
		FaultStreamError:    {low: 100, top: 999},
		FaultIQError:        {only: In, tag: "iq", low: 100, top: 999},
		FaultAckError:       {only: In, tag: "message", low: 1, top: 999},
		FaultDeduplicate:    {only: In, tag: "message"},
		FaultSocketStatus:   {stage: onSocket, low: 400, top: 599, standard: http.StatusServiceUnavailable},
		FaultHandshakeHang:  {stage: onHandshake},
		FaultHandshakeSpoil: {stage: onHandshake},
		FaultHandshakeHalf:  {stage: onHandshake},
		FaultLoginFailure:   {stage: onLogin, low: 100, top: 999},
		FaultNoLinger:       {stage: onLast},
		FaultMediaStatus:    {stage: onMedia, low: 400, top: 599},
		FaultMediaTruncate:  {stage: onMedia, only: Out},
		FaultMediaCorrupt:   {stage: onMedia, only: Out},
		FaultMediaSlow:      {stage: onMedia},
	}
}

// FaultActions lists all actions, in alphabetical order.
func FaultActions() []FaultAction {
	var out []FaultAction
	for action := range faultKinds() {
		out = append(out, action)
	}
	slices.Sort(out)
	return out
}

// Validate says what is wrong with the description, in the words of its JSON form; the
// error is an [ErrFault].
func (f *Fault) Validate() error {
	kind, ok := faultKinds()[f.Action]
	if !ok {
		return fmt.Errorf("%w: action %q: want one of %v", ErrFault, f.Action, FaultActions())
	}
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	check(f.Direction == "" || f.Direction == In || f.Direction == Out, `direction %q: want "in" or "out"`, f.Direction)
	if kind.only != "" {
		check(f.Direction == "" || f.Direction == kind.only, "direction %q: %s is of %q only", f.Direction, f.Action, kind.only)
	} else if kind.stage == onStanza {
		check(f.Direction != "", `direction is missing: want "in" (from the client) or "out"`)
	} else if kind.stage != onMedia {
		check(f.Direction == "", "direction: %s has none", f.Action)
	}
	if kind.tag != "" {
		check(f.Tag == "" || f.Tag == kind.tag, "tag %q: %s is for <%s> only", f.Tag, f.Action, kind.tag)
	}
	if kind.stage == onSocket || kind.stage == onHandshake || kind.stage == onMedia {
		check(f.Device == "", "device: it is not known yet at %s", f.Action)
	} else if f.Device != "" {
		_, err := parseDevicePattern(f.Device)
		check(err == nil, "device %q: want a number, or a JID such as 15550001:1@s.whatsapp.net", f.Device)
	}
	check(f.Nth >= 0, "nth %d: want 1 or more, or 0 for each", f.Nth)
	check(f.Times >= 0, "times %d: want 1 or more, or 0 for no bound", f.Times)
	check(f.Nth == 0 || f.Times <= 1, "times %d: nth names one match only", f.Times)
	check(f.Probability >= 0 && f.Probability <= 1, "probability %v: want above 0 and up to 1, or 0 for always", f.Probability)
	check(f.DelayMS >= 0 && f.JitterMS >= 0, "delay_ms %d, jitter_ms %d: want 0 or more", f.DelayMS, f.JitterMS)
	check(f.DelayMS <= maxDelayMS && f.JitterMS <= maxDelayMS, "delay_ms %d, jitter_ms %d: want at most %d, ten minutes",
		f.DelayMS, f.JitterMS, maxDelayMS)
	if f.Action == FaultDelay || f.Action == FaultMediaSlow {
		check(f.DelayMS+f.JitterMS > 0, "delay_ms is missing")
	}
	check(f.Copies >= 0 && f.Copies <= 1000, "copies %d: want 0 to 1000", f.Copies)
	check(f.ReleaseAt >= 0, "release_at %d: want 0 or more", f.ReleaseAt)
	check(f.Order.valid(), `order %q: want "held", "reversed" or "shuffled"`, f.Order)
	if f.Action == FaultMutate {
		_, known := mutations()[f.Mutation]
		check(known || f.Mutate != nil && f.Mutation == "", "mutation %q: want one of %v", f.Mutation, Mutations())
	}
	if kind.top > 0 {
		check(f.Code >= kind.low && f.Code <= kind.top || f.Code == 0 && kind.standard > 0,
			"code %d: want %d to %d", f.Code, kind.low, kind.top)
	}
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrFault, errors.Join(problems...))
}

func (o Order) valid() bool { return o == "" || o == AsHeld || o == Reversed || o == Shuffled }

// devicePattern is the parsed form of a device as faults and traces name it.
type devicePattern struct {
	user   string
	device int // -1 for all
}

func parseDevicePattern(pattern string) (devicePattern, error) {
	if number, err := cleanNumber(pattern); err == nil {
		return devicePattern{number, -1}, nil
	}
	jid, err := types.ParseJID(pattern)
	if err != nil || jid.User == "" || jid.Server != types.DefaultUserServer && jid.Server != types.HiddenUserServer {
		return devicePattern{}, fmt.Errorf("%q: %w", pattern, ErrNumber)
	}
	return devicePattern{jid.User, int(jid.Device)}, nil
}

func (p devicePattern) matches(d *Device) bool {
	if p.user == "" {
		return true
	}
	return d != nil && (p.device < 0 || int(d.id) == p.device) && (p.user == d.acct.number || p.user == d.acct.lid)
}
