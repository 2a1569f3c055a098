package wallet

import (
	"context"
	"encoding/binary"
	"errors"
	"time"
)

// Session is the kind of conversation that a guard watches over.
type Session string

// The sessions (protocol §2.9).
const (
	SessionQuery Session = "query"
	SessionLoad  Session = "load"
	SessionSync  Session = "sync"

	SessionPurchase Session = "purchase"

	// SessionView is a look by service staff: it reads more than a query, and changes
	// as little.
	SessionView Session = "view"
)

// reads reports a session that lets nothing pass that changes a card.
func (s Session) reads() bool { return s == SessionQuery || s == SessionView }

// Bounds of one session (protocol §2.9 rule 6, §2.11).
const (
	maxCommands     = 32
	maxGetResponses = 8
	readTimeout     = 5 * time.Second
	creditTimeout   = 15 * time.Second // of CREDIT and DEBIT
	initToCredit    = 15 * time.Second // from either INITIALIZE to CREDIT or DEBIT
	grantUsable     = 60 * time.Second
)

// Guard stands between this program and a chip. It is the only caller of
// Card.Transmit, and it refuses every command that its session does not name:
// nothing from the network extends what may be sent. One Guard serves one
// session; after a failed Transmit it sends nothing any more.
//
// A Guard is not safe for concurrent use, as a card is not.
type Guard struct {
	card    Card
	session Session
	trace   func(TraceLine)
	terms   terms

	sent   int
	broken error

	selected   *Profile // whose files may be read now; nil: nothing is selected
	selectedMF bool
	fci        FCI
	asn        *ASN // as read since the last SELECT
	seen       *ASN // as read first in this session
	swapped    bool // two different serials in one session

	pin       []byte
	pinUsed   bool
	pinPassed bool
	triesLeft int // as the card said; 0: not known

	initSent  bool
	initFresh bool // answered, and nothing was sent since
	initAt    time.Time
	init      LoadInit
	pinWanted bool // INITIALIZE was refused for want of a PIN, and the card did nothing

	purchaseInit PurchaseInit
	probed       bool // INITIALIZE FOR LOAD over a purchase's probe was sent
	debited      bool // DEBIT FOR PURCHASE was sent

	proofs []uint16
	permit *permit
}

// terms are what the person confirmed, or what the order says. They never change
// during a session.
type terms struct {
	profile  *Profile
	asn      ASN
	anyASN   bool // adding a card: its number is what we are about to learn
	amount   Fen
	tid      TerminalNumber
	cap      Fen
	noCredit bool

	order   string // sync: the platform's number
	key     string // "": not known on this computer
	priced  bool   // fee and source are known
	fee     Fen
	source  string
	attempt int    // that a grant must carry
	epoch   int    // that a grant must carry; 0: not known
	openSeq uint16 // sync: counter at which the order was granted; purchase: its offline number

	payment *Payment       // purchase: what the person confirmed; nil: settling
	probe   TerminalNumber // purchase: over which INITIALIZE FOR LOAD may be sent; zero: not known yet
}

// permit is the one CREDIT or DEBIT that an accepted grant allows.
type permit struct {
	command []byte
	arrived time.Time
	usable  time.Duration
}

// NewQueryGuard watches over a reading. It lets nothing pass that changes a card.
func NewQueryGuard(card Card, trace func(TraceLine)) *Guard {
	return &Guard{card: card, session: SessionQuery, trace: trace}
}

// NewLoadGuard watches over a top-up of order with the leased number tid. epoch
// is that of the platform's session; 0 means not known.
func NewLoadGuard(card Card, profile *Profile, order Order, tid TerminalNumber, epoch int, trace func(TraceLine)) *Guard {
	return &Guard{card: card, session: SessionLoad, trace: trace, terms: terms{
		profile: profile, asn: order.ASN, amount: order.Amount, tid: tid, cap: order.Cap,
		key: order.Key, priced: true, fee: order.Fee, source: order.Source, attempt: 1, epoch: epoch,
	}}
}

// NewProbeGuard watches over the session that adds a card to an account: one
// INITIALIZE FOR LOAD of 1 fen over a leased number, and never a CREDIT. A zero
// asn lets any card pass.
func NewProbeGuard(card Card, profile *Profile, asn ASN, tid TerminalNumber, trace func(TraceLine)) *Guard {
	return &Guard{card: card, session: SessionLoad, trace: trace, terms: terms{
		profile: profile, asn: asn, anyASN: asn == ASN{}, amount: 1, tid: tid, noCredit: true,
	}}
}

// NewSyncGuard watches over the settling of an open order. kept is what the
// journal of this computer knows of it; the zero Entry where it knows nothing.
func NewSyncGuard(card Card, profile *Profile, open OpenOrder, kept Entry, epoch int, trace func(TraceLine)) *Guard {
	t := terms{
		profile: profile, asn: open.ASN, amount: open.Amount, tid: open.ProbeTID,
		order: open.Order, attempt: open.Attempt + 1, epoch: epoch, openSeq: open.Seq,
	}
	if kept.Key != "" && !MetUnder(kept.Key, open.Order) {
		t.key, t.priced, t.fee, t.source = kept.Key, kept.Source != "", kept.Fee, kept.Source
	}
	return &Guard{card: card, session: SessionSync, trace: trace, terms: t}
}

// NewPurchaseGuard watches over a purchase as the person confirmed it, with the
// leased terminal number tid: one INITIALIZE FOR PURCHASE, one DEBIT as granted, and,
// for a return of balance, INITIALIZE FOR LOAD over the grant's probe after it.
// epoch is that of the platform's session; 0 means not known.
func NewPurchaseGuard(card Card, profile *Profile, payment Payment, tid TerminalNumber, epoch int, trace func(TraceLine)) *Guard {
	return &Guard{card: card, session: SessionPurchase, trace: trace, terms: terms{
		profile: profile, asn: payment.ASN, amount: payment.Amount, tid: tid, key: payment.Key, epoch: epoch,
		noCredit: true, payment: &payment,
	}}
}

// NewPurchaseSettleGuard watches over the settling of an open purchase: GET
// TRANSACTION PROVE and INITIALIZE FOR LOAD over its probe, and nothing that
// debits or credits.
func NewPurchaseSettleGuard(card Card, profile *Profile, open OpenPurchase, trace func(TraceLine)) *Guard {
	return &Guard{card: card, session: SessionPurchase, trace: trace, terms: terms{
		profile: profile, asn: open.ASN, amount: open.Amount, order: open.Purchase, openSeq: open.Number,
		noCredit: true, probe: open.ProbeTID,
	}}
}

// Sent counts the commands that reached the card, GET RESPONSE not among them.
func (g *Guard) Sent() int { return g.sent }

// ASN is the serial that the selected application gave in this session.
func (g *Guard) ASN() (ASN, bool) {
	if g.asn == nil {
		return ASN{}, false
	}
	return *g.asn, !g.swapped
}

// FCI is what the last SELECT answered.
func (g *Guard) FCI() FCI { return g.fci }

// Init is the answer to INITIALIZE FOR LOAD, if nothing was sent since.
func (g *Guard) Init() (LoadInit, bool) { return g.init, g.initFresh }

// PurchaseInit is the answer to INITIALIZE FOR PURCHASE, if nothing was sent since.
func (g *Guard) PurchaseInit() (PurchaseInit, bool) {
	return g.purchaseInit, g.initFresh && !g.probed && len(g.purchaseInit.Raw) > 0
}

// AllowPIN lets one VERIFY with this PIN pass. The PIN was typed by the person
// just now; triesLeft is what the card said after the last wrong one, 0 if it
// never said. The guard overwrites the bytes after use.
func (g *Guard) AllowPIN(pin []byte, triesLeft int) {
	g.pin, g.triesLeft = pin, triesLeft
}

// Send checks the command, sends it, collects 61xx answers by GET RESPONSE and
// repeats reading commands once where the card wants another Le. Commands that
// may change the card are sent once and never again, also after an error.
//
// Errors: CodeGuardRefused and nothing was sent; CodeGrantExpired likewise;
// CodeCardLost or CodeCardProtocol, after which the session is over and the
// outcome of a money command is unknown.
func (g *Guard) Send(ctx context.Context, c Command) (Response, error) {
	if err := g.check(c); err != nil {
		return Response{}, err
	}
	if ctx.Err() != nil {
		return Response{}, fail(CodeCancelled, c.Name(), ctx.Err())
	}
	started := time.Now()
	g.commit(c)
	response, err := g.exchange(ctx, c)
	if err != nil {
		return Response{}, err
	}
	if again, wanted := otherForm(c, response.SW); wanted {
		if g.sent >= g.most() {
			return Response{}, g.refuse(c, "too many commands")
		}
		if response, err = g.exchange(ctx, again); err != nil {
			return Response{}, err
		}
	}
	g.observe(c, response, started)
	return response, nil
}

// otherForm tells whether and how a reading command is to be sent once more.
func otherForm(c Command, sw SW) (Command, bool) {
	switch {
	case !c.readClass():
		return c, false
	case sw>>8 == 0x6C:
		c.Le = leFromByte(byte(sw))
		return c, true
	case sw == SWWrongLength:
		other := c.otherLe()
		return other, other.Le != c.Le
	}
	return c, false
}

// exchange sends one command and collects its whole answer.
func (g *Guard) exchange(ctx context.Context, c Command) (Response, error) {
	g.sent++
	response, err := g.transmit(ctx, c)
	if err != nil {
		return Response{}, err
	}
	collected := response.Data
	fixedLe := false
	for rounds := 0; response.SW>>8 == 0x61; rounds++ {
		if rounds == maxGetResponses {
			g.broken = ErrResponseChain
			return Response{}, fail(CodeCardProtocol, c.Name(), ErrResponseChain)
		}
		more := Command{INS: insGetResponse, Le: leFromByte(byte(response.SW))}
		if response, err = g.transmit(ctx, more); err != nil {
			return Response{}, err
		}
		// 6Cxx to GET RESPONSE concerns that command alone: repeating it does not
		// repeat the command whose answer it fetches.
		if response.SW>>8 == 0x6C && !fixedLe {
			fixedLe = true
			more.Le = leFromByte(byte(response.SW))
			if response, err = g.transmit(ctx, more); err != nil {
				return Response{}, err
			}
		}
		collected = append(collected, response.Data...)
	}
	response.Data = collected
	return response, nil
}

// transmit is the one place where bytes go to a card.
func (g *Guard) transmit(ctx context.Context, c Command) (Response, error) {
	limit := readTimeout
	if c.INS == insCredit || c.INS == insDebit {
		limit = creditTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	command := c.Bytes()
	started := time.Now()
	raw, err := g.card.Transmit(ctx, command)
	took := time.Since(started)
	if err != nil {
		g.broken = err
		g.tell(c, nil, took, started, err)
		return Response{}, fail(CodeCardLost, c.Name(), err)
	}
	response, err := ParseResponse(raw)
	if err != nil {
		g.broken = err
		g.tell(c, nil, took, started, err)
		return Response{}, fail(CodeCardProtocol, c.Name(), err)
	}
	g.tell(c, &response, took, started, nil)
	return response, nil
}

func (g *Guard) refuse(c Command, why string) error {
	return fail(CodeGuardRefused, c.Name(), errors.New(why))
}

// commit notes what must hold even if the answer never comes.
func (g *Guard) commit(c Command) {
	switch c.INS {
	case insInitialize:
		g.initSent, g.pinWanted = true, false
		g.probed = g.probed || g.session == SessionPurchase && c.P1 == initForLoad
	case insCredit, insDebit:
		g.permit = nil
		g.debited = g.debited || c.INS == insDebit
	case insVerify:
		g.pinUsed = true
	case insProve:
		g.proofs = append(g.proofs, binary.BigEndian.Uint16(c.Data))
	case insSelect:
		g.selected, g.selectedMF, g.asn, g.fci = nil, false, nil, FCI{}
	}
	// CREDIT and DEBIT must follow INITIALIZE directly: whatever is sent in between
	// may end the card's session, and ends ours.
	g.initFresh = false
}

// observe takes from an answer what later checks need.
func (g *Guard) observe(c Command, r Response, started time.Time) {
	switch c.INS {
	case insSelect:
		g.observeSelect(c, r)
	case insReadBinary:
		if g.selected != nil && c.P1&0x1F == g.selected.InfoSFI && readable(r.SW) {
			if info, err := ParseInfo(r.Data); err == nil {
				g.noteASN(info.ASN)
			}
		}
	case insVerify:
		clear(g.pin)
		g.pin = nil
		g.pinPassed = r.SW == SWOK
		if left, told := r.SW.triesLeft(); told {
			g.triesLeft = left
		}
	case insInitialize:
		if r.SW == SWSecurity || r.SW == SWConditions {
			g.pinWanted = !g.pinUsed
			return
		}
		if r.SW != SWOK {
			return
		}
		if c.P1 == initForPurchase {
			if init, err := ParsePurchaseInit(r.Data); err == nil {
				g.purchaseInit, g.initAt, g.initFresh = init, started, true
			}
			return
		}
		if init, err := ParseLoadInit(r.Data); err == nil {
			g.init, g.initAt, g.initFresh = init, started, true
		}
	}
}

func (g *Guard) observeSelect(c Command, r Response) {
	if r.SW != SWOK && !r.SW.blocked() && r.SW != SWDataMayBeDamaged {
		return
	}
	g.fci, _ = ParseFCI(r.Data)
	if c.P1 == 0x04 {
		g.selected = g.listed(c.Data)
		return
	}
	switch binary.BigEndian.Uint16(c.Data) {
	case fileMF:
		g.selectedMF = true
	case fileBeijing:
		for _, p := range profiles {
			if p.FileID == fileBeijing {
				g.selected = p
			}
		}
	}
}

// useFCISerial takes the serial from tag 9F0C of the last SELECT. It is for cards
// that do not let SFI 15 be read.
func (g *Guard) useFCISerial() bool {
	if g.asn != nil {
		return false
	}
	info, err := ParseInfo(g.fci.IssuerData)
	if err != nil {
		return false
	}
	g.noteASN(info.ASN)
	return true
}

func (g *Guard) noteASN(asn ASN) {
	g.asn = &asn
	if g.session.reads() {
		return
	}
	if g.seen == nil {
		g.seen = &asn
	}
	g.swapped = g.swapped || *g.seen != asn
}

// readable reports whether the data that came with sw may be shown.
func readable(sw SW) bool {
	return sw == SWOK || sw == SWEndOfFile || sw == SWDataMayBeDamaged || sw == 0x6200
}
