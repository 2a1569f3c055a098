// Package core is everything a person can do, without a window: it owns the card,
// runs the flows of package wallet over a reader and a platform, keeps the journal
// and the history, and publishes its State. It knows no file, no socket and no
// screen: those reach it through the interfaces in this file.
package core

import (
	"context"
	"time"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// Store keeps what must outlive the process. Two processes may share one store.
//
// Everything that the journal promises is on disk (fsync) when the call returns;
// readings and settings may be lost with the power, for the card can be read again.
type Store interface {
	wallet.Journal

	// Latest returns the newest entry of a key, and false where there is none.
	Latest(ctx context.Context, key string) (wallet.Entry, bool, error)
	// Entries returns the newest entry of every key that the filter lets through,
	// the youngest order first.
	Entries(ctx context.Context, filter EntryFilter) ([]wallet.Entry, error)
	// Trail returns all entries of one key, oldest first.
	Trail(ctx context.Context, key string) ([]wallet.Entry, error)
	// Mark is the journal's sequence number and chained hash.
	Mark(ctx context.Context) (api.JournalMark, error)

	// Due returns the results that wait to be sent and whose time has come. A row is
	// made in the same transaction as the entry with stage CREDITED or DEBITED.
	Due(ctx context.Context, now time.Time) ([]OutboxRow, error)
	// Delay notes a failed try; Sent removes the row.
	Delay(ctx context.Context, key string, next time.Time) error
	Sent(ctx context.Context, key string) error

	// PutReceipt keeps the platform's signed receipt of an order; Receipt finds it.
	PutReceipt(ctx context.Context, order string, receipt wallet.Signed) error
	Receipt(ctx context.Context, order string) (wallet.Signed, bool, error)

	// SaveReading merges what a card told into the history and keeps its balance.
	SaveReading(ctx context.Context, reading SavedReading) error
	// Cards returns the newest reading of every card that was ever read here,
	// without records.
	Cards(ctx context.Context) ([]SavedReading, error)
	// History returns merged records, newest first, with the gaps between them.
	History(ctx context.Context, filter HistoryFilter) (History, error)

	// Setting and PutSetting keep preferences; an unknown name is "".
	Setting(ctx context.Context, name string) (string, error)
	PutSetting(ctx context.Context, name, value string) error
}

// EntryFilter selects journal entries; the zero value selects all.
type EntryFilter struct {
	OpenOnly bool        // stages that are not final
	ASN      *wallet.ASN // one card
	Order    string      // the platform's order number
}

// OutboxRow is a result that the platform has not acknowledged yet.
type OutboxRow struct {
	Key   string
	Entry wallet.Entry // stage CREDITED or DEBITED: the card's answer, grant, steps
	Tries int
	Next  time.Time
}

// SavedReading is one reading of one purse.
type SavedReading struct {
	At         time.Time // when it was read, UTC
	ASN        wallet.ASN
	Number     string // the number that people read on the card
	Profile    string
	AID        wallet.Hex
	Balance    wallet.Fen
	ValidFrom  string // YYYYMMDD as on the card
	ValidUntil string
	Records    []SavedRecord // newest first, empty in what Cards returns
	Complete   bool          // the log was read to its end
}

// SavedRecord is one record of a card's log.
type SavedRecord struct {
	ASN      wallet.ASN
	SFI      byte
	Counter  uint16
	Type     byte
	Amount   wallet.Fen
	Terminal wallet.TerminalNumber
	Time     time.Time  // +08:00; zero where the record's digits are no date
	Raw      wallet.Hex // 23 bytes: with ASN and SFI the identity of the record
	Problem  string     // why the record is doubtful, or empty
	Order    string     // online order with this terminal number, where this computer knows it
}

// HistoryFilter selects records; the zero value selects all.
type HistoryFilter struct {
	ASN      *wallet.ASN
	From, To time.Time // To is exclusive
	Types    []byte
	Min, Max wallet.Fen // 0: no bound
	Text     string     // in terminal number, order number
	Limit    int        // 0: all
	Offset   int
}

// History is a page of merged records with what is missing between them.
type History struct {
	Records []SavedRecord
	Total   int // records that the filter selects, regardless of Limit
	Gaps    []Gap
	InFen   wallet.Fen // sums over the selected records
	OutFen  wallet.Fen
}

// Gap tells that a card did more than the records show: counters From…To
// (inclusive) of one kind were never read.
type Gap struct {
	ASN      wallet.ASN
	Online   bool // loads; otherwise purchases
	From, To uint16
}

// Platform is the wire to the payment platform as the program sees it.
type Platform interface {
	PersonPlatform

	// Connect greets the platform and renews a kept login. These requests are not
	// counted. It fails with a network error, or with NOT_LOGGED_IN.
	Connect(ctx context.Context) error
	Login(ctx context.Context, phone, password string, sms func(ctx context.Context, codeID string) (string, error)) error
	Logout(ctx context.Context) error
	Session() Session
	Signers() wallet.SignerKeys // from the platform profile; needs no login
	TakeLease(ctx context.Context) (wallet.Lease, error)

	// Issuer returns the platform for one load: paymentPassword is asked at most
	// once and sealed to the order; nil in a sync, which needs none.
	Issuer(paymentPassword func(ctx context.Context) (string, error)) wallet.Issuer
	Result(ctx context.Context, entry wallet.Entry) (wallet.OrderState, wallet.Signed, error)
	Abandon(ctx context.Context, key string) (wallet.OrderState, error)
	Load(ctx context.Context, order string) (wallet.OrderState, error)
	Pending(ctx context.Context, asn wallet.ASN) ([]wallet.OpenOrder, error)

	// MerchantOrder and Unload look up what a person confirms before a purchase; the
	// answer is signed.
	MerchantOrder(ctx context.Context, code string) (wallet.MerchantOrder, error)
	Unload(ctx context.Context, asn wallet.ASN, amount wallet.Fen) (wallet.MerchantOrder, error)
	// Cashier returns the platform for purchases. The others are for purchases what
	// Result, Abandon, Load, Pending and Orders are for loads.
	Cashier() wallet.Cashier
	PurchaseResult(ctx context.Context, entry wallet.Entry) (wallet.PurchaseStatement, wallet.Signed, error)
	AbandonPurchase(ctx context.Context, key string) (wallet.PurchaseStatement, error)
	Purchase(ctx context.Context, purchase string) (wallet.PurchaseStatement, error)
	PendingPurchases(ctx context.Context, asn wallet.ASN) ([]wallet.OpenPurchase, error)
	Purchases(ctx context.Context) (api.Purchases, error)

	StatePlatform
	FundingPlatform
	BankPlatform

	AddCard(ctx context.Context, request api.CardRequest) (api.Card, error)
	Account(ctx context.Context) (api.Account, error)
	Records
	Orders(ctx context.Context) (api.Orders, error)
	// Requests counts since login, in the transport, without repeats under one key.
	Requests() int
}

// Session is what the platform told at login, every signature verified.
type Session struct {
	LoggedIn   bool
	User       string
	Phone      string
	Device     string
	Cards      []api.Card
	Policy     api.Policy
	Scripts    map[string]wallet.Script // load-open scripts by profile
	OpenOrders []wallet.OpenOrder

	PurchaseScripts map[string]wallet.Script // purchase-open scripts by profile
	OpenPurchases   []wallet.OpenPurchase

	Epoch     int
	Watermark time.Time
	Demo      bool
}
