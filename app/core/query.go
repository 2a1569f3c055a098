package core

import (
	"context"
	"time"

	"walletcompanion/reader"
	"walletcompanion/wallet"
)

// QueryResult is one offline reading.
type QueryResult struct {
	Reading wallet.Reading
	Reader  reader.Info
	At      time.Time
	Elapsed time.Duration // from the card being held to the complete first purse
	Warning error         // the reading could not be kept in the history
}

// query is Query, untold.
func (c *Core) query(ctx context.Context, onBalance func(wallet.Purse)) (QueryResult, error) {
	var result QueryResult
	err := c.withCard(ctx, func(session reader.Session, info reader.Info) error {
		began := time.Now()
		reading, err := wallet.Read(ctx, session, wallet.ReadOptions{OnBalance: onBalance, Trace: c.Trace})
		result = QueryResult{Reading: reading, Reader: info, At: c.Now(), Elapsed: time.Since(began)}
		return err
	})
	if err != nil {
		return result, err
	}
	result.Warning = c.keepReading(ctx, result.Reading, result.At)
	return result, nil
}

// keepReading merges every purse of a reading into the history. One whose balance
// could not be read is left out: it would replace the balance that is known by zero.
func (c *Core) keepReading(ctx context.Context, reading wallet.Reading, at time.Time) error {
	for _, purse := range reading.Purses {
		if !purse.BalanceKnown {
			continue
		}
		if err := c.Store.SaveReading(ctx, savedReading(purse, at)); err != nil {
			return err
		}
	}
	return nil
}

func savedReading(purse wallet.Purse, at time.Time) SavedReading {
	saved := SavedReading{
		At: at, ASN: purse.ASN, Number: purse.Number, Profile: purse.Profile.Name, AID: purse.AID,
		Balance: purse.Balance, ValidFrom: cardDate(purse.ValidFrom), ValidUntil: cardDate(purse.ValidUntil), Complete: purse.Complete,
	}
	for _, record := range purse.Records {
		saved.Records = append(saved.Records, SavedRecord{
			ASN: purse.ASN, SFI: record.SFI, Counter: record.Counter, Type: record.Type, Amount: record.Amount,
			Terminal: record.Terminal, Time: record.Time, Raw: record.Raw, Problem: record.Problem,
		})
	}
	return saved
}

// cardDate is YYYYMMDD, or empty where the card holds no date.
func cardDate(date time.Time) string {
	if date.IsZero() {
		return ""
	}
	return date.Format("20060102")
}
