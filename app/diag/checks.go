// The checks: what keeps the program from working, said in words. They are a list of
// named questions, none of which can crash, block, or stop another one.
//
// A check needs no login, changes no card and makes no file. What it knows of the
// machine it reads through the Computer that it is given: the root of the file system
// as an fs.FS, the environment, the readers, the platform. Tests give it others.

package diag

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/assets/lang"
)

// Status is the result of a check.
type Status string

// The results of a check.
const (
	OK      Status = "ok"
	Warning Status = "warning" // it works, or may; a person should know
	Failed  Status = "failed"
	Skipped Status = "skipped" // it does not apply here; the text says why
)

// Finding is what a check found out. Outcome names its text in the catalogue:
// doctor.‹check›.‹outcome›, and with .remedy behind it what to do.
type Finding struct {
	Status  Status
	Outcome string
	Facts   map[string]any // for the texts; given to scripts as detail
}

// Check is one question about the machine.
type Check struct {
	Name    string
	Systems []string      // values of runtime.GOOS to which it applies; nil: all
	Exit    int           // exit code of the console where this is the first that failed
	Limit   time.Duration // after which it counts as failed and is left behind; 0: defaultLimit
	Run     func(ctx context.Context, m *Computer) Finding
}

// Result is a check with what it found.
type Result struct {
	Check   string
	Exit    int
	Finding Finding
	Took    time.Duration
}

// defaultLimit bounds a check; grace is what one gets beyond its context.
const (
	defaultLimit = 5 * time.Second
	grace        = 500 * time.Millisecond
)

// Outcomes that every check may have; their texts stand under doctor.‹outcome›.
const (
	outcomeSystem  = "skipped.system"
	outcomeVirtual = "skipped.virtual"
	outcomePanic   = "broken.panic"
	outcomeTimeout = "broken.timeout"
)

// Run puts all checks to the machine, side by side, and returns the results in the
// order of the checks. It returns at the latest when the longest limit is over.
func Run(ctx context.Context, m *Computer, checks []Check) []Result {
	results := make([]Result, len(checks))
	var all sync.WaitGroup
	for i, check := range checks {
		all.Go(func() { results[i] = runOne(ctx, m, check) })
	}
	all.Wait()
	return results
}

// runOne runs a check under its watchdog. One that does not come back is left behind
// with its goroutine.
func runOne(ctx context.Context, m *Computer, check Check) Result {
	if check.Limit == 0 {
		check.Limit = defaultLimit
	}
	began := time.Now()
	result := Result{Check: check.Name, Exit: check.Exit}
	if check.Systems != nil && !slices.Contains(check.Systems, m.System) {
		result.Finding = Finding{Status: Skipped, Outcome: outcomeSystem, Facts: map[string]any{"System": m.System}}
		return result
	}
	limited, cancel := context.WithTimeout(ctx, check.Limit)
	defer cancel()
	found := make(chan Finding, 1)
	go func() {
		defer func() {
			if cause := recover(); cause != nil {
				found <- Finding{Status: Failed, Outcome: outcomePanic, Facts: map[string]any{"Cause": fmt.Sprint(cause), "stack": firstFrames(debug.Stack())}}
			}
		}()
		found <- check.Run(limited, m)
	}()
	var came bool
	if result.Finding, came = await(ctx, found, check.Limit+grace); !came {
		result.Finding = Finding{Status: Failed, Outcome: outcomeTimeout, Facts: map[string]any{"Seconds": check.Limit.Seconds()}}
	}
	result.Took = time.Since(began)
	return result
}

// await takes what a check finds, until the time is over or nobody wants to know any
// more; most checks then end by themselves a moment later, and tell more.
func await(ctx context.Context, found <-chan Finding, limit time.Duration) (finding Finding, came bool) {
	over := time.NewTimer(limit)
	defer over.Stop()
	select {
	case finding = <-found:
		return finding, true
	case <-over.C:
		return Finding{}, false
	case <-ctx.Done():
	}
	over.Reset(grace)
	select {
	case finding = <-found:
		return finding, true
	case <-over.C:
		return Finding{}, false
	}
}

// firstFrames is the part of a stack that a bundle needs.
func firstFrames(stack []byte) string {
	lines := strings.Split(string(stack), "\n")
	return strings.Join(lines[:min(len(lines), 12)], "\n")
}

// Exit is the console's exit code for results: 0 where none failed, else that of the
// first that did.
func Exit(results []Result) int {
	for _, result := range results {
		if result.Finding.Status == Failed {
			return result.Exit
		}
	}
	return core.ExitOK
}

// ToldCheck is a result as people read it.
type ToldCheck struct {
	Name   string         `json:"name"`
	Status Status         `json:"status"`
	Text   string         `json:"text"`
	Remedy string         `json:"remedy"` // empty where there is nothing to do
	Detail map[string]any `json:"detail"`
}

// Tell puts a result into words.
func (r Result) Tell(texts *lang.Localizer) ToldCheck {
	facts := r.Finding.Facts
	if facts == nil {
		facts = map[string]any{}
	}
	key := "doctor." + r.Check + "." + r.Finding.Outcome
	if strings.HasPrefix(r.Finding.Outcome, "skipped.") || strings.HasPrefix(r.Finding.Outcome, "broken.") {
		key = "doctor." + r.Finding.Outcome
	}
	told := ToldCheck{Name: r.Check, Status: r.Finding.Status, Text: texts.T(key, facts), Detail: detailOf(facts)}
	if texts.Has(key + ".remedy") {
		told.Remedy = texts.T(key+".remedy", facts)
	}
	return told
}

// detailOf gives scripts the facts under names that begin small. Texts use some facts
// in a form of their own, with a capital: where both are there, scripts get theirs.
func detailOf(facts map[string]any) map[string]any {
	detail := make(map[string]any, len(facts))
	for name, value := range facts {
		small := strings.ToLower(name[:1]) + name[1:]
		if strings.ToUpper(name) == name {
			small = strings.ToLower(name)
		}
		if _, own := facts[small]; small == name || !own {
			detail[small] = value
		}
	}
	return detail
}

// TellAll puts results into words.
func TellAll(results []Result, texts *lang.Localizer) []ToldCheck {
	told := make([]ToldCheck, 0, len(results))
	for _, result := range results {
		told = append(told, result.Tell(texts))
	}
	return told
}

// linux are the systems whose parts are looked at in the file system.
var linux = []string{"linux"}

// Checks are all checks in the order in which people read them: from the plug of the
// reader to the card, then the platform, then this computer.
func Checks() []Check {
	const (
		reader   = core.ExitReader
		network  = core.ExitNetwork
		internal = core.ExitInternal
	)
	return []Check{
		{Name: "pcsc-library", Systems: linux, Exit: reader, Run: checkLibrary},
		{Name: "pcsc-service", Exit: reader, Run: checkService, Limit: readersLimit},
		{Name: "pcsc-activation", Systems: linux, Exit: reader, Run: checkActivation},
		{Name: "ccid-driver", Systems: linux, Exit: reader, Run: checkDriver},
		{Name: "access", Systems: linux, Exit: reader, Run: checkAccess, Limit: readersLimit},
		{Name: "kernel-nfc", Systems: linux, Exit: reader, Run: checkKernel},
		{Name: "usb-readers", Systems: linux, Exit: reader, Run: checkUSB, Limit: readersLimit},
		{Name: "readers", Exit: reader, Run: checkReaders, Limit: readersLimit},
		{Name: "holder", Exit: reader, Run: checkHolder, Limit: readersLimit},
		{Name: "card", Exit: reader, Run: checkCard, Limit: readersLimit},
		{Name: "purse", Exit: reader, Run: checkPurse, Limit: cardLimit},
		{Name: "platform-profile", Exit: network, Run: checkPlatformProfile},
		{Name: "platform-direct", Exit: network, Run: checkDirect, Limit: probeLimit},
		{Name: "platform-proxy", Exit: network, Run: checkProxy, Limit: probeLimit},
		{Name: "clock", Exit: network, Run: checkClock, Limit: probeLimit},
		{Name: "database", Exit: internal, Run: checkDatabase, Limit: databaseLimit},
		{Name: "device-key", Systems: []string{"linux", "darwin"}, Exit: internal, Run: checkDeviceKey, Limit: databaseLimit},
		{Name: "disk", Exit: internal, Run: checkDisk},
		{Name: "display", Systems: linux, Exit: internal, Run: checkDisplay},
	}
}

// Named returns the checks with these names, in the order of Checks.
func Named(names ...string) []Check {
	return slices.DeleteFunc(Checks(), func(c Check) bool { return !slices.Contains(names, c.Name) })
}
