package diag

import (
	"context"
	"strings"
	"time"

	"walletcompanion/platformclient"
)

// Bounds of the clock. A nonce of the platform lives five minutes, and a business day
// ends at midnight.
const (
	clockNote  = 30 * time.Second
	clockWrong = 5 * time.Minute
)

// checkPlatformProfile looks whether the platform's file says everything that money
// functions need: address, CA, pins of the servers' keys, signer and sealing keys.
func checkPlatformProfile(_ context.Context, m *Computer) Finding {
	facts := map[string]any{"URL": m.Platform.URL}
	switch {
	case m.Platform.Demo:
		return Finding{Status: OK, Outcome: "demo"}
	case m.Platform.Err != nil:
		facts["Cause"] = m.Platform.Err.Error()
		return Finding{Status: Failed, Outcome: "unreadable", Facts: facts}
	case !m.Platform.Complete:
		return Finding{Status: Failed, Outcome: "incomplete", Facts: facts}
	}
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}

// platformSkipped tells why there is nothing to reach.
func platformSkipped(m *Computer) (Finding, bool) {
	switch {
	case m.Platform.Demo:
		return Finding{Status: Skipped, Outcome: "skipped.demo"}, true
	case m.Platform.Err != nil || m.Platform.URL == "":
		return Finding{Status: Skipped, Outcome: "skipped.no-profile"}, true
	}
	return Finding{}, false
}

// checkDirect reaches for the platform without a proxy. Behind a proxy that is set it
// may well not be reached, and need not be.
func checkDirect(ctx context.Context, m *Computer) Finding {
	if skipped, skip := platformSkipped(m); skip {
		return skipped
	}
	probe, err := m.probe(ctx, false)
	if err != nil {
		return Finding{Status: Failed, Outcome: outcomeTimeout, Facts: map[string]any{"Seconds": probeLimit.Seconds()}}
	}
	found := m.reached(probe)
	if found.Status == Failed && m.Platform.Proxy != "" {
		through, err := m.probe(ctx, true)
		if err == nil && through.Trouble == "" {
			return Finding{Status: OK, Outcome: "proxy-only", Facts: found.Facts}
		}
	}
	return found
}

// checkProxy reaches for the platform through the proxy of the environment, which is
// the way that the program takes where one is set.
func checkProxy(ctx context.Context, m *Computer) Finding {
	if skipped, skip := platformSkipped(m); skip {
		return skipped
	}
	if m.Platform.Proxy == "" {
		return Finding{Status: Skipped, Outcome: "no-proxy"}
	}
	probe, err := m.probe(ctx, true)
	if err != nil {
		return Finding{Status: Failed, Outcome: outcomeTimeout, Facts: map[string]any{"Seconds": probeLimit.Seconds()}}
	}
	found := m.reached(probe)
	found.Facts["Proxy"] = m.Platform.Proxy
	if found.Status == Failed {
		if direct, err := m.probe(ctx, false); err == nil && direct.Trouble == "" {
			found.Outcome = "only-direct"
		}
	}
	return found
}

// reached turns a probe into a finding: ok, or the name of what went wrong.
func (m *Computer) reached(probe platformclient.Probe) Finding {
	facts := map[string]any{"URL": m.Platform.URL, "Host": hostOf(m.Platform.URL), "tookMS": probe.Took.Milliseconds(), "http": probe.Status}
	if probe.Trouble == "" {
		return Finding{Status: OK, Outcome: "ok", Facts: facts}
	}
	facts["Cause"] = probe.Trouble
	if probe.Err != nil {
		facts["Cause"] = probe.Err.Error()
	}
	facts["trouble"] = probe.Trouble
	return Finding{Status: Failed, Outcome: string(probe.Trouble), Facts: facts}
}

func hostOf(url string) string { return strings.TrimPrefix(url, "https://") }

// checkClock holds this computer's clock beside the platform's, and without one
// beside what this program wrote last.
func checkClock(ctx context.Context, m *Computer) Finding {
	if inspected, err := m.inspect(ctx); err == nil && inspected.LastWrite.Sub(m.Now()) > 24*time.Hour {
		return Finding{Status: Failed, Outcome: "set-back", Facts: map[string]any{"Last": inspected.LastWrite.Local().Format(time.DateTime), "Now": m.Now().Local().Format(time.DateTime)}}
	}
	if skipped, skip := platformSkipped(m); skip {
		return skipped
	}
	probe, err := m.probe(ctx, m.Platform.Proxy != "")
	if err != nil || probe.PlatformTime.IsZero() {
		return Finding{Status: Skipped, Outcome: "unknown"}
	}
	ahead := -probe.Ahead // this computer beside the platform
	facts := map[string]any{"Amount": spoken(ahead.Abs()), "seconds": int64(ahead.Round(time.Second) / time.Second), "signed": probe.Signed}
	direction := "fast"
	if ahead < 0 {
		direction = "slow"
	}
	switch {
	case ahead.Abs() > clockWrong:
		return Finding{Status: Failed, Outcome: direction, Facts: facts}
	case ahead.Abs() > clockNote:
		return Finding{Status: Warning, Outcome: direction, Facts: facts}
	}
	return Finding{Status: OK, Outcome: "ok", Facts: facts}
}

// spoken is a span of time without more digits than a person needs.
func spoken(span time.Duration) string {
	switch {
	case span >= 48*time.Hour:
		return span.Round(time.Hour).String()[:len(span.Round(time.Hour).String())-len("0m0s")]
	case span >= time.Hour:
		return strings.TrimSuffix(span.Round(time.Minute).String(), "0s")
	}
	return span.Round(time.Second).String()
}
