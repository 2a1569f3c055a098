package mockplatform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/rules"
	"walletcompanion/wallet"
)

// Net-bank transfers (M11): a person sends money from any bank with the phone number
// as the reference, and the bank tells the platform, by an event or in the file of the
// day. The bank's serial number makes it one credit, whoever tells of it how often.
// Money for nobody we know is booked too, to suspense, and never dropped.

const (
	transfersOnce = 500 // lines of one transaction
	transferText  = 60  // bytes of a reference
)

// Errors of transfers.
var (
	ErrTransfer     = errors.New("a transfer has a bank and a serial number (plain names), an amount, and a reference of one short line")
	ErrNotSuspended = errors.New("there is no such transfer in suspense")
	ErrPayeeUnknown = errors.New("there is no account with this phone number that money may come into")
)

// Transfer is money that a bank has received for us.
type Transfer struct {
	Bank      string // whose serial number it is
	Serial    string
	AmountFen wallet.Fen
	Phone     string // as the sender wrote it
}

func (t Transfer) valid() bool {
	return plainName(t.Bank) && plainName(t.Serial) && t.AmountFen > 0 && t.AmountFen <= maxCardFen &&
		len(t.Phone) <= transferText && utf8.ValidString(t.Phone) && !strings.ContainsFunc(t.Phone, unicode.IsControl)
}

// TransferBooked is what became of a transfer.
type TransferBooked struct {
	Funding  string
	Again    bool // it was booked before
	Suspense bool // nobody knows whose it is
	Differs  bool // booked before with another amount: nothing was changed, people must look
}

// BookTransfer credits a transfer once.
func (p *Platform) BookTransfer(ctx context.Context, t Transfer) (booked TransferBooked, err error) {
	if !t.valid() {
		return booked, ErrTransfer
	}
	err = p.store.Update(ctx, func(tx *Tx) (err error) { booked, err = p.bookTransfer(tx, t); return err })
	return booked, err
}

func (p *Platform) bookTransfer(tx *Tx, t Transfer) (booked TransferBooked, err error) {
	serial := t.Bank + ":" + t.Serial
	known, err := findFunding(tx, `kind = ? AND bank_serial = ?`, api.FundingTransfer, serial)
	if err != nil {
		return booked, err
	}
	if known != nil {
		booked = TransferBooked{Funding: known.id, Again: true, Suspense: known.user == "", Differs: known.amount != t.AmountFen}
		if booked.Differs {
			err = p.alarm(tx, "TRANSFER_DIFFERS", known.id)
		}
		return booked, err
	}
	payee, err := p.payeeOf(tx, t.Phone)
	if err != nil {
		return booked, err
	}
	f := &funding{
		key: "transfer:" + serial, core: []byte{}, amount: t.AmountFen, kind: api.FundingTransfer, source: "transfer:" + serial,
		ref: t.Phone, serial: serial, state: wallet.FundingReceived, created: p.now(),
	}
	if payee != nil {
		f.user = payee.id
	}
	if f.id, err = p.newOrderID(tx); err != nil {
		return booked, err
	}
	if err := insertFunding(tx, f); err != nil {
		return booked, err
	}
	booked = TransferBooked{Funding: f.id, Suspense: payee == nil}
	if booked.Suspense {
		if err := p.alarm(tx, "TRANSFER_SUSPENSE", f.id); err != nil {
			return booked, err
		}
	}
	return booked, p.noteFunding(tx, f, fundingNews{event: rules.FundingPaid})
}

// payeeOf finds the account that a transfer is for, or nil.
func (p *Platform) payeeOf(tx *Tx, phone string) (*account, error) {
	payee, err := findAccount(tx, "phone", phone)
	if err != nil || payee == nil {
		return nil, err
	}
	code, err := cashRefused(tx, payee)
	if err != nil || code != "" {
		return nil, err
	}
	return payee, nil
}

// TransferImport is what became of a file of transfers.
type TransferImport struct {
	Batch       string     `json:"batch"`
	Count       int        `json:"count"`    // transfers in the file
	Credited    int        `json:"credited"` // of them new, to a person
	Suspense    int        `json:"suspense"` // of them new, to nobody we know
	Again       int        `json:"again"`    // booked before
	Differing   int        `json:"differing"`
	SumFen      wallet.Fen `json:"sumFen"`      // of the file
	CreditedFen wallet.Fen `json:"creditedFen"` // to persons, now
	InSuspense  []string   `json:"inSuspense"`  // numbers of the fundings that went there, now
}

// ImportTransfers books a bank's file, in the form of recordfile.go:
//
//	H|1|BANK|DATE|BATCH|CNY
//	D|SERIAL|PHONE|AMOUNT     the bank's number, the reference as the sender wrote it, fen
//
// A file that is refused books nothing. One that was cut short by a crash is imported
// again: every line is booked once by its serial number.
func (p *Platform) ImportTransfers(ctx context.Context, source io.Reader) (TransferImport, error) {
	result := TransferImport{InSuspense: []string{}}
	var transfers []Transfer
	var bank string
	_, err := readRecords(source, recordForm{
		headerFields: 6, detailFields: 4,
		header: func(h recordHeader) error { bank, result.Batch = h.party, h.batch; return nil },
		detail: func(fields []string) (wallet.Fen, error) {
			amount, err := recordAmount(fields[2])
			t := Transfer{Bank: bank, Serial: fields[0], Phone: fields[1], AmountFen: amount}
			if err == nil && !t.valid() {
				err = ErrTransfer
			}
			transfers = append(transfers, t)
			result.SumFen += amount
			return amount, err
		},
	})
	if err != nil {
		return TransferImport{}, err
	}
	result.Count = len(transfers)
	for start := 0; start < len(transfers); start += transfersOnce {
		lines := transfers[start:min(start+transfersOnce, len(transfers))]
		var part TransferImport
		err := p.store.Update(ctx, func(tx *Tx) error {
			part = TransferImport{}
			for _, t := range lines {
				booked, err := p.bookTransfer(tx, t)
				if err != nil {
					return err
				}
				part.count(t, booked)
			}
			return nil
		})
		if err != nil {
			return result, err
		}
		result.add(part)
	}
	return result, p.store.Update(ctx, func(tx *Tx) error {
		return p.audit(tx, "admin", "transfer-import", result.Batch, fmt.Sprintf("%d of %d", result.Credited+result.Suspense, result.Count))
	})
}

func (r *TransferImport) count(t Transfer, booked TransferBooked) {
	switch {
	case booked.Differs:
		r.Differing++
	case booked.Again:
		r.Again++
	case booked.Suspense:
		r.Suspense++
		r.InSuspense = append(r.InSuspense, booked.Funding)
	default:
		r.Credited++
		r.CreditedFen += t.AmountFen
	}
}

func (r *TransferImport) add(part TransferImport) {
	r.Credited, r.Suspense, r.Again = r.Credited+part.Credited, r.Suspense+part.Suspense, r.Again+part.Again
	r.Differing, r.CreditedFen = r.Differing+part.Differing, r.CreditedFen+part.CreditedFen
	r.InSuspense = append(r.InSuspense, part.InSuspense...)
}

// AssignTransfer gives a transfer, or a payment that only the bank knew of, in suspense to the person whose it turned out to be.
// The ledger keeps the way that the money took.
func (p *Platform) AssignTransfer(ctx context.Context, id, phone, reason string) error {
	return p.store.Update(ctx, func(tx *Tx) error {
		f, err := findFunding(tx, `kind IN (?, ?) AND id = ? AND user = ''`, api.FundingTransfer, api.FundingBank, id)
		if err != nil || f == nil {
			return errOr(err, ErrNotSuspended)
		}
		payee, err := p.payeeOf(tx, phone)
		if err != nil || payee == nil {
			return errOr(err, ErrPayeeUnknown)
		}
		f.user = payee.id
		err = p.post(tx, transfer{kind: postingAssigned, order: f.id, legs: []leg{{accountSuspense, -f.amount}, {mainAccount(f.user), f.amount}}})
		if err != nil {
			return err
		}
		if err := p.writeFundingReceipt(tx, f); err != nil {
			return err
		}
		if err := tx.exec(`UPDATE fundings SET user = ?, receipt = ? WHERE id = ?`, f.user, f.receipt, f.id); err != nil {
			return err
		}
		return p.audit(tx, "admin", postingAssigned, f.id, reason)
	})
}
