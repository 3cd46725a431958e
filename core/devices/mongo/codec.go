package mongo

import (
	"errors"
	"math/rand/v2"

	"github.com/google/uuid"
	"go.mau.fi/util/random"

	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// deviceDoc is a device as pairing has made it.
type deviceDoc struct {
	ID           string `bson:"_id"`
	Stamp        string `bson:"s"`
	LID          string `bson:"lid"`
	Registration uint32 `bson:"registration"`
	Noise        []byte `bson:"noise"`
	Identity     []byte `bson:"identity"`
	SignedKey    []byte `bson:"signedKey"`
	SignedKeyID  uint32 `bson:"signedKeyId"`
	SignedKeySig []byte `bson:"signedKeySig"`
	ADVSecret    []byte `bson:"advSecret"`
	ADVDetails   []byte `bson:"advDetails"`
	ADVAccount   []byte `bson:"advAccount"`
	ADVKey       []byte `bson:"advKey"`
	ADVDevice    []byte `bson:"advDevice"`
	Platform     string `bson:"platform"`
	BusinessName string `bson:"business"`
	PushName     string `bson:"push"`
	Facebook     string `bson:"facebook"`
	Migrated     int64  `bson:"lidMigration"`
}

func newDevice(k *keeper, log waLog.Logger) *store.Device {
	dev := &store.Device{
		Log: log, Container: k, NoiseKey: keys.NewKeyPair(), IdentityKey: keys.NewKeyPair(),
		RegistrationID: rand.Uint32(), AdvSecretKey: random.Bytes(32), //nolint:gosec // a number, no secret
	}
	dev.SignedPreKey = dev.IdentityKey.CreateSignedPreKey(1)
	return dev
}

func encodeDevice(dev *store.Device) deviceDoc {
	d := deviceDoc{
		ID: deviceID(dev.ID.String()), LID: dev.LID.String(), Registration: dev.RegistrationID,
		Noise: dev.NoiseKey.Priv[:], Identity: dev.IdentityKey.Priv[:],
		SignedKey: dev.SignedPreKey.Priv[:], SignedKeyID: dev.SignedPreKey.KeyID, SignedKeySig: dev.SignedPreKey.Signature[:],
		ADVSecret: dev.AdvSecretKey, Platform: text(dev.Platform), BusinessName: text(dev.BusinessName), PushName: text(dev.PushName),
		Migrated: dev.LIDMigrationTimestamp,
	}
	if a := dev.Account; a != nil {
		d.ADVDetails, d.ADVAccount, d.ADVKey, d.ADVDevice = a.Details, a.AccountSignature, a.AccountSignatureKey, a.DeviceSignature
	}
	if dev.FacebookUUID != uuid.Nil {
		d.Facebook = dev.FacebookUUID.String()
	}
	return d
}

func (d *deviceDoc) decode(jid types.JID) (*store.Device, error) {
	if len(d.Noise) != 32 || len(d.Identity) != 32 || len(d.SignedKey) != 32 || len(d.SignedKeySig) != 64 {
		return nil, errors.New("its keys have the wrong length")
	}
	dev := &store.Device{
		Log: waLog.Noop, ID: &jid, RegistrationID: d.Registration, AdvSecretKey: d.ADVSecret,
		NoiseKey:     keys.NewKeyPairFromPrivateKey([32]byte(d.Noise)),
		IdentityKey:  keys.NewKeyPairFromPrivateKey([32]byte(d.Identity)),
		SignedPreKey: &keys.PreKey{KeyPair: *keys.NewKeyPairFromPrivateKey([32]byte(d.SignedKey)), KeyID: d.SignedKeyID, Signature: (*[64]byte)(d.SignedKeySig)},
		Account: &waAdv.ADVSignedDeviceIdentity{
			Details: d.ADVDetails, AccountSignature: d.ADVAccount, AccountSignatureKey: d.ADVKey, DeviceSignature: d.ADVDevice,
		},
		Platform: d.Platform, BusinessName: d.BusinessName, PushName: d.PushName, LIDMigrationTimestamp: d.Migrated,
	}
	var err error
	if d.LID != "" {
		if dev.LID, err = types.ParseJID(d.LID); err != nil {
			return nil, err
		}
	}
	if d.Facebook != "" {
		if dev.FacebookUUID, err = uuid.Parse(d.Facebook); err != nil {
			return nil, err
		}
	}
	return dev, nil
}
