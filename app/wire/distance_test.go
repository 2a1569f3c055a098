package wire_test

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// distance is a line to a server that is far away: whatever is said in either
// direction arrives half a round trip later, and nothing is slower or lost otherwise.
type distance struct {
	roundTrip atomic.Int64 // nanoseconds
	listener  net.Listener
	to        string // HOST:PORT of the server

	mu    sync.Mutex
	lines []net.Conn
	all   sync.WaitGroup
}

// newDistance listens on loopback and gives the address that leads to the server's.
func newDistance(t *testing.T, server string) (line *distance, address string) {
	t.Helper()
	parsed, err := url.Parse(server)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	line = &distance{listener: listener, to: parsed.Host}
	line.all.Go(line.accept)
	t.Cleanup(line.close)
	parsed.Host = listener.Addr().String()
	return line, parsed.String()
}

func (d *distance) set(roundTrip time.Duration) { d.roundTrip.Store(int64(roundTrip)) }

func (d *distance) accept() {
	for {
		near, err := d.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", d.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		d.mu.Lock()
		d.lines = append(d.lines, near, far)
		d.mu.Unlock()
		d.all.Go(func() { d.carry(near, far) })
		d.all.Go(func() { d.carry(far, near) })
	}
}

func (d *distance) close() {
	_ = d.listener.Close()
	d.mu.Lock()
	for _, line := range d.lines {
		_ = line.Close()
	}
	d.mu.Unlock()
	d.all.Wait()
}

// parcel is a piece of the conversation and when it arrives.
type parcel struct {
	data []byte
	due  time.Time
}

// carry reads on while earlier pieces are still on their way.
func (d *distance) carry(from, to net.Conn) {
	under := make(chan parcel, 1024)
	d.all.Go(func() {
		for one := range under {
			time.Sleep(time.Until(one.due))
			if _, err := to.Write(one.data); err != nil {
				_ = from.Close()
			}
		}
		_ = to.Close()
	})
	defer close(under)
	for {
		piece := make([]byte, 32<<10)
		n, err := from.Read(piece)
		if n > 0 {
			under <- parcel{piece[:n], time.Now().Add(time.Duration(d.roundTrip.Load() / 2))}
		}
		if err != nil {
			return
		}
	}
}

// What is said over the distance arrives as it was said, and not before its time.
func TestDistance(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer server.Close()
	go func() {
		conn, err := server.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		echo := make([]byte, 5)
		for {
			n, err := conn.Read(echo)
			if err != nil {
				return
			}
			_, _ = conn.Write(echo[:n])
		}
	}()
	line, address := newDistance(t, "https://"+server.Addr().String())
	line.set(30 * time.Millisecond)
	near, err := net.Dial("tcp", address[len("https://"):])
	require.NoError(t, err)
	defer near.Close()
	began := time.Now()
	_, err = near.Write([]byte("hello"))
	require.NoError(t, err)
	answer := make([]byte, 5)
	for n := 0; n < len(answer); {
		read, err := near.Read(answer[n:])
		require.NoError(t, err)
		n += read
	}
	require.Equal(t, "hello", string(answer))
	require.GreaterOrEqual(t, time.Since(began), 30*time.Millisecond)
}
