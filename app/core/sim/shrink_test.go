package sim

import (
	"maps"
	"testing"
)

// faultKinds are the names that Plan.Without understands.
var faultKinds = []string{
	"kill before request", "request lost", "request delayed", "network cut", "request twice", "request slow",
	"platform dies before commit", "platform dies after commit", "another computer meanwhile", "answer lost", "kill before answer",
	"answer damaged", "answer unsigned", "late request arrives", "kill before stage", "kill after stage", "disk full", "disk error",
	"kill after command", "card torn before", "card torn inside", "card torn after", "wrong card", "wrong PIN", "wrong password",
	"person declines", "callback lost", "callback answer lost", "merchant fails", "clock jumps", "corner shop", "block card", "restore", "rogue",
}

// shrink looks for a smaller plan that still breaks a rule: nothing after the
// operation that failed, kinds of faults left out one by one, then operations in
// halves, quarters and so on. It gives up after so many runs.
func shrink(t *testing.T, plan Plan, runs int) (Plan, Report, error) {
	best, broken := run(t, plan)
	if broken == nil {
		return plan, best, nil
	}
	try := func(smaller Plan) bool {
		if runs--; runs < 0 {
			return false
		}
		report, err := run(t, smaller)
		if err != nil {
			plan, best, broken = smaller, report, err
		}
		return err != nil
	}
	smaller := plan
	smaller.Operations = min(plan.Operations, best.Failed+1)
	try(smaller)
	for _, kind := range faultKinds {
		smaller = plan
		smaller.Without = maps.Clone(plan.Without)
		if smaller.Without == nil {
			smaller.Without = map[string]bool{}
		}
		smaller.Without[kind] = true
		try(smaller)
	}
	for size := plan.Operations / 2; size > 0 && runs > 0; size /= 2 {
		for from := 0; from < plan.Operations; from += size {
			smaller = plan
			smaller.Skip = maps.Clone(plan.Skip)
			if smaller.Skip == nil {
				smaller.Skip = map[int]bool{}
			}
			for i := from; i < from+size; i++ {
				smaller.Skip[i] = true
			}
			if len(smaller.Skip) > len(plan.Skip) {
				try(smaller)
			}
		}
	}
	return plan, best, broken
}
