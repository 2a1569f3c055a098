package pcsc

import (
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

const (
	unixHead   = "Num       RefCount Protocol Flags    Type St Inode Path\n"
	mapsLine   = "7f00-7f01 r-xp 00000000 fe:01 42 /usr/lib/x86_64-linux-gnu/libpcsclite.so.1.0.0\n"
	otherLine  = "7f00-7f01 r-xp 00000000 fe:01 42 /usr/lib/x86_64-linux-gnu/libc.so.6\n"
	serverLine = "0000000000000000: 00000003 00000000 00000000 0001 03 900 /run/pcscd/pcscd.comm\n"
)

// processes is a tree like /proc.
type processes fstest.MapFS

func (p processes) add(pid int, comm, maps string, inodes ...int) {
	dir := strconv.Itoa(pid)
	p[dir+"/comm"] = &fstest.MapFile{Data: []byte(comm + "\n")}
	p[dir+"/maps"] = &fstest.MapFile{Data: []byte(maps)}
	p[dir+"/fd/0"] = &fstest.MapFile{Data: []byte("/dev/null"), Mode: fs.ModeSymlink}
	for i, inode := range inodes {
		p[dir+"/fd/"+strconv.Itoa(3+i)] = &fstest.MapFile{Data: []byte("socket:[" + strconv.Itoa(inode) + "]"), Mode: fs.ModeSymlink}
	}
}

func (p processes) sockets(lines ...string) {
	p["net/unix"] = &fstest.MapFile{Data: []byte(unixHead + strings.Join(lines, ""))}
}

func client(inode int) string {
	return "0000000000000000: 00000003 00000000 00000000 0001 03 " + strconv.Itoa(inode) + "\n"
}

func never() bool { return false }

func TestHolders(t *testing.T) {
	all := []string{serverLine, client(11), client(12), client(13), client(14), client(15),
		"0000000000000000: 00000002 00000000 00010000 0001 01 16 /run/pcscd/pcscd.comm\n"}
	for _, c := range []struct {
		name string
		make func(p processes)
		want []string
	}{
		{"a program with library and connection", func(p processes) { p.add(20, "scdaemon", otherLine+mapsLine, 11) }, []string{"scdaemon"}},
		{"ourselves", func(p processes) { p.add(7, "walletctl", mapsLine, 11) }, nil},
		{"library without connection", func(p processes) { p.add(20, "idle", mapsLine) }, nil},
		{"connection to something else", func(p processes) { p.add(20, "shell", otherLine, 11) }, nil},
		{"a socket that is not connected", func(p processes) { p.add(20, "waits", mapsLine, 16) }, nil},
		{"several, each once", func(p processes) {
			p.add(20, "firefox", mapsLine, 11)
			p.add(21, "firefox", mapsLine, 12)
			p.add(22, "bank", mapsLine, 13)
		}, []string{"firefox", "bank"}},
		{"three are named", func(p processes) {
			for i, name := range []string{"a", "b", "c", "d"} {
				p.add(20+i, name, mapsLine, 11+i)
			}
		}, []string{"a", "b", "c"}},
		{"a name that would move the cursor", func(p processes) { p.add(20, "\x1b[2Jevil\u009b\xff", mapsLine, 11) }, []string{"[2Jevil"}},
		{"a long name", func(p processes) { p.add(20, strings.Repeat("长", 100), mapsLine, 11) }, []string{strings.Repeat("长", holderLetters)}},
		{"a process that is gone", func(p processes) { p["20/comm"] = &fstest.MapFile{Data: []byte("gone")} }, nil},
	} {
		p := processes{}
		p.sockets(all...)
		c.make(p)
		require.Equal(t, c.want, holders(fstest.MapFS(p), 7, never), c.name)
	}
}

func TestHoldersWithoutService(t *testing.T) {
	p := processes{}
	p.add(20, "scdaemon", mapsLine, 11)
	require.Nil(t, holders(fstest.MapFS(p), 7, never), "no list of sockets")
	p.sockets(client(11))
	require.Nil(t, holders(fstest.MapFS(p), 7, never), "the service has no clients")
	p.sockets(serverLine, client(11))
	require.NotEmpty(t, holders(fstest.MapFS(p), 7, never))
	require.Nil(t, holders(fstest.MapFS(p), 7, func() bool { return true }), "too late")
}

// hanging is a tree whose files never answer.
type hanging struct{ ended chan struct{} }

func (h hanging) Open(string) (fs.File, error) { <-h.ended; return nil, fs.ErrNotExist }

func TestFindHolderDoesNotHang(t *testing.T) {
	h := hanging{make(chan struct{})}
	require.Empty(t, findHolder(h, 7))
	close(h.ended)
}

func FuzzHolders(f *testing.F) {
	f.Add([]byte(unixHead+serverLine+client(11)), []byte(mapsLine), []byte("scdaemon\n"))
	f.Add([]byte("x"), []byte{}, []byte{0xFF, 0x1B})
	f.Fuzz(func(t *testing.T, sockets, maps, comm []byte) {
		p := processes{}
		p.add(20, "", "", 11)
		p["net/unix"], p["20/maps"], p["20/comm"] = &fstest.MapFile{Data: sockets}, &fstest.MapFile{Data: maps}, &fstest.MapFile{Data: comm}
		for _, name := range holders(fstest.MapFS(p), 7, never) {
			require.NotEmpty(t, name)
			require.LessOrEqual(t, len([]rune(name)), holderLetters)
			require.NotContains(t, name, "\x1b")
		}
	})
}
