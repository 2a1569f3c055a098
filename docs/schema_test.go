package docs

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// object is one node of a JSON document.
type object = map[string]any

// validator checks JSON against the part of JSON Schema that the generator uses:
// $ref, type, enum, pattern, format date-time, properties, required,
// additionalProperties, items, minimum, maximum, anyOf, contentEncoding and
// contentSchema. A keyword that it does not know fails, so that no rule of the
// document is silently not checked.
type validator struct {
	schemas object
	// strict refuses a property that the schema does not name, also where a reader
	// of the interface would have to ignore it.
	strict bool
}

var knownKeywords = []string{
	"$ref", "type", "enum", "pattern", "format", "properties", "required", "additionalProperties", "items", "minimum", "maximum",
	"anyOf", "contentEncoding", "contentMediaType", "contentSchema", "description", "title", "x-domains", "x-meanings", "maxItems",
}

func (v validator) check(schema object, value any, at string) error {
	for keyword := range schema {
		if !slices.Contains(knownKeywords, keyword) {
			return fmt.Errorf("%s: the validator does not know %q", at, keyword)
		}
	}
	if ref, ok := schema["$ref"].(string); ok {
		target, found := v.schemas[strings.TrimPrefix(ref, "#/components/schemas/")].(object)
		if !found {
			return fmt.Errorf("%s: %s does not exist", at, ref)
		}
		return v.check(target, value, at)
	}
	if options, ok := schema["anyOf"].([]any); ok {
		var troubles []string
		for _, option := range options {
			err := v.check(option.(object), value, at)
			if err == nil {
				return nil
			}
			troubles = append(troubles, err.Error())
		}
		return fmt.Errorf("%s: no alternative fits: %s", at, strings.Join(troubles, " | "))
	}
	if err := checkType(schema["type"], value, at); err != nil {
		return err
	}
	if values, ok := schema["enum"].([]any); ok && !slices.Contains(values, value) {
		return fmt.Errorf("%s: %v is not one of %v", at, value, values)
	}
	switch value := value.(type) {
	case object:
		return v.checkObject(schema, value, at)
	case []any:
		items, _ := schema["items"].(object)
		for i, item := range value {
			if err := v.check(items, item, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case string:
		return v.checkString(schema, value, at)
	case float64:
		if least, ok := schema["minimum"].(float64); ok && value < least {
			return fmt.Errorf("%s: %v is below %v", at, value, least)
		}
		if most, ok := schema["maximum"].(float64); ok && value > most {
			return fmt.Errorf("%s: %v is above %v", at, value, most)
		}
	}
	return nil
}

func checkType(want, value any, at string) error {
	names, several := want.([]any)
	if !several {
		names = []any{want}
	}
	got := map[bool]string{true: "null"}[value == nil]
	switch value := value.(type) {
	case object:
		got = "object"
	case []any:
		got = "array"
	case string:
		got = "string"
	case bool:
		got = "boolean"
	case float64:
		got = "number"
		if value == math.Trunc(value) && !slices.Contains(names, any("number")) {
			got = "integer"
		}
	}
	if want != nil && !slices.Contains(names, any(got)) {
		return fmt.Errorf("%s: %s instead of %v", at, got, want)
	}
	return nil
}

func (v validator) checkObject(schema, value object, at string) error {
	properties, _ := schema["properties"].(object)
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, there := value[name.(string)]; !there {
			return fmt.Errorf("%s: %v is missing", at, name)
		}
	}
	for name, member := range value {
		property, named := properties[name].(object)
		if !named {
			if v.strict || schema["additionalProperties"] == false {
				return fmt.Errorf("%s: nobody told of %s", at, name)
			}
			continue
		}
		if err := v.check(property, member, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func (v validator) checkString(schema object, value, at string) error {
	if pattern, ok := schema["pattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(value) {
		return fmt.Errorf("%s: %q does not match %s", at, value, pattern)
	}
	if schema["format"] == "date-time" {
		if _, err := time.Parse(time.RFC3339, value); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
	}
	if schema["contentEncoding"] != "base64" {
		return nil
	}
	raw, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if content, ok := schema["contentSchema"].(object); ok {
		var inside any
		if err := json.Unmarshal(raw, &inside); err != nil {
			return fmt.Errorf("%s: %w", at, err)
		}
		return v.check(content, inside, at+"⟨⟩")
	}
	return nil
}

// The validator refuses what it must refuse; without this every test that uses it
// could pass for the wrong reason.
func TestValidatorRefuses(t *testing.T) {
	v := validator{schemas: object{"A": object{"type": "string", "pattern": "^[A-Z]+$"}}}
	schema := object{
		"type": "object", "required": []any{"a"}, "additionalProperties": false,
		"properties": object{
			"a": object{"$ref": "#/components/schemas/A"}, "n": object{"type": "integer", "minimum": 0.0, "maximum": 9.0},
			"l": object{"type": "array", "items": object{"type": "boolean"}}, "e": object{"type": "string", "enum": []any{"x"}},
			"t": object{"type": "string", "format": "date-time"}, "o": object{"anyOf": []any{object{"type": "string"}, object{"type": "null"}}},
			"s": object{"type": "string", "contentEncoding": "base64", "contentSchema": object{"type": "object", "required": []any{"q"}}},
		},
	}
	check := func(text string) error {
		var value any
		require.NoError(t, json.Unmarshal([]byte(text), &value))
		return v.check(schema, value, "$")
	}
	require.NoError(t, check(`{"a":"AB","n":3,"l":[true],"e":"x","t":"2026-03-15T01:30:45Z","o":null,"s":"eyJxIjoxfQ=="}`))
	for _, wrong := range []string{
		`{}`, `[]`, `{"a":"ab"}`, `{"a":1}`, `{"a":"A","b":1}`, `{"a":"A","n":-1}`, `{"a":"A","n":10}`, `{"a":"A","n":1.5}`, `{"a":"A","l":[1]}`,
		`{"a":"A","e":"y"}`, `{"a":"A","t":"now"}`, `{"a":"A","o":1}`, `{"a":"A","s":"!"}`, `{"a":"A","s":"e30="}`, `{"a":"A","l":null}`,
	} {
		require.Error(t, check(wrong), wrong)
	}
	require.Error(t, v.check(object{"oneOf": []any{}}, nil, "$"), "an unknown keyword")
	require.Error(t, v.check(object{"$ref": "#/components/schemas/B"}, nil, "$"))
}
