package devices

import (
	"context"
	"sync"
	"time"
)

// whatsmeow keeps the plaintext of a message until its handler has stored it, then clears
// it, and then acknowledges the message. The clearing needs no transaction, and no fsync, of
// its own: a plaintext that is cleared late is handed to the handler once more if the message
// comes again, and the handler knows it by its identifier. So the clearing waits for the next
// decryption's transaction, or, when none comes, a moment.
const (
	spentWait = 200 * time.Millisecond
	spentMost = 64
)

// spent holds the hashes of the plaintexts that are not needed any more.
type spent struct {
	mu     sync.Mutex
	hashes [][32]byte
	timer  *time.Timer // runs while hashes is not empty
}

// add notes a hash, and says whether there are too many to wait any longer. later is called
// once, in a goroutine, when nobody took them for a while.
func (s *spent) add(hash [32]byte, later func()) (full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hashes = append(s.hashes, hash)
	if s.timer == nil {
		s.timer = time.AfterFunc(spentWait, later)
	} else if len(s.hashes) == 1 {
		s.timer.Reset(spentWait)
	}
	return len(s.hashes) >= spentMost
}

// take hands all of them over.
func (s *spent) take() [][32]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.hashes) == 0 {
		return nil
	}
	out := s.hashes
	s.hashes = nil
	s.timer.Stop()
	return out
}

// back takes those back whose clearing was rolled back.
func (s *spent) back(hashes [][32]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(hashes) > 0 {
		s.hashes = append(s.hashes, hashes...)
		s.timer.Reset(spentWait)
	}
}

// clear clears plaintexts in the transaction that ctx carries.
func (g *guard) clear(ctx context.Context, hashes [][32]byte) error {
	for _, h := range hashes {
		if err := g.d.call(ctx, "ClearBufferedEventPlaintext", func() error { return g.inner.ClearBufferedEventPlaintext(ctx, h) }); err != nil {
			return err
		}
	}
	return nil
}

// clearSpent clears what no decryption has taken along. A device that must not be used any
// more leaves it: its successor has the messages handled again if they come again.
func (g *guard) clearSpent(ctx context.Context) error {
	if g.d.begin() != nil {
		return nil
	}
	defer g.d.txns.Done()
	return g.clearRest(ctx)
}

func (g *guard) clearRest(ctx context.Context) error {
	hashes := g.d.spent.take()
	if len(hashes) == 0 {
		return nil
	}
	err := g.inner.DoDecryptionTxn(ctx, func(ctx context.Context) error { return g.clear(ctx, hashes) })
	if err != nil {
		g.d.spent.back(hashes)
		if g.d.Failed() == nil { // beginning or committing failed
			err = g.d.note(ctx, "ClearBufferedEventPlaintext", err)
		}
	}
	return err
}
