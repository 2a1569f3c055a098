// Package sim holds the seeded simulation of the whole program without a window. It
// has no code of its own to link: everything stands in its test files, because the
// simulation joins what the program keeps apart (import rules, ARCHITECTURE.md).
//
// A seed makes a world: the real core, store and platform client on several
// computers, the real platform with its database and handlers, chips in memory, and
// a network, a clock and disks that misbehave. Time is virtual, and every accident
// comes from the seed, so that a seed that fails fails again.
package sim
