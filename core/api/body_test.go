package api

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestABodyThatIsCutOffIsTheClientsMistake(t *testing.T) {
	for _, broken := range []error{io.ErrUnexpectedEOF, errors.New("read tcp: connection reset by peer")} {
		r := newRig(t)
		req := httptest.NewRequest(http.MethodPost, "/accounts", io.MultiReader(strings.NewReader(`{"id":`), iotest.ErrReader(broken)))
		req.Host = "127.0.0.1:3000"
		rec := httptest.NewRecorder()
		r.server.Handler().ServeHTTP(rec, req)
		require.Equal(t, http.StatusBadRequest, rec.Code)
		require.JSONEq(t, `{"ok":false,"error":"request body is incomplete","code":"malformed_json"}`, rec.Body.String())
		require.NotContains(t, r.logs.String(), "level=ERROR")
	}
}

func TestABodyThatIsCutOffOnTheWireIsNoError(t *testing.T) {
	r := newRig(t)
	srv := httptest.NewServer(r.server.Handler())
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "POST /accounts HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{\"id\":")
	require.NoError(t, err)
	require.NoError(t, conn.(*net.TCPConn).CloseWrite())
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	srv.Close()
	require.Contains(t, string(answer), "malformed_json")
	require.NotContains(t, r.logs.String(), "level=ERROR")
	_, created := r.accounts["a"]
	require.False(t, created)
}
