package vpcd_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"walletcompanion/reader/readertest"
	"walletcompanion/reader/vpcd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// peer is the reader's end: it listens, and the card dials.
type peer struct {
	t        *testing.T
	listener net.Listener
	conn     net.Conn
}

func serve(t *testing.T, control *vpcd.Control) *peer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control.Serve(ctx, listener.Addr().String()) }()
	p := &peer{t: t, listener: listener}
	t.Cleanup(func() {
		cancel()
		require.ErrorIs(t, <-ended, context.Canceled)
		_ = listener.Close()
		if p.conn != nil {
			_ = p.conn.Close()
		}
	})
	return p
}

func (p *peer) accept() {
	p.t.Helper()
	conn, err := p.listener.Accept()
	require.NoError(p.t, err)
	require.NoError(p.t, conn.SetDeadline(time.Now().Add(patience)))
	p.conn = conn
}

func (p *peer) send(body ...byte) {
	p.t.Helper()
	_, err := p.conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...))
	require.NoError(p.t, err)
}

func (p *peer) receive() []byte {
	p.t.Helper()
	var length [2]byte
	_, err := io.ReadFull(p.conn, length[:])
	require.NoError(p.t, err)
	body := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err = io.ReadFull(p.conn, body)
	require.NoError(p.t, err)
	return body
}

func TestControlMessagesAndCommands(t *testing.T) {
	chip := readertest.NewParrot(7)
	p := serve(t, vpcd.New(chip))
	p.accept()
	p.send(0x04)
	require.Equal(t, chip.ATR(), p.receive(), "known before there is power")
	p.send(0x01)
	p.send(readertest.SelectPurse...)
	require.Equal(t, []byte{0x90, 0x00}, p.receive(), "power on is not answered")
	p.send(0x02)
	p.send(readertest.GetBalance...)
	require.Equal(t, []byte{0x69, 0x85}, p.receive(), "a reset loses the selection")
	require.Equal(t, 1, chip.Resets())
}

func TestATRDuringSlowCommand(t *testing.T) {
	chip := readertest.NewParrot(7)
	p := serve(t, vpcd.New(chip))
	p.accept()
	p.send(0x01)
	p.send(readertest.StaySilent...)
	p.send(0x04)
	require.Equal(t, chip.ATR(), p.receive())
	chip.Wake()
	require.Equal(t, []byte{0x6D, 0x00}, p.receive())
}

// TestTorn: a length is announced and then the connection is reset, for a connection
// that just ends reads as success with an empty answer.
func TestTorn(t *testing.T) {
	chip := readertest.NewParrot(7)
	control := vpcd.New(chip)
	p := serve(t, control)
	p.accept()
	p.send(0x01)
	chip.TearNext()
	p.send(readertest.GetBalance...)
	var length [2]byte
	_, err := io.ReadFull(p.conn, length[:])
	require.NoError(t, err)
	require.Equal(t, [2]byte{0x00, 0x10}, length)
	_, err = p.conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.False(t, errors.Is(err, io.EOF), "reset, not ended: %v", err)
	require.Equal(t, vpcd.StateOut, control.State())
	require.Equal(t, 1, chip.Commands(), "the chip did execute the command")
	control.Return()
	p.accept()
	p.send(0x04)
	require.Equal(t, chip.ATR(), p.receive())
}

// TestControlTearPoints: where a command is to be torn is passed on to whoever owns the
// chip, and what the owner refuses is an error.
func TestControlTearPoints(t *testing.T) {
	control := vpcd.New(nil)
	type point struct {
		when string
		ins  byte
	}
	points := make(chan point, 1)
	control.TearAt = func(when string, ins byte) error {
		points <- point{when, ins}
		if when == "never" {
			return errors.New("not there")
		}
		return nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control.ServeControl(ctx, listener) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	lines := bufio.NewScanner(conn)
	for _, row := range []struct {
		line, answer string
		want         point
	}{
		{"tear before 54", "ok out", point{"before", 0x54}},
		{"tear inside 5c", "ok out", point{"inside", 0x5C}},
		{"tear never 54", "error not there", point{"never", 0x54}},
	} {
		_, err = fmt.Fprintln(conn, row.line)
		require.NoError(t, err)
		require.True(t, lines.Scan())
		require.Equal(t, row.answer, lines.Text())
		require.Equal(t, row.want, <-points)
	}
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
}

func TestControlConnection(t *testing.T) {
	control := vpcd.New(readertest.NewParrot(7))
	p := serve(t, control)
	p.accept()
	p.send(0x04)
	p.receive()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- control.ServeControl(ctx, listener) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	lines := bufio.NewScanner(conn)
	ask := func(word string) string {
		_, err := fmt.Fprintln(conn, word)
		require.NoError(t, err)
		require.True(t, lines.Scan())
		return lines.Text()
	}
	require.Equal(t, "ok connected", ask("state"))
	require.Equal(t, "ok out", ask("remove"))
	require.Contains(t, []string{"ok dialling", "ok connected"}, ask("insert"))
	for _, nonsense := range []string{"jump", "", "tear after", "tear after 5", "tear after 54 54", "tear after XY", "remove after 54"} {
		require.Contains(t, ask(nonsense), "error the commands are ", nonsense)
	}
	require.Contains(t, ask("tear after 54"), "error this card", "a chip without tear points")
	p.accept()
	p.send(0x04)
	require.NotEmpty(t, p.receive())
	p.send(0x01)
	require.Equal(t, "ok connected", ask("tear"))
	p.send(readertest.GetBalance...)
	require.Equal(t, []byte{0x00, 0x10}, func() []byte { b := make([]byte, 2); _, _ = io.ReadFull(p.conn, b); return b }())
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	_ = conn.Close()
}
