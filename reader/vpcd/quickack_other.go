//go:build !linux

package vpcd

import "net"

// acknowledgeNow does nothing where the system has no such option.
func acknowledgeNow(*net.TCPConn) {}
