// SPDX-License-Identifier: Apache-2.0

package sdk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	pb "github.com/wildcathub/wildcat/sdk/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// hostClient is the Host that a connector in a process of its own gets.
type hostClient struct{ c pb.HostClient }

func newHostClient(conn grpc.ClientConnInterface) Host { return &hostClient{pb.NewHostClient(conn)} }

// Send implements Host.
func (h *hostClient) Send(ctx context.Context, ref string, m Outgoing) (string, error) {
	r, err := h.c.SendMessage(ctx, &pb.SendRequest{Ref: ref, Message: outgoingTo(m)})
	if err != nil {
		return "", hostError("send message", err)
	}
	return r.GetMessageId(), nil
}

// Media implements Host. The stream ends when the reader is closed.
func (h *hostClient) Media(ctx context.Context, id string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	st, err := h.c.FetchMedia(ctx, &pb.MediaRequest{Id: id})
	if err != nil {
		cancel()
		return nil, hostError("open media", err)
	}
	first, err := st.Recv() // so that a missing file is an error of Media, not of the first Read
	if err != nil && !errors.Is(err, io.EOF) {
		cancel()
		return nil, hostError("open media", err)
	}
	r := &mediaReader{st: st, cancel: cancel, end: err}
	r.buf.Write(first.GetData())
	return r, nil
}

// Get implements Host.
func (h *hostClient) Get(ctx context.Context, key string) ([]byte, bool, error) {
	r, err := h.c.KvGet(ctx, &pb.KvGetRequest{Key: key})
	if err != nil {
		return nil, false, hostError("get value", err)
	}
	return r.GetValue(), r.GetFound(), nil
}

// Set implements Host.
func (h *hostClient) Set(ctx context.Context, key string, value []byte) error {
	if _, err := h.c.KvSet(ctx, &pb.KvSetRequest{Key: key, Value: value, Delete: value == nil}); err != nil {
		return hostError("set value", err)
	}
	return nil
}

type mediaReader struct {
	st     grpc.ServerStreamingClient[pb.MediaChunk]
	cancel context.CancelFunc
	buf    bytes.Buffer
	end    error
}

// Read implements io.Reader.
func (r *mediaReader) Read(p []byte) (int, error) {
	for r.buf.Len() == 0 {
		if r.end != nil {
			return 0, r.end
		}
		c, err := r.st.Recv()
		switch {
		case errors.Is(err, io.EOF):
			r.end = io.EOF
		case err != nil:
			r.end = hostError("read media", err)
		}
		r.buf.Write(c.GetData())
	}
	return r.buf.Read(p)
}

// Close implements io.Closer.
func (r *mediaReader) Close() error {
	r.cancel()
	return nil
}

// hostError keeps the words of the hub's error and none of gRPC's.
func hostError(what string, err error) error {
	switch s := status.Convert(err); s.Code() {
	case codes.Canceled:
		return fmt.Errorf("%s: %w", what, context.Canceled)
	case codes.DeadlineExceeded:
		return fmt.Errorf("%s: %w", what, context.DeadlineExceeded)
	default:
		return fmt.Errorf("%s: %s", what, s.Message())
	}
}

// noHost is given to a connector whose hub serves no Host.
type noHost struct{}

var errNoHost = errors.New("this hub offers no such service")

func (noHost) Send(context.Context, string, Outgoing) (string, error) { return "", errNoHost }

func (noHost) Media(context.Context, string) (io.ReadCloser, error) { return nil, errNoHost }

func (noHost) Get(context.Context, string) ([]byte, bool, error) { return nil, false, errNoHost }

func (noHost) Set(context.Context, string, []byte) error { return errNoHost }
