package sim

type rogue struct{}

func (w *world) addRogue()   { w.rogue = &rogue{} }
func (w *world) rogueMoves() {}
