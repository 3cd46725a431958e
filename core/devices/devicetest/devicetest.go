// Package devicetest is the suite that every engine for device keys passes: what each
// of whatsmeow's stores means, and what must hold together when the program dies between
// two writes. It works through package devices, as the program does.
package devicetest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/types"

	"github.com/wildcathub/wildcat/core/devices"
)

// Place is where keys are kept. Each call opens it again, as a program that is started
// again does; what it returns is closed by the test's cleanup at the latest.
type Place func(t *testing.T, deps devices.Deps) *devices.Container

// Traits are what whatsmeow's own store does not do, and ours does.
type Traits struct {
	// Counter: the id of a prekey never comes again, even if it was the highest and is
	// gone.
	Counter bool
	// WholeState: an app state's version is not stored without its MACs.
	WholeState bool
	// Empty: a plaintext of no bytes is not taken for one that was cleared.
	Empty bool
	// Bulks: a decryption is written in a bulk that can break off in the middle, and not
	// in a transaction.
	Bulks bool
	// Fence: the epoch of the account's lease is checked.
	Fence bool
}

// JID is the address of the device that the suite makes.
const JID = "15550001:4@s.whatsapp.net"

// Run runs the suite. place is called once for each test, which has it to itself.
func Run(t *testing.T, traits Traits, place func(t *testing.T) Place) {
	for _, x := range []struct {
		name string
		test func(*testing.T, *fixture)
		need bool
	}{
		{"ADeviceIsSavedWhole", testDevice, true},
		{"ADeviceThatIsDeletedLeavesNothing", testDeleted, true},
		{"Identities", testIdentities, true},
		{"Sessions", testSessions, true},
		{"SessionsAsInAModel", testModel, true},
		{"SenderKeys", testSenderKeys, true},
		{"MigrationMovesAllAndMayRunTwice", testMigration, true},
		{"PreKeys", testPreKeys, true},
		{"PreKeysMadeAtOnceDiffer", testPreKeysAtOnce, true},
		{"PreKeyIDsDoNotComeAgain", testPreKeyCounter, traits.Counter},
		{"AppState", testAppState, true},
		{"AppStateIsStoredWhole", testWholeState, traits.WholeState},
		{"AppStateKeys", testSyncKeys, true},
		{"Contacts", testContacts, true},
		{"ChatSettings", testChatSettings, true},
		{"MessageSecrets", testSecrets, true},
		{"PrivacyTokens", testTokens, true},
		{"EventBuffer", testEvents, true},
		{"AnEmptyPlaintextIsStillToBeHandled", testEmptyPlaintext, traits.Empty},
		{"ADecryptionReadsItsOwnWrites", testOwnWrites, true},
		{"ADecryptionThatFailsLeavesNothing", testAborted, true},
		{"ACallThatFailsLosesNoMessage", testFailingCalls, true},
		{"ACrashBetweenWritesLosesNoMessage", testCuts, traits.Bulks},
		{"LIDs", testLIDs, true},
		{"ManyAtOnce", testManyAtOnce, true},
		{"AStaleOwnerWritesNothing", testFence, traits.Fence},
		{"AStaleOwnerOfADeletedDeviceWritesNothing", testFenceOfDeleted, traits.Fence},
	} {
		t.Run(x.name, func(t *testing.T) {
			if !x.need {
				t.Skip("this engine's traits leave it out")
			}
			f := &fixture{place: place(t)}
			f.c = f.place(t, devices.Deps{Faults: &f.faults})
			x.test(t, f)
		})
	}
}

// fixture is one test's place, with a container open on it.
type fixture struct {
	place  Place
	c      *devices.Container
	faults devices.Faults
}

// pair makes a device as pairing leaves it.
func (f *fixture) pair(t *testing.T, jid string, o devices.Owner) *devices.Device {
	t.Helper()
	d, err := f.c.New(t.Context(), o)
	require.NoError(t, err)
	id, err := types.ParseJID(jid)
	require.NoError(t, err)
	d.Store.ID = &id
	d.Store.LID = types.JID{User: "7" + id.User, Device: id.Device, Server: types.HiddenUserServer}
	d.Store.Account = &waAdv.ADVSignedDeviceIdentity{
		Details: []byte("details"), AccountSignature: make([]byte, 64), AccountSignatureKey: make([]byte, 32), DeviceSignature: make([]byte, 64),
	}
	d.Store.Platform, d.Store.BusinessName, d.Store.PushName = "android", "Shop", "Anna"
	require.NoError(t, d.Store.Save(t.Context()))
	return d
}

func owner() devices.Owner { return devices.Owner{Account: "anna"} }

// open pairs the one device that most tests need.
func (f *fixture) open(t *testing.T) *devices.Device {
	t.Helper()
	return f.pair(t, JID, owner())
}

// again opens the place anew, as after a crash, and loads the device.
func (f *fixture) again(t *testing.T) *devices.Device {
	t.Helper()
	f.c = f.place(t, devices.Deps{Faults: &f.faults})
	return f.load(t)
}

func (f *fixture) load(t *testing.T) *devices.Device {
	t.Helper()
	d, err := f.c.Device(t.Context(), JID, owner())
	require.NoError(t, err)
	return d
}

// both runs a check on the device as it is, and as another start of the program finds it.
func (f *fixture) both(t *testing.T, d *devices.Device, check func(*devices.Device)) *devices.Device {
	t.Helper()
	check(d)
	require.NoError(t, d.Failed())
	d = f.again(t)
	check(d)
	require.NoError(t, d.Failed())
	return d
}

// decrypt runs a decryption.
func decrypt(t *testing.T, d *devices.Device, fn func(ctx context.Context) error) error {
	t.Helper()
	return d.Store.EventBuffer.DoDecryptionTxn(t.Context(), fn)
}
