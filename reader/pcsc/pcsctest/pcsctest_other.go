//go:build !linux

// Package pcsctest gives tests a smart card service of their own, on Linux.
package pcsctest

import "testing"

// Slots is the number of readers that one vpcd has.
const Slots = 2

// Main runs the tests.
func Main(m *testing.M) int { return m.Run() }

// Require skips the test: only Linux lets us run a service of our own.
func Require(t testing.TB) {
	t.Helper()
	t.Skip("a smart card service of our own needs Linux")
}

// Service is not available on this system.
type Service struct{}

// Start skips the test.
func Start(t testing.TB) *Service {
	t.Helper()
	Require(t)
	return nil
}

// Restart does nothing on this system.
func (*Service) Restart() {}

// Kill does nothing on this system.
func (*Service) Kill() {}

// Stop does nothing on this system.
func (*Service) Stop() {}

// RestartWithOthers does nothing on this system.
func (*Service) RestartWithOthers() {}

// Socket is empty on this system.
func (*Service) Socket() string { return "" }

// Addr is empty on this system.
func (*Service) Addr(int) string { return "" }

// Name is empty on this system.
func (*Service) Name(int) string { return "" }
