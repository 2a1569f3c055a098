package wallet

// Desk is the place where a card, the platform and the journal meet. It holds no
// state of its own between two calls.
type Desk struct {
	Card    Card
	Issuer  Issuer  // of loads; not used by Pay and SettlePurchase
	Cashier Cashier // of purchases; not used by TopUp and Sync
	Journal Journal
	Signers SignerKeys

	// Epoch is that of the platform's session; a grant of another epoch is refused.
	// 0 means not known.
	Epoch int
	// PIN asks the person for the card's PIN, where the card wants one. triesLeft
	// is what the card said, 0 if it never said. The bytes are overwritten after
	// use. nil: no PIN can be asked for.
	PIN func(triesLeft int) ([]byte, error)
	// PINTriesLeft is what this card said after the last wrong PIN; 0: not known.
	// The last try is never used.
	PINTriesLeft int

	Progress func(Progress)  // may be nil
	Trace    func(TraceLine) // may be nil
}

// Progress tells how far an order has come. Stage is the one just reached.
type Progress struct {
	Key   string
	Stage Stage
}

// Outcome is how a top-up, a purchase or a sync ended.
type Outcome struct {
	Entry         Entry // as the journal holds it; after a Warning, as it should
	BalanceBefore Fen
	BalanceAfter  Fen
	TAC           Hex
	Warning       Code        // success, but this went wrong afterwards; "" for none
	State         *OrderState // the platform's signed answer, where it gave one instead of a grant
	OnCardLog     bool        // the card's newest log record carries our terminal number
	APDUs         int         // commands sent, GET RESPONSE not counted

	Purchase *PurchaseStatement // as State, of a purchase
}
