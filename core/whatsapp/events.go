package whatsapp

import (
	"context"
	"fmt"
	"runtime/debug"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wildcathub/wildcat/sdk"
)

// handle takes every event of whatsmeow's, and says what becomes of it. False keeps
// WhatsApp from being told that it arrived. whatsmeow takes a panic for success:
// hence the recover.
func (m *Meow) handle(evt any) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			m.log.Error("handler panicked", "event_type", fmt.Sprintf("%T", evt), "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			m.refuse(fmt.Errorf("handler panicked: %v", p))
			ok = false
		}
	}()
	switch e := evt.(type) {
	// What becomes an event: stored before it is acknowledged.
	case *events.Message:
		return m.store(&e.Info, e.RawMessage, func() (*sdk.Event, error) { return m.conv.message(m.ctx, e) })
	case *events.UndecryptableMessage:
		// Acknowledged already, whatever is answered here.
		return m.store(&e.Info, nil, func() (*sdk.Event, error) { return m.conv.undecryptable(m.ctx, e) })
	case *events.Receipt:
		return m.store(nil, nil, func() (*sdk.Event, error) { return m.conv.receipt(m.ctx, e) })
	case *events.FBMessage: // Messenger's; a WhatsApp account gets none, but if it did it would be kept
		return m.store(&e.Info, nil, func() (*sdk.Event, error) { return m.conv.unparsed(&e.Info, e.Transport), nil })

	// What happens to the connection: a signal to its owner.
	case *events.QR:
		m.deps.Signal(Signal{Kind: SignalQR, Codes: e.Codes})
	case *events.PairSuccess:
		m.deps.Signal(Signal{Kind: SignalPaired, JID: e.ID.String(), LID: text(e.LID)})
	case *events.PairError:
		m.deps.Signal(Signal{Kind: SignalPairFailed, JID: e.ID.String(), Err: e.Error})
	case *events.QRScannedWithoutMultidevice:
		m.deps.Signal(Signal{Kind: SignalOldPhone})
	case *events.Connected:
		m.ready.Store(!m.refusing.Load())
		m.deps.Signal(Signal{Kind: SignalConnected})
	case *events.OfflineSyncCompleted:
		m.deps.Signal(Signal{Kind: SignalSynced})
	case *events.ManualLoginReconnect:
		m.over(Signal{Kind: SignalRestart})
	case *events.Disconnected:
		m.over(Signal{Kind: SignalDisconnected})
	case *events.KeepAliveTimeout:
		m.deps.Signal(Signal{Kind: SignalKeepAlive, Since: e.LastSuccess})
	case *events.LoggedOut:
		code := int(e.Reason)
		m.over(Signal{Kind: SignalLoggedOut, Code: code})
	case *events.TemporaryBan:
		m.over(Signal{Kind: SignalBanned, Code: int(e.Code), Expire: e.Expire})
	case *events.StreamReplaced:
		m.over(Signal{Kind: SignalReplaced})
	case *events.ClientOutdated:
		m.over(Signal{Kind: SignalOutdated})
	case *events.ConnectFailure:
		m.over(Signal{Kind: SignalRejected, Code: int(e.Reason)})
	case *events.StreamError:
		m.over(Signal{Kind: SignalStreamError, Code: number(e.Code)})

	// What needs no answer of ours.
	case *events.KeepAliveRestored: // the next timeout tells when the last answer was
	case *events.OfflineSyncPreview: // SignalSynced follows
	case *events.CATRefreshError: // Messenger's
	case *events.HistorySync: // history is not taken in yet; ManualHistorySyncDownload keeps it from coming
	case *events.AppState, *events.AppStateSyncComplete: // the events below say it better

	// What a later version makes events of.
	case *events.ChatPresence, *events.Presence: // typing and online: sent to those who are marked online only
	case *events.JoinedGroup, *events.GroupInfo, *events.Picture, *events.UserAbout: // groups and profiles
	case *events.IdentityChange, *events.PrivacySettings, *events.Blocklist: // the account's own settings
	case *events.CallOffer, *events.CallAccept, *events.CallPreAccept, *events.CallTransport, *events.CallOfferNotice,
		*events.CallRelayLatency, *events.CallTerminate, *events.CallReject, *events.UnknownCallEvent: // calls
	case *events.MediaRetry: // the phone's answer to a request for a file that the server lost; none is made yet
	case *events.NewsletterJoin, *events.NewsletterLeave, *events.NewsletterMuteChange, *events.NewsletterLiveUpdate: // newsletters

	// What the user did on another device: not the hub's business.
	case *events.Contact, *events.PushName, *events.BusinessName, *events.Pin, *events.Star, *events.DeleteForMe,
		*events.Mute, *events.Archive, *events.MarkChatAsRead, *events.ClearChat, *events.DeleteChat,
		*events.PushNameSetting, *events.UnarchiveChatsSetting, *events.UserStatusMute, *events.LabelEdit,
		*events.LabelAssociationChat, *events.LabelAssociationMessage:

	default: // a newer whatsmeow's: a test holds this list to the one it is built with
		m.log.Warn("event is unknown to this version", "event_type", fmt.Sprintf("%T", evt))
	}
	return true
}

// over passes on a signal after which nothing more is sent.
func (m *Meow) over(s Signal) {
	m.ready.Store(false)
	m.deps.Signal(s)
}

// store converts one stanza and has it stored. After the first failure everything is
// refused: what came later must not be stored before what WhatsApp hands over again.
func (m *Meow) store(info *types.MessageInfo, content *waE2E.Message, convert func() (*sdk.Event, error)) bool {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-m.ctx.Done():
		return false
	}
	if m.refusing.Load() || m.deps.Device.Failed() != nil {
		return false
	}
	ev, err := m.convert(info, content, convert)
	if err == nil && ev == nil {
		return true // the protocol's own
	}
	if err == nil {
		err = m.hand(m.ctx, ev)
	}
	if err != nil {
		m.refuse(err)
		return false
	}
	return true
}

// hand calls the handler; its panic is its failure, not that of the conversion.
func (m *Meow) hand(ctx context.Context, ev *sdk.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			m.log.Error("handler panicked", "message_id", ev.WAID, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("handler panicked: %v", p)
		}
	}()
	return m.deps.Handler(ctx, ev)
}

// convert keeps what cannot be converted as it is: only a write may fail.
func (m *Meow) convert(info *types.MessageInfo, content *waE2E.Message, convert func() (*sdk.Event, error)) (ev *sdk.Event, err error) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		m.log.Error("conversion panicked", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
		if ev, err = nil, nil; info != nil {
			ev = m.conv.unparsed(info, content)
		}
	}()
	return convert()
}

// refuse stops this client from storing or acknowledging anything.
func (m *Meow) refuse(err error) {
	m.ready.Store(false)
	if m.refusing.Swap(true) {
		return
	}
	m.log.Warn("refusing events until the next connection", "err", err)
	m.deps.Signal(Signal{Kind: SignalRefused, Err: err})
}
