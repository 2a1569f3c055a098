// Package loadtest holds the load generator for a payment platform and the
// measurements that run on it. It has no code of its own to link: everything stands
// in its test files, because it joins clients, chips and the reference platform.
//
// The generator is a real client side: many persons, each with the client of this
// program and its own device key, and many virtual cards, all behind the guard. A
// top-up counts only when the grant's signature was good, the chip took MAC2, the
// TAC is the one that the chip's keys give, and the signed receipt says the same.
// After every run the books of the platform are audited against the chips.
package loadtest
