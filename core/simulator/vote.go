package simulator

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/gcmutil"
	"go.mau.fi/whatsmeow/util/hkdfutil"
)

// jidText is a JID without its device, as it is mixed into a vote's key.
type jidText string

// optionHash is how a vote names an option.
func optionHash(option string) []byte {
	sum := sha256.Sum256([]byte(option))
	return sum[:]
}

// voteKey derives the key of a vote from the poll's secret (msgsecret.go of whatsmeow,
// generateMsgSecretKey).
func voteKey(poll *Message, author, voter jidText) (key, additional []byte, err error) {
	secret := poll.Content.GetMessageContextInfo().GetMessageSecret()
	if len(secret) != 32 {
		return nil, nil, errors.New("the poll has no secret")
	}
	info := poll.ID + string(author) + string(voter) + "Poll Vote"
	return hkdfutil.SHA256(secret, nil, []byte(info), 32), []byte(poll.ID + "\x00" + string(voter)), nil
}

func sealVote(poll *Message, voter jidText, hashes [][]byte) (*waE2E.PollEncValue, error) {
	key, additional, err := voteKey(poll, jidText(poll.author.ToNonAD().String()), voter)
	if err != nil {
		return nil, err
	}
	plain, err := proto.Marshal(&waE2E.PollVoteMessage{SelectedOptions: hashes})
	if err != nil {
		return nil, fmt.Errorf("marshal vote: %w", err)
	}
	iv := make([]byte, 12)
	_, _ = rand.Read(iv) // never fails, by its contract
	ciphertext, err := gcmutil.Encrypt(key, iv, plain, additional)
	if err != nil {
		return nil, fmt.Errorf("encrypt vote: %w", err)
	}
	return &waE2E.PollEncValue{EncPayload: ciphertext, EncIV: iv}, nil
}

// openVote decrypts a vote. Both the poll's author and the voter have two names, and which
// of them the voter's client mixed into the key is its affair: all are tried.
func (s *Server) openVote(poll *Message, voter *account, vote *waE2E.PollEncValue) ([][]byte, error) {
	if len(vote.GetEncIV()) != 12 {
		return nil, fmt.Errorf("a vote's initialisation vector has %d bytes, 12 expected", len(vote.GetEncIV()))
	}
	authors := []types.JID{poll.author.ToNonAD()}
	if a := s.findAccount(poll.author); a != nil {
		authors = a.addresses()
	}
	err := errors.New("no author")
	for _, author := range authors {
		for _, by := range voter.addresses() {
			var key, additional, plain []byte
			if key, additional, err = voteKey(poll, jidText(author.String()), jidText(by.String())); err != nil {
				return nil, err
			}
			if plain, err = gcmutil.Decrypt(key, vote.GetEncIV(), vote.GetEncPayload(), additional); err != nil {
				continue
			}
			var out waE2E.PollVoteMessage
			if err = proto.Unmarshal(plain, &out); err != nil {
				return nil, fmt.Errorf("parse vote: %w", err)
			}
			return out.GetSelectedOptions(), nil
		}
	}
	return nil, fmt.Errorf("decrypt vote: %w", err)
}
