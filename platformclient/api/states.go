package api

import "walletcompanion/wallet"

// Owed is what keeps an account from being closed.
type Owed struct {
	Main       wallet.Fen `json:"main"`        // on the main account
	Held       wallet.Fen `json:"held"`        // for orders that are not settled
	Purse      wallet.Fen `json:"purse"`       // on the cards, as far as the books know
	OpenOrders int        `json:"open_orders"` // top-ups and purchases that are not settled
}
