package platformclient

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// The reference platform never answers with these codes; another one may, and the
// client passes them on.
func TestCodesOfOtherPlatforms(t *testing.T) {
	p := newFake(t)
	client := p.loggedIn(t)
	for _, refusal := range []struct {
		status int
		code   string
	}{
		{403, api.CodeDeviceLimit},
		{426, api.CodeVersionTooOld},
	} {
		p.handle("POST "+api.PathSession, func(w http.ResponseWriter, _ seen) { refuse(w, refusal.status, refusal.code) })
		err := client.Login(t.Context(), testPhone, testPassword, typedCode)
		require.Equal(t, refusal.code, CodeOf(err))
		require.Equal(t, KindStatus, KindOf(err))
	}
	for _, code := range []string{api.CodeProbeUnknown, api.CodeEpochChanged} {
		p.handle("POST /v1/loads/"+ask().Order.Key+"/abandon", func(w http.ResponseWriter, _ seen) { refuse(w, 409, code) })
		_, err := client.Abandon(t.Context(), ask().Order.Key)
		require.Equal(t, code, CodeOf(err))
	}
	p.handle("POST /v1/loads", func(w http.ResponseWriter, _ seen) {
		reply(w, 403, stateAnswer(p.sign(wallet.DomainOrder, declined(ask(), "CARD_NOT_OWNED"))))
	})
	verdict, err := client.Issuer(pin).RequestLoad(t.Context(), ask())
	require.NoError(t, err)
	require.Equal(t, "CARD_NOT_OWNED", verdict.State.Code)
}
