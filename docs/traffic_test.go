package docs

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform/mocktest"
	"walletcompanion/platformclient/platformtest"
)

// described finds the description of a request.
type described struct {
	method    string
	path      *regexp.Regexp
	template  string
	operation object
}

// description is the committed file, ready to be compared with traffic.
type description struct {
	validator  validator
	operations []described
}

func readDescription(t testing.TB) description {
	var file object
	require.NoError(t, json.Unmarshal([]byte(readFile(t, "openapi.json")), &file))
	d := description{validator: validator{schemas: file["components"].(object)["schemas"].(object), strict: true}}
	for path, methods := range file["paths"].(object) {
		for method, operation := range methods.(object) {
			d.operations = append(d.operations, described{
				strings.ToUpper(method), regexp.MustCompile("^" + pathPart.ReplaceAllString(path, "[^/]+") + "$"), path, operation.(object),
			})
		}
	}
	return d
}

// find prefers the path without variables: /v1/loads/x is /v1/loads/{id}.
func (d description) find(method, path string) *described {
	for i, one := range d.operations {
		if one.method == method && one.path.MatchString(path) {
			return &d.operations[i]
		}
	}
	return nil
}

// check compares one exchange with the description. Requests that a case of the
// suite damaged on purpose are recognised by the refusal of their form.
func (d description) check(e platformtest.Exchange) error {
	at := fmt.Sprintf("%s %s %d", e.Method, e.Path, e.Status)
	var answer any
	if err := json.Unmarshal(e.AnswerBody, &answer); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	one := d.find(e.Method, e.Path)
	if one == nil {
		return d.validator.check(object{"$ref": "#/components/schemas/ErrorBody"}, answer, at+" unknown path")
	}
	class := fmt.Sprintf("%dXX", e.Status/100)
	response, there := one.operation["responses"].(object)[class].(object)
	if !there {
		return fmt.Errorf("%s: no answer of this class is described", at)
	}
	if e.AnswerHeader.Get(api.HeaderNonce) == "" {
		return fmt.Errorf("%s: no nonce", at)
	}
	if err := d.validator.check(schemaOf(response), answer, at+" answer"); err != nil {
		return err
	}
	if refusedForm(answer) {
		return nil
	}
	return d.checkRequest(*one, e, at)
}

func (d description) checkRequest(one described, e platformtest.Exchange, at string) error {
	body, wanted := one.operation["requestBody"].(object)
	if wanted != (e.RequestBody != nil) {
		return fmt.Errorf("%s: body of the request: described %v, sent %v", at, wanted, e.RequestBody != nil)
	}
	if e.Path != api.PathHello && e.RequestHeader.Get(api.HeaderIdempotencyKey) == "" {
		return fmt.Errorf("%s: no idempotency key", at)
	}
	if needsSignature(one.operation) && e.RequestHeader.Get("Signature") == "" {
		return fmt.Errorf("%s: no signature", at)
	}
	if !wanted {
		return nil
	}
	var value any
	if err := json.Unmarshal(e.RequestBody, &value); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return d.validator.check(schemaOf(body), value, at+" request")
}

func needsSignature(operation object) bool {
	requirements, _ := operation["security"].([]any)
	return len(requirements) > 0 && !slices.ContainsFunc(requirements, func(one any) bool { return len(one.(object)) == 0 })
}

func schemaOf(message object) object {
	return message["content"].(object)["application/json"].(object)["schema"].(object)
}

func refusedForm(answer any) bool {
	body, _ := answer.(object)
	failure, _ := body["error"].(object)
	return failure != nil && slices.Contains([]any{api.CodeBadRequest, api.CodeTooLarge, api.CodeSignature}, failure["code"])
}

// TestTrafficIsAsDescribed runs the conformance suite against the reference platform
// and compares every request and answer on the wire with the description, signed
// payloads included: nothing may be there that is not described.
func TestTrafficIsAsDescribed(t *testing.T) {
	d := readDescription(t)
	var mu sync.Mutex
	seen := map[string]int{}
	platformtest.Run(t, func(t *testing.T) platformtest.Subject {
		subject := mocktest.Subject(t)
		subject.Observe = func(e platformtest.Exchange) {
			if err := d.check(e); err != nil {
				t.Errorf("%v\nrequest %s\nanswer %s", err, e.RequestBody, e.AnswerBody)
			}
			mu.Lock()
			defer mu.Unlock()
			if one := d.find(e.Method, e.Path); one != nil && e.Status/100 == 2 {
				seen[e.Method+" "+one.template]++
			}
		}
		return subject
	})
	for _, route := range servedRoutes(t) {
		require.NotZero(t, seen[route.Method+" "+route.Path], "the suite never got an answer from %s %s", route.Method, route.Path)
	}
}
