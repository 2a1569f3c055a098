package mockplatform

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"walletcompanion/platformclient/api"
	"walletcompanion/wallet"
)

// selection is api.Selection as it came, checked, and what it means as a condition.
type selection struct {
	api.Selection
	from, to time.Time // business days as moments; to is exclusive
	asn      *wallet.ASN
	where    []string
	args     []any
}

// selected reads the query of a list. What a list does not know is refused, so that
// nobody takes an unfiltered list for a filtered one.
func (c *call) selected(known ...string) (*selection, *reply) {
	query := c.req.URL.Query()
	for name, values := range query {
		if !slices.Contains(known, name) || len(values) != 1 || len(values[0]) > api.MaxSelectionText || !utf8.ValidString(values[0]) {
			return nil, refused(http.StatusBadRequest, api.CodeBadRequest, "this list is not narrowed by "+strconv.QuoteToASCII(shortened(name)))
		}
	}
	s := &selection{Selection: api.Selection{
		From: query.Get("from"), To: query.Get("to"), Type: query.Get("type"), State: query.Get("state"), Text: query.Get("text"),
		Order: query.Get("order"), Card: query.Get("card"), Cursor: query.Get("cursor"), Limit: api.PageDefault,
	}}
	if !s.readDays() {
		return nil, refused(http.StatusBadRequest, api.CodeBadRequest, "from and to are dates such as 2026-01-31")
	}
	if !s.readNumbers(query) {
		return nil, refused(http.StatusBadRequest, api.CodeBadRequest, "min, max and limit are whole numbers, limit at most "+strconv.Itoa(api.PageMax))
	}
	if s.Card != "" {
		asn, err := wallet.ParseASN(s.Card)
		if err != nil {
			return nil, refused(http.StatusBadRequest, api.CodeBadRequest, "the application serial has another form")
		}
		s.asn = &asn
	}
	switch open := query.Get("open"); open {
	case "", "false":
	case "true":
		s.Open = true
	default:
		return nil, refused(http.StatusBadRequest, api.CodeBadRequest, "open is true or false")
	}
	return s, nil
}

func shortened(text string) string {
	if len(text) > api.MaxSelectionText {
		return text[:api.MaxSelectionText]
	}
	return text
}

// readDays accepts dates, and moments in RFC 3339, of which the business day counts.
func (s *selection) readDays() bool {
	day := func(text string) (time.Time, bool) {
		if moment, err := time.Parse(time.RFC3339, text); err == nil {
			text = moment.In(shanghai).Format(api.DayForm)
		}
		begin, err := time.ParseInLocation(api.DayForm, text, shanghai)
		return begin, err == nil
	}
	ok := true
	if s.From != "" {
		s.from, ok = day(s.From)
	}
	if s.To != "" && ok {
		s.to, ok = day(s.To)
		s.to = s.to.AddDate(0, 0, 1)
	}
	return ok
}

func (s *selection) readNumbers(query url.Values) bool {
	limit := int64(s.Limit)
	for name, target := range map[string]*int64{"min": &s.Min, "max": &s.Max, "limit": &limit} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil || value < 0 || value > int64(maxCardFen) {
			return false
		}
		*target = value
	}
	s.Limit = int(limit)
	return s.Limit >= 1 && s.Limit <= api.PageMax
}

// and narrows the condition.
func (s *selection) and(condition string, args ...any) {
	s.where, s.args = append(s.where, condition), append(s.args, args...)
}

// condition is the whole of it.
func (s *selection) condition() string { return strings.Join(s.where, " AND ") }

// amounts narrows by size, whatever the direction.
func (s *selection) amounts(column string) {
	if s.Min > 0 {
		s.and("ABS("+column+") >= ?", s.Min)
	}
	if s.Max > 0 {
		s.and("ABS("+column+") <= ?", s.Max)
	}
}
