package mockplatform

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// cdrs lists all charging records.
func (w *world) cdrs() (all []CDR) {
	w.t.Helper()
	require.NoError(w.t, w.p.CDRs(w.t.Context(), "", "", func(one CDR) error { all = append(all, one); return nil }))
	return all
}

func onePercent() api.FeeTable {
	return api.FeeTable{Version: 4, Rows: []api.FeeRow{{Event: api.FeeEventLoad, Source: "main", RateBP: 100, MinFen: 20}}}
}

// A load is charged with its hold; what is voided comes back in full with a record that
// reverses it; what is loaded stays charged.
func TestFee_RecordsOfLoadAndVoid(t *testing.T) {
	w := limited(t, func(policy *api.Policy) { policy.Fees = onePercent() })
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	main := w.balance(mainAccount(c.session.User))
	_, grant := torn(w, c, k, virtualcard.Before)
	require.Equal(t, wallet.Fen(50), grant.Fee)
	first := w.cdrs()
	require.Equal(t, []CDR{{
		ID: 1, Order: grant.Order, Party: c.session.User, Event: "load", Source: "main", BaseFen: 5000, Version: 4, FeeFen: 50, Day: "20260315", Time: w.clock,
	}}, first)
	answer, _ := c.evidence(k, openOf(grant), wallet.IntentCancel)
	require.Equal(t, wallet.StateVoided, c.stateOf(answer).State)
	require.Equal(t, main, w.balance(mainAccount(c.session.User)))
	all := w.cdrs()
	require.Len(t, all, 2)
	require.Equal(t, first[0], all[0], "no record changes")
	require.Equal(t, int64(1), all[1].Reverses)
	require.Equal(t, wallet.Fen(-50), all[1].FeeFen)
	require.Equal(t, wallet.Fen(5000), all[1].BaseFen)
	require.Equal(t, 4, all[1].Version)
	require.Zero(t, w.balance(accountFeeIncome))

	c.order(k, 1000).loaded() // 0.10, and at least 0.20
	require.Equal(t, wallet.Fen(20), w.balance(accountFeeIncome))
	require.Equal(t, main-1020, w.balance(mainAccount(c.session.User)))
	require.Len(t, w.cdrs(), 3)
	w.check()
	report, err := w.p.DayReport(t.Context(), "2026-03-15")
	require.NoError(t, err)
	require.Equal(t, DayReport{Date: "2026-03-15", Granted: ReportLine{2, 6070}, Loaded: ReportLine{1, 1000}, Voided: ReportLine{1, 5050}, Fees: ReportLine{1, 20}}, report)
	w.exec(`UPDATE postings SET amount = amount + 1 WHERE account = 'fee-income'`)
	report, err = w.p.DayReport(t.Context(), "2026-03-15")
	require.NoError(t, err)
	require.Equal(t, wallet.Fen(1), report.DifferenceFen)
	_, err = w.p.DayReport(t.Context(), "20260315")
	require.ErrorIs(t, err, ErrDay)
}

// A refusal, a query and a completed order are not charged again.
func TestFee_WhatIsNotBilled(t *testing.T) {
	w := limited(t, func(policy *api.Policy) { policy.Fees = onePercent() })
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	c.order(k, 999).init().refusedWith(api.CodeLimitLoadMin)
	require.Empty(t, w.cdrs())
	_, grant := torn(w, c, k, virtualcard.Before)
	answer, _ := c.evidence(k, openOf(grant), wallet.IntentComplete)
	granted, second := c.grantOf(answer)
	require.Equal(t, wallet.Fen(50), second.Fee)
	step, err := k.credit(granted)
	require.NoError(t, err)
	c.result(second, nil, step)
	require.Len(t, w.cdrs(), 1)
	w.check()
}

// A tariff that changed after the person confirmed is not charged: neither the old fee
// nor the new one.
func TestFee_ChangedAfterTheConfirmation(t *testing.T) {
	w := newWorld(t)
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	order := c.order(k, 5000).init()
	policy, err := w.p.SetPolicy(t.Context(), []byte(`{"fees":{"version":9,"rows":[{"event":"load","source":"main","base_fen":0,"rate_bp":100,"min_fen":0,"max_fen":0}]}}`))
	require.NoError(t, err)
	require.Equal(t, 2, policy.Version)
	require.Equal(t, 2, policy.Fees.Version, "versions count the changes, whatever the file says")
	w.reopen()
	order.refusedWith(api.CodeFeeChanged)
	require.Empty(t, w.cdrs())
	c.login()
	c.order(k, 5000).loaded()
	require.Equal(t, wallet.Fen(50), w.balance(accountFeeIncome))
	w.check()

	for name, raw := range map[string]string{
		"unknown field":  `{"limit":1}`,
		"negative limit": `{"limits":{"load_max":-1}}`,
		"bad tariff":     `{"fees":{"rows":[{"event":"load","source":"main","rate_bp":10001}]}}`,
		"two objects":    `{} {}`,
		"no JSON":        `fees: 1`,
	} {
		_, err := w.p.SetPolicy(t.Context(), []byte(raw))
		require.ErrorIs(t, err, ErrPolicy, name)
	}
	// What a file does not name stays.
	policy, err = w.p.SetPolicy(t.Context(), []byte(`{"limits":{"load_max":60000}}`))
	require.NoError(t, err)
	require.Equal(t, wallet.Fen(60000), policy.Limits.LoadMax)
	require.Equal(t, wallet.Fen(1000), policy.Limits.LoadMin)
	require.Equal(t, 100, policy.Fees.Rows[0].RateBP)
	require.Equal(t, 2, policy.Fees.Version, "the tariff has not changed")
	require.Equal(t, DefaultPolicy().LoadRefuse, policy.LoadRefuse)
}

// A restore that lost an order rebuilds its charging record with its hold.
func TestFee_RestoredOrdersAreCharged(t *testing.T) {
	w := limited(t, func(policy *api.Policy) { policy.Fees = onePercent() })
	k, c := w.card(serial, virtualcard.Spec{}), w.teller(testPhone)
	backup := w.backup()
	granted, grant := c.order(k, 5000).init().granted()
	step, err := k.credit(granted)
	require.NoError(t, err)
	w.restore(backup)
	require.Empty(t, w.cdrs())
	w.clock = w.clock.Add(time.Second)
	c.login()
	result := api.ResultRequest{Attempt: 1, Steps: []wallet.StepResult{step}, TAC: step.Data, BalanceAfter: k.Balance(), Grant: &granted.Grant}
	require.Equal(t, wallet.StateLoaded, c.stateOf(c.post("/v1/loads/"+grant.Order+"/result", w.newKey(), result)).State)
	all := w.cdrs()
	require.Len(t, all, 1)
	require.Equal(t, wallet.Fen(50), all[0].FeeFen)
	w.check()
}
