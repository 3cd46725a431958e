package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/wildcathub/wildcat/core/store"
)

const (
	// tryTimeout bounds one round trip, callTimeout a call with its repetitions: beyond
	// it the caller learns that nothing can be stored now, and decides.
	tryTimeout  = 10 * time.Second
	callTimeout = 15 * time.Second
	maxTries    = 6
	firstWait   = 20 * time.Millisecond
)

// errSlow stands for a timeout of the engine's own, which must not look to the caller
// as if its own context had ended.
var errSlow = fmt.Errorf("%w: no answer in time", store.ErrAway)

// do runs op, and again if its outcome is unknown: the connection broke, the server
// stepped down. again tells op that an earlier try may have been applied.
func (s *Store) do(ctx context.Context, op func(ctx context.Context, again bool) error) error {
	start := time.Now()
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.closed.Load() {
			return errClosed
		}
		err := s.try(ctx, try > 1, op)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		if s.closed.Load() || errors.Is(err, mongo.ErrClientDisconnected) {
			return errClosed
		}
		if !uncertain(err) || try == maxTries || time.Since(start) > callTimeout || s.stopping.Load() {
			return mapError(err)
		}
		if werr := wait(ctx, firstWait<<(try-1)); werr != nil {
			return fmt.Errorf("%w: %w", werr, err)
		}
	}
}

func (s *Store) try(ctx context.Context, again bool, op func(ctx context.Context, again bool) error) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return op(ctx, again)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Codes of the server's that are no answer to the request but a state of the server:
// what was asked for may be done, or will be once another server leads.
func transient() []int {
	return []int{
		6, 7, 89, 9001, // HostUnreachable, HostNotFound, NetworkTimeout, SocketException
		91, 11600, 11602, // ShutdownInProgress, InterruptedAtShutdown, InterruptedDueToReplStateChange
		189, 10107, 13435, 13436, 10058, // PrimarySteppedDown, NotWritablePrimary, NotPrimaryNoSecondaryOk, NotPrimaryOrSecondary, LegacyNotPrimary
		64, 100, // WriteConcernTimeout, UnsatisfiableWriteConcern: applied, but on too few
		112, 262, // WriteConflict, ExceededTimeLimit
	}
}

// uncertain tells whether a repetition may succeed, and whether it has to be made
// before the outcome is known.
func uncertain(err error) bool {
	if mongo.IsNetworkError(err) || mongo.IsTimeout(err) {
		return true
	}
	// No server that can be written, a connection that was refused or broke before its first
	// command, and a pool that was emptied since another call's connection broke.
	var selection topology.ServerSelectionError
	var connection topology.ConnectionError
	var pool interface{ Retryable() bool }
	if errors.As(err, &selection) || errors.As(err, &connection) || errors.As(err, &pool) && pool.Retryable() {
		return true
	}
	return slices.ContainsFunc(mongo.ErrorCodes(err), func(c int) bool { return slices.Contains(transient(), c) })
}

// Codes that say that nothing more can be stored: OutOfDiskSpace, and AtlasError, which
// also says that (with "quota" in its text).
const (
	codeDiskSpace = 14031
	codeAtlas     = 8000
)

// mapError puts the seam's names on the server's errors.
func mapError(err error) error {
	codes := mongo.ErrorCodes(err)
	switch {
	case slices.Contains(codes, codeDiskSpace),
		slices.Contains(codes, codeAtlas) && strings.Contains(err.Error(), "quota"):
		return fmt.Errorf("%w: %w", store.ErrFull, err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("%w: %s", errSlow, err.Error())
	case uncertain(err):
		return fmt.Errorf("%w: %w", store.ErrAway, err)
	}
	return err
}

// rejected returns the indexes of the documents that a bulk write could not insert since
// their key is there already; any other error of the bulk write is returned.
func rejected(err error) ([]int, error) {
	if err == nil {
		return nil, nil
	}
	var bulk mongo.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil {
		return nil, err
	}
	var out []int
	for _, we := range bulk.WriteErrors {
		if !mongo.IsDuplicateKeyError(we.WriteError) {
			return nil, err
		}
		out = append(out, we.Index)
	}
	if len(out) == 0 {
		return nil, err
	}
	return out, nil
}
