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
//   - On Linux a command is sent into one buffer of ours (transmit_linux.go): the binding
//     makes 64 KiB anew for each. What is left, about 40 us beside a bare C loop of
//     100 us against vpcd on two busy cores, is mostly the hand-over to the goroutine
//     that the watchdog can leave behind. A contactless card takes 5 to 50 ms.
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
