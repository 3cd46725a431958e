// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/wildcathub/wildcat/sdk"
	pb "github.com/wildcathub/wildcat/sdk/proto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// mediaChunk is how much of a file goes into one message.
const mediaChunk = 64 << 10

// hostServer serves a Host to the connector's process.
type hostServer struct {
	pb.UnimplementedHostServer
	host sdk.Host
}

// SendMessage implements the contract.
func (h *hostServer) SendMessage(ctx context.Context, r *pb.SendRequest) (_ *pb.SendReply, err error) {
	defer guard(&err)
	id, err := h.host.Send(ctx, r.GetRef(), outgoing(r.GetMessage()))
	if err != nil {
		return nil, hostStatus(err)
	}
	return &pb.SendReply{MessageId: text(id)}, nil
}

// FetchMedia implements the contract.
func (h *hostServer) FetchMedia(r *pb.MediaRequest, st grpc.ServerStreamingServer[pb.MediaChunk]) (err error) {
	defer guard(&err)
	f, err := h.host.Media(st.Context(), r.GetId())
	if err != nil {
		return hostStatus(err)
	}
	defer func() { _ = f.Close() }()
	for {
		buf := make([]byte, mediaChunk) // gRPC may hold on to what is sent
		n, err := f.Read(buf)
		if n > 0 {
			if err := st.Send(&pb.MediaChunk{Data: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return hostStatus(err)
		}
	}
}

// KvGet implements the contract.
func (h *hostServer) KvGet(ctx context.Context, r *pb.KvGetRequest) (_ *pb.KvGetReply, err error) {
	defer guard(&err)
	v, ok, err := h.host.Get(ctx, r.GetKey())
	if err != nil {
		return nil, hostStatus(err)
	}
	return &pb.KvGetReply{Value: v, Found: ok}, nil
}

// KvSet implements the contract.
func (h *hostServer) KvSet(ctx context.Context, r *pb.KvSetRequest) (_ *pb.KvSetReply, err error) {
	defer guard(&err)
	v := r.GetValue()
	switch {
	case r.GetDelete():
		v = nil
	case v == nil:
		v = []byte{} // an empty value is a value; the wire does not tell it from none
	}
	if err := h.host.Set(ctx, r.GetKey(), v); err != nil {
		return nil, hostStatus(err)
	}
	return &pb.KvSetReply{}, nil
}

// guard keeps a panic of the host's code from ending the hub.
func guard(err *error) {
	if v := recover(); v != nil {
		*err = status.Error(codes.Internal, text(fmt.Sprintf("panic: %v", v)))
	}
}

func hostStatus(err error) error {
	code := codes.Unknown
	switch {
	case errors.Is(err, context.Canceled):
		code = codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, text(err.Error()))
}
