// Package pcsc reaches cards through the system's smart card service: pcscd on Linux,
// the built-in services of macOS and Windows.
//
// What shapes it (reader dossier §1.4, §1.5, measured with pcsc-lite 1.9.9):
//
//   - No call of the service knows a deadline, and most can hang: each is made in a
//     goroutine that can be left behind.
//   - A context that waits for changes blocks every other call on it. The watcher and
//     every session have contexts of their own.
//   - The binding hands reader names to C in a way that is safe for one waiting call
//     in the process, so there is one Driver in the process, and one goroutine in it
//     that asks for states.
//   - A Cancel before the wait begins is lost. It is repeated until the wait returns.
//   - A transaction of another program blocks an exclusive Connect as well as a shared
//     one (measured), so what Open ran into is told by the reader's in-use flag.
//   - A command costs about 50 us more here than in a bare C loop that takes 110 us
//     against vpcd (measured, two busy cores: 1.3 to 1.6 times): half of it is the
//     binding, which allocates 64 KiB for each command, half the hand-over to the
//     goroutine that the watchdog can leave behind. A contactless card takes 5 to
//     50 ms for a command.
//   - A context whose service died is dead for ever. It is dropped, and a new one
//     made.
package pcsc

import "time"

// DriverName is the value of reader.Info.Driver.
const DriverName = "pcsc"

const (
	// keepAlive is the time without a command after which the card is touched.
	// Windows resets a card that idles for 5 s inside a transaction.
	keepAlive = 2 * time.Second
	// callLimit bounds List and Open when their context has no deadline.
	callLimit = 5 * time.Second
	// askLimit bounds the question why a reader did not open in time.
	askLimit = time.Second
)
