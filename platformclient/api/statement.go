package api

import "time"

// Lists of postings and orders come in pages, newest first. Every field of a selection
// narrows it. A page is at most PageMax lines long; its Next, given as cursor, asks for
// what follows it. New entries shift no page.
const (
	PageDefault = 100
	PageMax     = 500
)

// PageInfo is what a page tells about those after it.
type PageInfo struct {
	Next string `json:"next,omitempty"` // cursor of the page that follows; empty: this is the last
}

// Selection narrows a list. Both days are included, as business days YYYY-MM-DD of
// Asia/Shanghai; amounts are fen without sign. What does not apply to a list is
// refused, not left out of account.
type Selection struct {
	From, To string
	Type     string // of a posting
	State    string // of an order
	Open     bool   // orders that are not final
	Min, Max int64  // 0: no bound
	Text     string // a part of the order's number; of a purchase also of merchant and goods
	Order    string // the whole number
	Card     string // application serial, 20 hex digits
	Limit    int    // lines of a page; 0: PageDefault
	Cursor   string
}

// MaxSelectionText bounds the text of a selection, in bytes.
const MaxSelectionText = 64

// DayForm is the form of the days of a selection.
const DayForm = time.DateOnly
