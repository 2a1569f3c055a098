package vpcd

import (
	"net"
	"syscall"
)

// acknowledgeNow makes the system acknowledge what arrived without waiting for an
// answer to carry it. The kernel forgets the option, so it is set every time.
func acknowledgeNow(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(descriptor uintptr) {
		_ = syscall.SetsockoptInt(int(descriptor), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
	})
}
