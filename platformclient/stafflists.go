package platformclient

import (
	"context"
	"net/http"
	"net/url"

	"walletcompanion/platformclient/api"
)

// Lists tells who stands on the grey and the black list: one subject, or all of a kind,
// or all.
func (s Staff) Lists(ctx context.Context, kind, subject string) (told api.StaffLists, err error) {
	query := url.Values{}
	for name, value := range map[string]string{"kind": kind, "subject": subject} {
		if value != "" {
			query.Set(name, value)
		}
	}
	err = s.ask(ctx, call{method: http.MethodGet, route: api.PathStaffLists, path: api.PathStaffLists, query: query}, &told)
	return told, err
}

// TellList tells an event that lists a subject, or takes it off the grey list.
func (s Staff) TellList(ctx context.Context, change api.StaffListChange) (told api.StaffListed, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffLists, path: api.PathStaffLists, body: change}, &told)
	return told, err
}

// ProposeRemoval proposes that a subject leaves the black list.
func (s Staff) ProposeRemoval(ctx context.Context, wanted api.StaffListRemoval) (told api.StaffListProposal, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffListRemovals, path: api.PathStaffListRemovals, body: wanted}, &told)
	return told, err
}

// Removals lists what waits for a second person.
func (s Staff) Removals(ctx context.Context) (told api.StaffListProposals, err error) {
	err = s.ask(ctx, call{method: http.MethodGet, route: api.PathStaffListRemovals, path: api.PathStaffListRemovals}, &told)
	return told, err
}

// ConfirmRemoval takes the subject off the black list, as somebody else proposed.
func (s Staff) ConfirmRemoval(ctx context.Context, removal, reason string) (told api.StaffListProposal, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffListConfirm, path: fill(api.PathStaffListConfirm, removal), retry: true,
		body: api.StaffReason{Reason: reason}}, &told)
	return told, err
}

// RejectRemoval ends a proposal; the subject stays where it is.
func (s Staff) RejectRemoval(ctx context.Context, removal, reason string) (told api.StaffListProposal, err error) {
	err = s.ask(ctx, call{method: http.MethodPost, route: api.PathStaffListReject, path: fill(api.PathStaffListReject, removal),
		body: api.StaffReason{Reason: reason}}, &told)
	return told, err
}
