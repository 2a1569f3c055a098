package virtualcard

import "time"

// Status words, card dossier §1.7.
const (
	swOK             = 0x9000
	swEEPROM         = 0x6581
	swLength         = 0x6700
	swState          = 0x6901
	swFileType       = 0x6981
	swSecurity       = 0x6982
	swPINLocked      = 0x6983
	swConditions     = 0x6985
	swBlocked        = 0x6A81
	swNoFile         = 0x6A82
	swNoRecord       = 0x6A83
	swP1P2           = 0x6A86
	swNoKey          = 0x6A88
	swOffset         = 0x6B00
	swINS            = 0x6D00
	swCLA            = 0x6E00
	swInternal       = 0x6F00
	swMAC            = 0x9302
	swBlockedForEver = 0x9303
	swMoney          = 0x9401
	swCounter        = 0x9402
	swKeyIndex       = 0x9403
	swNoProof        = 0x9406
)

// command is a parsed short APDU.
type command struct {
	cla, ins, p1, p2 byte
	data             []byte
	hasLe            bool
	le               int // 1 to 256
}

// parse reads CLA INS P1 P2 [Lc data] [Le].
func parse(raw []byte) (cmd command, ok bool) {
	if len(raw) < 4 {
		return cmd, false
	}
	cmd = command{cla: raw[0], ins: raw[1], p1: raw[2], p2: raw[3]}
	rest := raw[4:]
	switch {
	case len(rest) == 0:
		return cmd, true
	case len(rest) == 1:
	case rest[0] == 0 || len(rest) < 1+int(rest[0]) || len(rest) > 2+int(rest[0]):
		return cmd, false
	default:
		cmd.data, rest = rest[1:1+int(rest[0])], rest[1+int(rest[0]):]
	}
	if len(rest) == 1 {
		cmd.hasLe, cmd.le = true, int(rest[0])
		if cmd.le == 0 {
			cmd.le = 256
		}
	}
	return cmd, true
}

// answer executes one command and returns data ‖ SW1 SW2.
func (c *Card) answer(raw []byte) []byte {
	cmd, ok := parse(raw)
	if !ok {
		c.ram.session, c.ram.pending = nil, nil
		return status(nil, swLength)
	}
	if c.variant == Slow && c.delay != nil {
		c.delay(slowness(cmd.ins))
	}
	if c.variant == T0 && cmd.cla == 0x00 && cmd.ins == 0xC0 {
		return c.getResponse(cmd)
	}
	c.ram.pending = nil
	data, sw := c.execute(cmd)
	if c.variant == T0 && len(data) > 0 && (cmd.data != nil || !cmd.hasLe) {
		c.ram.pending = data
		return status(nil, 0x6100|uint16(len(data)))
	}
	return status(data, sw)
}

// slowness is how long the variant slow takes: longest where it writes.
func slowness(ins byte) time.Duration {
	if ins == 0x52 || ins == 0x54 {
		return 900 * time.Millisecond
	}
	return 150 * time.Millisecond
}

func status(data []byte, sw uint16) []byte {
	out := make([]byte, 0, len(data)+2)
	return append(append(out, data...), byte(sw>>8), byte(sw))
}

// getResponse is GET RESPONSE 00 C0 00 00 Le, the second half of the command
// before it: it keeps the load session.
func (c *Card) getResponse(cmd command) []byte {
	rest := c.ram.pending
	switch {
	case cmd.p1 != 0 || cmd.p2 != 0:
		return status(nil, swP1P2)
	case cmd.data != nil:
		return status(nil, swLength)
	case len(rest) == 0:
		return status(nil, swConditions)
	case !cmd.hasLe || cmd.le > len(rest):
		return status(nil, 0x6C00|uint16(len(rest)))
	case cmd.le < len(rest):
		c.ram.pending = rest[cmd.le:]
		return status(rest[:cmd.le], 0x6100|uint16(len(rest)-cmd.le))
	}
	c.ram.pending = nil
	return status(rest, swOK)
}

// handler is one command. Class is its CLA.
type handler struct {
	class byte
	run   func(*Card, command) ([]byte, uint16)
}

var handlers = map[byte]handler{
	0xA4: {0x00, (*Card).selectFile},
	0xB0: {0x00, (*Card).readBinary},
	0xB2: {0x00, (*Card).readRecord},
	0x84: {0x00, (*Card).getChallenge},
	0x20: {0x00, (*Card).verify},
	0xC0: {0x00, func(*Card, command) ([]byte, uint16) { return nil, swConditions }},
	0x5C: {0x80, (*Card).getBalance},
	0x50: {0x80, (*Card).initialize},
	0x52: {0x80, (*Card).creditForLoad},
	0x54: {0x80, (*Card).debitForPurchase},
	0x5A: {0x80, (*Card).getTransactionProve},
}

// execute runs one command. CREDIT and DEBIT must follow their INITIALIZE
// directly: every other command ends an open session (card dossier §1.6).
func (c *Card) execute(cmd command) ([]byte, uint16) {
	if cmd.ins != 0x52 && cmd.ins != 0x54 && c.variant != SessionStaysOpen {
		c.ram.session = nil
	}
	switch cmd.cla {
	case 0x00, 0x04, 0x80, 0x84:
	default:
		c.ram.session = nil
		return nil, swCLA
	}
	h, known := handlers[cmd.ins]
	switch {
	case !known:
		return nil, swINS
	case h.class != cmd.cla:
		c.ram.session = nil
		return nil, swCLA
	}
	return h.run(c, cmd)
}

// checkLe accepts the Le of a command whose answer has n bytes, before the
// command changes anything. A contactless card takes Le absent, 00 or exact. On
// T=0 the Le of a command with data belongs to GET RESPONSE, and a wrong one of a
// command without data is corrected by 6Cxx.
func (c *Card) checkLe(cmd command, n int) uint16 {
	if !cmd.hasLe || cmd.le == n {
		return swOK
	}
	if c.variant == T0 {
		if cmd.data != nil {
			return swOK
		}
		return 0x6C00 | uint16(n)
	}
	if cmd.le == 256 {
		return swOK
	}
	return swLength
}
