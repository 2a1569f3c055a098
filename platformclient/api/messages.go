// Package api holds the messages between client and platform, one Go type each,
// shared by both ends. HTTPS, JSON, paths under /v1; amounts are fen, bytes are
// upper-case hex, objects signed by the platform travel as wallet.Signed and are
// verified before they are parsed (protocol §2.6).
package api

import (
	"time"

	"walletcompanion/wallet"
)

// Paths of the interface. {…} stands for one path element.
const (
	PathHello         = "/v1/hello"               // GET → ⟨Hello⟩
	PathSMSCodes      = "/v1/sms-codes"           // POST SMSRequest → SMSSent
	PathRegistrations = "/v1/registrations"       // POST Registration → Registered: signed by the key that it brings
	PathDevices       = "/v1/devices"             // POST DeviceRequest → DeviceAnswer: signed by the key that it brings; GET → Devices
	PathSession       = "/v1/session"             // POST SessionRequest → SessionAnswer
	PathRefresh       = "/v1/session/refresh"     // POST RefreshRequest → SessionAnswer
	PathSessionEnd    = "/v1/session/end"         // POST {} → {}
	PathAccount       = "/v1/account"             // GET → Account
	PathStatement     = "/v1/statement"           // GET ?from=&to=&type=&min=&max=&text=&order=&limit=&cursor= → Statement
	PathCards         = "/v1/cards"               // POST CardRequest → Card; GET → []Card
	PathPending       = "/v1/cards/{asn}/pending" // GET → PendingAnswer
	PathLoads         = "/v1/loads"               // POST LoadRequest → LoadAnswer; GET ?from=&to=&state=&open=&min=&max=&text=&order=&card=&limit=&cursor= → Orders
	PathLoad          = "/v1/loads/{id}"          // GET → LoadAnswer
	PathAbandon       = "/v1/loads/{id}/abandon"  // POST {} → LoadAnswer; id is the key here
	PathResult        = "/v1/loads/{id}/result"   // POST ResultRequest → LoadAnswer
	PathAttempts      = "/v1/loads/{id}/attempts" // POST AttemptRequest → LoadAnswer
)

// Headers besides those of RFC 9421.
const (
	HeaderIdempotencyKey = "Idempotency-Key" // UUIDv7 of a POST, for the life of its order
	HeaderNonce          = "Wallet-Nonce"    // in every answer: a fresh nonce, valid 5 minutes, any number of requests
	HeaderJournal        = "Wallet-Journal"  // "seq:hash" of the client's journal, in session and loads
)

// Error is the body of every answer that is not 2xx and carries no signed state.
// It is not signed and therefore means "unknown" where money is concerned.
type Error struct {
	Code string `json:"code"`
	Text string `json:"text"`

	Standing    string     `json:"standing,omitempty"`      // ACCOUNT_STATE, CARD_STATE: what refused, as in Account.Standing and Card.Standing
	Until       *time.Time `json:"until,omitempty"`         // when that ends by itself
	Owed        *Owed      `json:"owed,omitempty"`          // CLOSE_REFUSED: what is still there
	RetryAfterS int        `json:"retry_after_s,omitempty"` // seconds after which it may succeed
	TriesLeft   *int       `json:"tries_left,omitempty"`    // before a password is locked
}

// ErrorBody wraps Error.
type ErrorBody struct {
	Error Error `json:"error"`
}

// Hello is the platform's signed greeting (domain wallet/hello/1).
type Hello struct {
	Time       time.Time `json:"time"`
	Nonce      string    `json:"nonce"`
	Epoch      int       `json:"epoch"`
	MinVersion string    `json:"min_version"`
	Demo       bool      `json:"demo"`
}

// SMSRequest asks for a code by SMS.
type SMSRequest struct {
	Phone   string `json:"phone"`
	Purpose string `json:"purpose"` // register, device, password, bank, thaw, loss, close
}

// SMSSent names the code that was sent. Within ResendAfterS seconds nothing more is
// sent, and the same code is named again; after them another one voids it.
type SMSSent struct {
	CodeID       string `json:"code_id"`
	ResendAfterS int    `json:"resend_after_s"`
}

// SMSCode is a code as the person typed it.
type SMSCode struct {
	CodeID string `json:"code_id"`
	Code   string `json:"code"`
}

// DeviceRequest enrols this computer's key for a phone number. The request is
// signed by the key that it brings.
type DeviceRequest struct {
	Phone       string     `json:"phone"`
	SMS         SMSCode    `json:"sms"`
	LoginPWSeal []byte     `json:"login_pw_seal"`
	DeviceKey   wallet.Hex `json:"device_key"` // Ed25519 public key, 32 bytes
	DeviceName  string     `json:"device_name"`
	CompanionSN string     `json:"companion_sn,omitempty"` // serial of the reader; empty: the device key stands for it
}

// DeviceAnswer names the enrolled device.
type DeviceAnswer struct {
	Device   string `json:"device"`
	Replaced string `json:"replaced,omitempty"`
}

// SessionRequest logs in.
type SessionRequest struct {
	Phone       string      `json:"phone"`
	LoginPWSeal []byte      `json:"login_pw_seal"`
	ClientVer   string      `json:"client_ver"`
	Journal     JournalMark `json:"journal"`
}

// RefreshRequest renews an access token.
type RefreshRequest struct {
	Refresh   string      `json:"refresh"`
	ClientVer string      `json:"client_ver"`
	Journal   JournalMark `json:"journal"`
}

// JournalMark lets the platform notice a cloned profile: same seq, other hash.
type JournalMark struct {
	Seq  int64      `json:"seq"`
	Hash wallet.Hex `json:"hash"`
}

// SessionAnswer is everything a client needs to work for 15 minutes.
type SessionAnswer struct {
	AccessToken     string             `json:"access_token"` // 15 min, bound to the device key
	AccessExpires   time.Time          `json:"access_expires"`
	Refresh         string             `json:"refresh"` // 30 days
	Device          string             `json:"device"`
	User            string             `json:"user"`
	Phone           string             `json:"phone"`
	Cards           []Card             `json:"cards"`
	Nonce           string             `json:"nonce"`
	Epoch           int                `json:"epoch"`
	BackupWatermark time.Time          `json:"backup_watermark"`
	Policy          wallet.Signed      `json:"policy"`  // Policy
	Scripts         []wallet.Signed    `json:"scripts"` // wallet.Script
	Leases          []wallet.Signed    `json:"leases"`  // wallet.Lease ×8
	OpenOrders      []wallet.OpenOrder `json:"open_orders"`

	OpenPurchases []wallet.OpenPurchase `json:"open_purchases,omitempty"` // AUTHORISED and DOUBTFUL, of the account's cards
}

// Policy is what the platform allows (domain wallet/policy/1); see Limits.
type Policy struct {
	Version    int       `json:"version"`
	Expires    time.Time `json:"expires"`
	Limits     Limits    `json:"limits"`
	Fees       FeeTable  `json:"fees"`
	LoadRefuse []string  `json:"load_refuse"` // card profiles that may not be loaded
}

// Card is a card of the account.
type Card struct {
	ASN       wallet.ASN `json:"asn"`
	State     string     `json:"state"` // ISSUED ACTIVE SUSPENDED LOST BLACK RECOVER REPLACED RETURNED
	Profile   string     `json:"profile"`
	OpenOrder string     `json:"open_order,omitempty"`

	Label      string     `json:"label,omitempty"`       // its owner's own word for it
	Standing   string     `json:"standing,omitempty"`    // the state; LOST_ORAL or LOST_WRITTEN for LOST
	StateSince *time.Time `json:"state_since,omitempty"` //
	StateUntil *time.Time `json:"state_until,omitempty"` // it ends by itself then
	Allowed    []string   `json:"allowed,omitempty"`     // load, pay, credit-in, query, complete, cancel, evidence
	Named      bool       `json:"named,omitempty"`       // the issuer knows its holder: a higher cap
}

// CardRequest adds a card: the MAC1 over a leased terminal number proves
// possession, opening balance and counter.
type CardRequest struct {
	ASN     wallet.ASN `json:"asn"`
	Profile string     `json:"profile"`
	Open    Open       `json:"open"`
}

// Open is the raw conversation of an open script: what the card answered to each
// step, the last one being INITIALIZE FOR LOAD.
type Open struct {
	TID    wallet.TerminalNumber `json:"tid"`
	Amount wallet.Fen            `json:"amount"`
	Steps  []wallet.StepResult   `json:"steps"`
}

// OrderCore is what the payment password's seal is bound to (OrderCoreHash).
type OrderCore struct {
	ASN    wallet.ASN `json:"asn"`
	Amount wallet.Fen `json:"amount"`
	Fee    wallet.Fen `json:"fee"`
	Source string     `json:"source"` // main
	Key    string     `json:"key"`
}

// LoadRequest asks for a grant. The idempotency key of the request is the order's key.
type LoadRequest struct {
	Amount  wallet.Fen `json:"amount"`
	Fee     wallet.Fen `json:"fee"`
	Source  string     `json:"source"`
	Card    LoadCard   `json:"card"`
	Open    Open       `json:"open"`
	PaySeal []byte     `json:"pay_seal"`

	CompanionSN string `json:"companion_sn,omitempty"`
}

// LoadCard is the card of a LoadRequest as the person confirmed it.
type LoadCard struct {
	ASN      wallet.ASN `json:"asn"`
	KeyIndex byte       `json:"key_idx"`
	Profile  string     `json:"profile"`
}

// LoadAnswer answers every request about a load: a grant with its script, or a
// signed state (wallet.OrderState; domain wallet/receipt/1 for LOADED and VOIDED,
// wallet/order/1 for all others). Leases are handed out when the client's run low.
type LoadAnswer struct {
	Grant  *wallet.GrantedScript `json:"granted,omitempty"`
	State  *wallet.Signed        `json:"state,omitempty"`
	Leases []wallet.Signed       `json:"leases,omitempty"`
}

// ResultRequest reports what CREDIT FOR LOAD answered. It authenticates itself by
// TAC and grant; a session is not needed.
type ResultRequest struct {
	Attempt      int                 `json:"attempt"`
	Steps        []wallet.StepResult `json:"steps"`
	Executed     int                 `json:"executed"`
	TAC          wallet.Hex          `json:"tac,omitempty"`
	BalanceAfter wallet.Fen          `json:"balance_after"`
	Grant        *wallet.Signed      `json:"grant,omitempty"`
}

// AttemptRequest brings the card's evidence about an open order. Request keys are
// fresh; the platform stores its answer under (order, attempt, probe, intent).
type AttemptRequest struct {
	Attempt int                `json:"attempt"`
	Intent  wallet.Intent      `json:"intent"`
	Prove   *wallet.StepResult `json:"prove,omitempty"` // answer of GET TRANSACTION PROVE
	Open    *Open              `json:"open,omitempty"`  // INITIALIZE FOR LOAD over the probe
	Grant   *wallet.Signed     `json:"grant,omitempty"` // lets a restored platform rebuild the order

	CompanionSN string `json:"companion_sn,omitempty"` // looked at for complete, which gives a new grant
}

// PendingAnswer lists open orders of a card, whoever pays them.
type PendingAnswer struct {
	Orders []wallet.OpenOrder `json:"orders"`
}

// Account is the person's account.
type Account struct {
	User        string     `json:"user"`
	Phone       string     `json:"phone"`
	State       string     `json:"state"` // protocol §2.15
	Tier        string     `json:"tier"`
	Main        wallet.Fen `json:"main"`
	Held        wallet.Fen `json:"held"`
	Limits      Limits     `json:"limits"`
	LoadedToday wallet.Fen `json:"loaded_today"`
	LimitsReset time.Time  `json:"limits_reset"`
	Cards       []Card     `json:"cards"`

	Standing    string       `json:"standing"`              // what gives the state: FROZEN_BY_USER, FROZEN_BY_STAFF, or the state
	StateSince  *time.Time   `json:"state_since,omitempty"` //
	StateUntil  *time.Time   `json:"state_until,omitempty"` // it ends by itself then
	By          string       `json:"by,omitempty"`          // who laid it: user, staff, operator, platform
	Allowed     []string     `json:"allowed"`               // load, pay, credit-in, query, complete, cancel, evidence
	LimitStates []LimitState `json:"limit_states"`          // limits of the account and this device, with what is used up
}

// Statement is a page of postings on the main account, newest first.
type Statement struct {
	Lines []StatementLine `json:"lines"`
	Page  PageInfo        `json:"page"`
}

// StatementLine is one posting.
type StatementLine struct {
	Time    time.Time  `json:"time"`
	Type    string     `json:"type"`   // opening, load-hold, load-void, funding, fee …
	Amount  wallet.Fen `json:"amount"` // signed: negative leaves the account
	Balance wallet.Fen `json:"balance"`
	Order   string     `json:"order,omitempty"`
}

// Orders is a page of the person's load orders, newest first.
type Orders struct {
	Orders []Order  `json:"orders"`
	Page   PageInfo `json:"page"`
}

// Order is one line of "where is my money".
type Order struct {
	Order       string           `json:"order"`
	Key         string           `json:"key"`
	Kind        string           `json:"kind"` // load
	State       wallet.LoadState `json:"state"`
	ASN         wallet.ASN       `json:"asn"`
	Amount      wallet.Fen       `json:"amount"`
	Fee         wallet.Fen       `json:"fee"`
	Created     time.Time        `json:"created"`
	Attempt     int              `json:"attempt"`
	Evidence    string           `json:"evidence,omitempty"`
	ReceiptBody *wallet.Receipt  `json:"receipt,omitempty"`
}
