package pcsc

import "os"

// holderOfCard names the programs that may hold a card, or "".
func holderOfCard() string { return findHolder(os.DirFS("/proc"), os.Getpid()) }
