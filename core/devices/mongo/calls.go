package mongo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"
)

const (
	// tryTimeout bounds one round trip, callTimeout a call with its repetitions.
	tryTimeout  = 10 * time.Second
	callTimeout = 15 * time.Second
	maxTries    = 4
	firstWait   = 20 * time.Millisecond
)

// errSlow stands for a timeout of our own, which must not look as if the caller had ended
// the call: that would not poison the device.
var errSlow = errors.New("the database did not answer in time")

// do runs op, and again while its outcome is unknown: everything here may be repeated.
func do(ctx context.Context, op func(ctx context.Context) error) error {
	start := time.Now()
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := once(ctx, op)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		if !uncertain(err) || try == maxTries || time.Since(start) > callTimeout {
			if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
				return fmt.Errorf("%w: %s", errSlow, err.Error())
			}
			return err
		}
		t := time.NewTimer(firstWait << (try - 1))
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

func once(ctx context.Context, op func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return op(ctx)
}

// uncertain tells whether a repetition may succeed: the connection broke, or the server
// is not, or not any more, the one that may be written.
func uncertain(err error) bool {
	if mongo.IsNetworkError(err) || mongo.IsTimeout(err) {
		return true
	}
	// No server that can be written, a connection that broke before its first command, and a
	// pool that was emptied since another call's connection broke.
	var selection topology.ServerSelectionError
	var connection topology.ConnectionError
	var pool interface{ Retryable() bool }
	if errors.As(err, &selection) || errors.As(err, &connection) || errors.As(err, &pool) && pool.Retryable() {
		return true
	}
	states := []int{
		6, 7, 89, 9001, // HostUnreachable, HostNotFound, NetworkTimeout, SocketException
		91, 11600, 11602, // ShutdownInProgress, InterruptedAtShutdown, InterruptedDueToReplStateChange
		189, 10107, 13435, 13436, 10058, // PrimarySteppedDown, NotWritablePrimary and kin
		64, 100, // WriteConcernTimeout, UnsatisfiableWriteConcern
		112, 262, // WriteConflict, ExceededTimeLimit
	}
	return slices.ContainsFunc(mongo.ErrorCodes(err), func(c int) bool { return slices.Contains(states, c) })
}

// find returns the documents that match. opts may be nil.
func find[T any](ctx context.Context, coll *mongo.Collection, filter bson.D, opts *options.FindOptionsBuilder) (out []T, err error) {
	if opts == nil {
		opts = options.Find()
	}
	err = do(ctx, func(ctx context.Context) error {
		cur, err := coll.Find(ctx, filter, opts)
		if err != nil {
			return err
		}
		out = nil
		return cur.All(ctx, &out)
	})
	if err != nil {
		return nil, fmt.Errorf("find in %s: %w", coll.Name(), err)
	}
	return out, nil
}

// within is the range of the texts that begin with prefix and go on with sep, which
// must be the last byte of what tells it apart: ':' or '/'.
func within(prefix string, sep byte) bson.D {
	return bson.D{{Key: "$gte", Value: prefix + string(sep)}, {Key: "$lt", Value: prefix + string(sep+1)}}
}

// sem is a lock that a context can end the wait for.
type sem chan struct{}

func newSem() sem { return make(sem, 1) }

func (s sem) take(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s sem) give() { <-s }
