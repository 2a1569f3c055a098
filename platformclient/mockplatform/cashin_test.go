package mockplatform

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

func (s person) cash(amount wallet.Fen, receipt string) *httptest.ResponseRecorder {
	return s.post(api.PathStaffCashIns, s.w.newKey(), api.StaffCashIn{Phone: testPhone, Amount: amount, Receipt: receipt})
}

func (s person) decideCash(path, id string) *httptest.ResponseRecorder {
	return s.post(strings.Replace(path, "{id}", id, 1), s.w.newKey(), api.StaffReason{Reason: "counted again"})
}

func TestFunding_CashInHall(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	before := c.main()
	clerk, boss := w.staff("mei", api.RoleClerk), w.staff("lin", api.RoleSupervisor)
	var told, again api.StaffCash
	clerk.must(http.StatusOK, clerk.cash(10000, "T1-0001"), &told)
	require.Equal(t, wallet.FundingDone, told.State)
	require.Equal(t, "*******0001", told.Payee)
	clerk.must(http.StatusOK, clerk.cash(10000, "T1-0001"), &again)
	require.Equal(t, told, again)
	require.Equal(t, before+10000, c.main(), "one receipt is one credit")
	clerk.refusedWith(api.CodeKeyReused, clerk.cash(10001, "T1-0001"))

	// A large amount waits for a second person, who is a supervisor.
	for i, path := range []string{api.PathStaffCashReject, api.PathStaffCashConfirm} {
		before := c.main()
		clerk.must(http.StatusOK, clerk.cash(cashAlone+1, fmt.Sprintf("T1-100%d", i)), &told)
		require.Equal(t, wallet.FundingReceived, told.State)
		var waiting api.StaffCashIns
		boss.must(http.StatusOK, boss.get(api.PathStaffCashIns), &waiting)
		require.Equal(t, []api.StaffCash{told}, waiting.CashIns)
		_, err := w.p.PursueFundings(context.Background())
		require.NoError(t, err)
		clerk.refusedWith(api.CodeStaffRole, clerk.decideCash(path, told.Funding))
		require.Equal(t, before, c.main())
		boss.must(http.StatusOK, boss.decideCash(path, told.Funding), &told)
		want := before
		if path == api.PathStaffCashConfirm {
			want += cashAlone + 1
		}
		require.Equal(t, want, c.main())
		boss.refusedWith(api.CodeProposalClosed, boss.decideCash(path, told.Funding))
		require.Equal(t, want, c.main())
	}
	boss.must(http.StatusOK, boss.cash(cashAlone+1, "T2-1"), &told)
	boss.refusedWith(api.CodeSecondPerson, boss.decideCash(api.PathStaffCashConfirm, told.Funding))

	boss.refusedWith(api.CodeBadRequest, boss.cash(0, "T2-2"))
	boss.refusedWith(api.CodeBadRequest, boss.cash(100, "T2|2"))
	w.exec(`UPDATE users SET state = 'CLOSED'`)
	boss.refusedWith(api.CodeAccountState, boss.cash(100, "T2-3"))
	require.Equal(t, wallet.Fen(10000+cashAlone+1), w.check().CashInHallFen)

	var list api.Fundings
	c.must(http.StatusOK, c.get(api.PathFundings), &list)
	require.Len(t, list.Fundings, 4)
	require.Equal(t, http.StatusUnauthorized, c.post(api.PathStaffCashIns, w.newKey(), api.StaffCashIn{Phone: testPhone, Amount: 1, Receipt: "X"}).Code)
}

func transferFile(t *testing.T, batch string, lines ...Transfer) []byte {
	var file bytes.Buffer
	w := writeRecords(&file, recordHeader{party: "ICBC", date: "20260315", batch: batch})
	for _, line := range lines {
		w.detail(line.AmountFen, line.Serial, line.Phone, fmt.Sprint(int64(line.AmountFen)))
	}
	require.NoError(t, w.close())
	return file.Bytes()
}

func TestFunding_NetBankTransfer(t *testing.T) {
	w := newWorld(t)
	c := w.teller(testPhone)
	ctx := context.Background()
	before := c.main()
	file := transferFile(t, "1", Transfer{Serial: "S1", Phone: testPhone, AmountFen: 700},
		Transfer{Serial: "S2", Phone: "13900000000", AmountFen: 900}, Transfer{Serial: "S1", Phone: testPhone, AmountFen: 700})
	told, err := w.p.ImportTransfers(ctx, bytes.NewReader(file))
	require.NoError(t, err)
	require.Len(t, told.InSuspense, 1)
	lost := told.InSuspense[0]
	told.InSuspense = nil
	require.Equal(t, TransferImport{Batch: "1", Count: 3, Credited: 1, Suspense: 1, Again: 1, SumFen: 2300, CreditedFen: 700}, told)
	told, err = w.p.ImportTransfers(ctx, bytes.NewReader(file))
	require.NoError(t, err)
	require.Equal(t, 3, told.Again)

	// The bank's event tells of the same payments, and of one that is in no file yet.
	booked, err := w.p.BookTransfer(ctx, Transfer{Bank: "ICBC", Serial: "S1", Phone: testPhone, AmountFen: 700})
	require.NoError(t, err)
	require.True(t, booked.Again)
	booked, err = w.p.BookTransfer(ctx, Transfer{Bank: "ICBC", Serial: "S1", Phone: testPhone, AmountFen: 701})
	require.NoError(t, err)
	require.True(t, booked.Differs)
	require.Equal(t, 1, w.alarmsOf("TRANSFER_DIFFERS"))
	_, err = w.p.BookTransfer(ctx, Transfer{Bank: "ABC", Serial: "S1", Phone: testPhone, AmountFen: 100})
	require.NoError(t, err)
	_, err = w.p.BookTransfer(ctx, Transfer{Bank: "ABC", Serial: "S9", Phone: "a\nb", AmountFen: 100})
	require.ErrorIs(t, err, ErrTransfer)
	require.Equal(t, before+800, c.main())

	// Money for nobody waits in suspense until its owner is found, and moves once.
	report := w.check()
	require.Equal(t, wallet.Fen(900), report.UnclaimedFen)
	require.Equal(t, wallet.Fen(1700), report.BankClearingFen)
	require.ErrorIs(t, w.p.AssignTransfer(ctx, lost, "13900000000", "slip"), ErrPayeeUnknown)
	require.NoError(t, w.p.AssignTransfer(ctx, lost, testPhone, "slip"))
	require.ErrorIs(t, w.p.AssignTransfer(ctx, lost, testPhone, "slip"), ErrNotSuspended)
	require.Equal(t, before+1700, c.main())
	require.Zero(t, w.check().UnclaimedFen)
	var list api.Fundings
	c.must(http.StatusOK, c.get(api.PathFundings), &list)
	require.Len(t, list.Fundings, 3)

	for name, broken := range map[string][]byte{
		"cut":   file[:len(file)-3],
		"bytes": bytes.Replace(file, []byte("|700"), []byte("|701"), 1),
		"more":  append(bytes.Clone(file), 'x'),
	} {
		_, err := w.p.ImportTransfers(ctx, bytes.NewReader(broken))
		require.ErrorIs(t, err, ErrRecordFile, name)
	}
	require.Equal(t, before+1700, c.main())
}
