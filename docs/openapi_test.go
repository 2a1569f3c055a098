package docs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"walletcompanion/platformclient/api"
	"walletcompanion/platformclient/mockplatform"
)

// operation is one method of one path, read from the comment behind the constant of
// the path: "POST LoadRequest → LoadAnswer; GET → Orders". ⟨T⟩ is a signed T.
type operation struct {
	method, path      string
	request, response string
	query             []string
	note              string
	auth              string // of the handler that serves it; "" where none does
}

var operationForm = regexp.MustCompile(`^(GET|POST)(?: (\?[a-z=&]+))?(?: (\{\}|[A-Z]\w*))?(?: → (\{\}|⟨\w+⟩|(?:\[\])?[A-Z]\w*))?(?:: (.+))?$`)

// operations reads every path constant of package api and asks a real platform which
// of them it serves.
func operations(t testing.TB, s *source) []operation {
	served := map[string]string{}
	for _, route := range servedRoutes(t) {
		served[route.Method+" "+route.Path] = route.Auth
	}
	var all []operation
	for _, c := range s.consts {
		if c.pkg != "api" || !strings.HasPrefix(c.name, "Path") {
			continue
		}
		var methods int
		for part := range strings.SplitSeq(c.comment, "; ") {
			match := operationForm.FindStringSubmatch(part)
			if match == nil {
				require.NotZero(t, methods, "%s: the comment %q names no method", c.name, c.comment)
				all[len(all)-1].note = strings.TrimPrefix(all[len(all)-1].note+"; "+part, "; ")
				continue
			}
			methods++
			op := operation{method: match[1], path: c.value, request: match[3], response: match[4], note: match[5], auth: served[match[1]+" "+c.value]}
			for pair := range strings.SplitSeq(strings.TrimPrefix(match[2], "?"), "&") {
				if name, _, named := strings.Cut(pair, "="); named {
					op.query = append(op.query, name)
				}
			}
			all = append(all, op)
		}
	}
	return all
}

func servedRoutes(t testing.TB) []mockplatform.Route {
	platform, err := mockplatform.Open(mockplatform.Config{Dir: t.TempDir(), Demo: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, platform.Close()) })
	return platform.Routes()
}

// generator builds the description.
type generator struct {
	t       testing.TB
	s       *source
	schemas object
	names   map[string]string // component → type, so that no two types share a name
	closed  map[string]bool   // components in which the platform refuses unknown fields
}

// signedFields says whose signed payload a field carries. A field that is not named
// here is described as signed without saying what is inside.
var signedFields = map[string]string{
	"api.SessionAnswer.Policy":           "api.Policy",
	"api.SessionAnswer.Scripts":          "wallet.Script",
	"api.SessionAnswer.Leases":           "wallet.Lease",
	"api.LoadAnswer.State":               "wallet.OrderState",
	"api.LoadAnswer.Leases":              "wallet.Lease",
	"api.ResultRequest.Grant":            "wallet.Grant",
	"api.AttemptRequest.Grant":           "wallet.Grant",
	"wallet.GrantedScript.Grant":         "wallet.Grant",
	"api.Offer.Offer":                    "wallet.MerchantOrder",
	"api.PurchaseAnswer.State":           "wallet.PurchaseStatement",
	"api.PurchaseAnswer.Leases":          "wallet.Lease",
	"api.PurchaseResult.Grant":           "wallet.PurchaseGrant",
	"api.PurchaseAttempt.Grant":          "wallet.PurchaseGrant",
	"wallet.PurchaseGrantedScript.Grant": "wallet.PurchaseGrant",
	"api.StaffSession.Scripts":           "wallet.Script",
	"api.FundingAnswer.State":            "wallet.FundingStatement",
	"api.BankReturnAnswer.State":         "api.BankReturnState",
}

// errorCodeFields hold one of the codes of package api.
var errorCodeFields = []string{"api.Error.Code", "wallet.OrderState.Code", "wallet.PurchaseStatement.Code", "wallet.FundingStatement.Code", "api.BankReturnState.Code"}

// document is the whole file.
func document(t testing.TB, s *source) []byte {
	g := &generator{t: t, s: s, schemas: object{}, names: map[string]string{}, closed: map[string]bool{}}
	paths := object{}
	g.codes()
	errorBody := g.named("api.ErrorBody")
	for _, op := range operations(t, s) {
		item, known := paths[op.path].(object)
		if !known {
			item = object{}
			paths[op.path] = item
		}
		item[strings.ToLower(op.method)] = g.operation(op, errorBody)
	}
	result := object{
		"openapi":           "3.1.0",
		"jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
		"info": object{
			"title": "Wallet Companion: platform interface", "version": "1",
			"description": "HTTPS with TLS 1.3, JSON, amounts in fen, bytes in upper-case hex. platform-interface.md says what a schema cannot: " +
				"how requests are signed, passwords sealed and signed answers verified, and what silence means. Made from the code by ./dev docs.",
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"paths": paths, "components": g.components(),
	}
	if hooks := g.webhooks(); len(hooks) > 0 {
		result["webhooks"] = hooks
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	require.NoError(t, encoder.Encode(result))
	return out.Bytes()
}

func (g *generator) operation(op operation, errorBody object) object {
	response, carriesState := g.response(op.response)
	failure := errorBody
	if carriesState {
		failure = object{"anyOf": []any{errorBody, response}}
	}
	result := object{
		"operationId": operationID(op), "x-served": op.auth != "",
		"parameters": g.parameters(op),
		"responses": object{
			"2XX": answer("done", response),
			"4XX": answer("refused; only a signed state is a refusal for good, an ErrorBody means unknown where money is concerned", failure),
			"5XX": answer("nobody knows what happened: ask again under the same key", errorBody),
		},
	}
	switch {
	case op.auth == "":
		result["description"] = sentence("Not served by the reference platform of this version.", op.note)
	case op.note != "":
		result["description"] = op.note
	}
	auth := op.auth
	if op.method == "POST" && slices.Contains(bringsKey, op.path) {
		auth = "device" // one that is not enrolled yet: the handler checks the signature itself
	}
	if security := security(auth); security != nil {
		result["security"] = security
	}
	if op.request != "" {
		result["requestBody"] = object{"required": true, "content": content(g.request(op.request))}
	}
	return result
}

// bringsKey are the POSTs that are signed by the key that they bring.
var bringsKey = []string{api.PathDevices, api.PathStaffSession, api.PathRegistrations, api.PathPasswordLogin}

func sentence(parts ...string) string { return strings.TrimSpace(strings.Join(parts, " ")) }

var idPart = regexp.MustCompile(`[A-Za-z]+`)

// operationID is made of method and path: postLoadsIdResult.
func operationID(op operation) string {
	id := strings.ToLower(op.method)
	for _, part := range idPart.FindAllString(strings.ReplaceAll(op.path, "v1", ""), -1) {
		id += strings.ToUpper(part[:1]) + part[1:]
	}
	return id
}

func answer(text string, schema object) object {
	return object{
		"description": text, "content": content(schema),
		"headers": object{api.HeaderNonce: object{"$ref": "#/components/headers/" + api.HeaderNonce}},
	}
}

func content(schema object) object { return object{"application/json": object{"schema": schema}} }

var pathPart = regexp.MustCompile(`\{(\w+)\}`)

func (g *generator) parameters(op operation) []any {
	list := []any{}
	for _, match := range pathPart.FindAllStringSubmatch(op.path, -1) {
		schema := object{"type": "string"}
		if match[1] == "asn" {
			schema = g.schema("wallet", &ast.Ident{Name: "ASN"}, false)
		}
		list = append(list, object{"name": match[1], "in": "path", "required": true, "schema": schema})
	}
	for _, name := range op.query {
		list = append(list, object{"name": name, "in": "query", "required": false, "schema": object{"type": "string"}})
	}
	if op.path != api.PathHello {
		list = append(list, object{"$ref": "#/components/parameters/" + api.HeaderIdempotencyKey})
	}
	if slices.Contains([]string{api.PathLoads, api.PathSession, api.PathRefresh}, op.path) && op.method == "POST" {
		list = append(list, object{"$ref": "#/components/parameters/" + api.HeaderJournal})
	}
	return list
}

// security turns what a handler asks of its sender into OpenAPI's terms.
func security(auth string) []any {
	device, token := object{"requestSignature": []any{}}, object{"requestSignature": []any{}, "accessToken": []any{}}
	switch auth {
	case "":
		return nil
	case "none":
		return []any{}
	case "device", "merchant":
		return []any{device}
	case "session", "staff": // each kind of session opens its own routes only
		return []any{token}
	case "evidence":
		return []any{token, object{}}
	}
	return []any{object{auth: []any{}}} // a scheme that is not described: the test of references finds it
}

func (g *generator) request(name string) object {
	if name == "{}" {
		return object{"type": "object", "additionalProperties": false}
	}
	schema := g.named("api." + name)
	g.close(name)
	return schema
}

// close marks a component and what it holds as taken strictly. What stands inside
// signed payloads is not reached.
func (g *generator) close(component string) {
	schema, found := g.schemas[component].(object)
	if !found || g.closed[component] {
		return
	}
	g.closed[component] = true
	if schema["type"] == "object" {
		schema["additionalProperties"] = false
	}
	var visit func(node any)
	visit = func(node any) {
		switch node := node.(type) {
		case object:
			if ref, ok := node["$ref"].(string); ok {
				g.close(strings.TrimPrefix(ref, "#/components/schemas/"))
			}
			for name, member := range node {
				if name != "contentSchema" {
					visit(member)
				}
			}
		case []any:
			for _, member := range node {
				visit(member)
			}
		}
	}
	visit(schema)
}

// response also tells whether a refusal may come as a signed state in the same type.
func (g *generator) response(name string) (object, bool) {
	switch {
	case name == "":
		return object{}, false
	case name == "{}":
		return object{"type": "object"}, false
	case strings.HasPrefix(name, "⟨"):
		return g.signed("api." + strings.Trim(name, "⟨⟩")), false
	}
	expr, err := parser.ParseExpr(name)
	require.NoError(g.t, err)
	_, carries := signedFields["api."+name+".State"]
	return g.schema("api", expr, false), carries
}

// schema describes a type as encoding/json writes it.
func (g *generator) schema(pkg string, expr ast.Expr, optional bool) object {
	switch expr := expr.(type) {
	case *ast.StarExpr:
		inner := g.schema(pkg, expr.X, false)
		if optional {
			return inner
		}
		return object{"anyOf": []any{inner, object{"type": "null"}}}
	case *ast.ArrayType:
		if elem, ok := expr.Elt.(*ast.Ident); ok && elem.Name == "byte" && expr.Len == nil {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": g.schema(pkg, expr.Elt, false)}
	case *ast.SelectorExpr:
		return g.foreign(expr)
	case *ast.Ident:
		if basic := basicSchema(expr.Name); basic != nil {
			return basic
		}
		return g.named(pkg + "." + expr.Name)
	}
	require.FailNow(g.t, "no schema for this type", "%s %T", pkg, expr)
	return nil
}

func (g *generator) foreign(expr *ast.SelectorExpr) object {
	switch name := expr.X.(*ast.Ident).Name + "." + expr.Sel.Name; name {
	case "time.Time":
		return object{"type": "string", "format": "date-time"}
	case "json.RawMessage": // the script of a grant, kept as the bytes that arrived
		return object{"type": "array", "items": g.named("wallet.Step")}
	default:
		return g.named(name)
	}
}

func basicSchema(name string) object {
	switch name {
	case "string":
		return object{"type": "string"}
	case "bool":
		return object{"type": "boolean"}
	case "int", "int64":
		return object{"type": "integer"}
	case "byte", "uint8":
		return object{"type": "integer", "minimum": 0, "maximum": 0xFF}
	case "uint16":
		return object{"type": "integer", "minimum": 0, "maximum": 0xFFFF}
	case "uint32":
		return object{"type": "integer", "minimum": 0, "maximum": 0xFFFFFFFF}
	}
	return nil
}

// textForms are the types that write themselves as text.
var textForms = map[string]string{
	"wallet.ASN": "^[0-9A-F]{20}$", "wallet.TerminalNumber": "^[0-9A-F]{12}$", "wallet.Hex": "^([0-9A-F]{2})*$",
}

// named makes the component of a declared type and refers to it.
func (g *generator) named(full string) object {
	declared := g.s.types[full]
	require.NotNil(g.t, declared, "%s is not declared", full)
	ref := object{"$ref": "#/components/schemas/" + declared.name}
	if other, known := g.names[declared.name]; known {
		require.Equal(g.t, other, full, "two types have the same name")
		return ref
	}
	g.names[declared.name] = full
	if declared.isText {
		require.NotEmpty(g.t, textForms[full], "%s writes itself as text in an unknown form", full)
		g.schemas[declared.name] = object{"type": "string", "pattern": textForms[full], "description": declared.doc}
		return ref
	}
	switch expr := declared.expr.(type) {
	case *ast.StructType:
		g.schemas[declared.name] = object{} // before its fields: types may refer to each other
		g.schemas[declared.name] = g.structure(declared, expr)
	default:
		schema := g.schema(declared.pkg, expr, false)
		schema["description"] = declared.doc
		if values := g.enum(declared); len(values) > 0 {
			schema["enum"] = values
		}
		g.schemas[declared.name] = schema
	}
	return ref
}

func (g *generator) enum(declared *typeDecl) (values []any) {
	for _, c := range g.s.consts {
		if c.pkg == declared.pkg && c.typ == declared.name && c.value != "" {
			values = append(values, c.value)
		}
	}
	return values
}

func (g *generator) structure(declared *typeDecl, expr *ast.StructType) object {
	properties, required := object{}, []any{}
	for _, field := range expr.Fields.List {
		require.Len(g.t, field.Names, 1, declared.name)
		name, optional := jsonName(g.t, field)
		if name == "-" {
			continue
		}
		full := declared.pkg + "." + declared.name + "." + field.Names[0].Name
		schema := g.field(full, declared.pkg, field, optional)
		if text := oneLine(sentence(field.Doc.Text(), field.Comment.Text())); text != "" {
			schema["description"] = text
		}
		properties[name] = schema
		if !optional {
			required = append(required, name)
		}
	}
	return object{"type": "object", "description": declared.doc, "properties": properties, "required": required}
}

func (g *generator) field(full, pkg string, field *ast.Field, optional bool) object {
	if payload, carries := signedFields[full]; carries {
		one := g.signed(payload)
		if _, many := field.Type.(*ast.ArrayType); many {
			return object{"type": "array", "items": one}
		}
		return one
	}
	if slices.Contains(errorCodeFields, full) {
		return object{"$ref": "#/components/schemas/ErrorCode"}
	}
	return g.schema(pkg, field.Type, optional)
}

func jsonName(t testing.TB, field *ast.Field) (name string, optional bool) {
	require.NotNil(t, field.Tag, "%s has no name in JSON", field.Names[0].Name)
	tag, err := strconv.Unquote(field.Tag.Value)
	require.NoError(t, err)
	name, options, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
	return name, strings.Contains(options, "omit")
}

// signed makes the component of a signed payload: wallet.Signed whose payload,
// decoded from base64, is the named type.
func (g *generator) signed(full string) object {
	g.named("wallet.Signed")
	payload := g.named(full)
	name := "Signed" + g.s.types[full].name
	var domains []any
	for _, domain := range g.domains() {
		if strings.Contains(g.s.types[full].doc, "domain") && slices.Contains(wordsOf(g.s.types[full].doc), domain) {
			domains = append(domains, domain)
		}
	}
	require.NotEmpty(g.t, domains, "%s names no domain", full)
	g.schemas[name] = object{
		"type": "object", "required": []any{"payload", "sig", "kid"}, "x-domains": domains,
		"description": fmt.Sprintf("A signed %s. The Ed25519 signature covers domain ‖ 00 ‖ the decoded payload bytes; verify those bytes before parsing them.", g.s.types[full].name),
		"properties": object{
			"payload": object{"type": "string", "contentEncoding": "base64", "contentMediaType": "application/json", "contentSchema": payload},
			"sig":     object{"type": "string", "contentEncoding": "base64"},
			"kid":     object{"type": "string", "pattern": "^[0-9a-f]{16}$"},
		},
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// domains are the domain words of everything that is signed.
func (g *generator) domains() (values []string) {
	for _, c := range g.s.consts {
		if c.typ == "Domain" || strings.HasPrefix(c.name, "Domain") && c.value != "" {
			values = append(values, c.value)
		}
	}
	return values
}

func wordsOf(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,;()", r) })
}

// codes makes the component of error codes from the constants of package api.
func (g *generator) codes() {
	values, meanings := []any{}, object{}
	for _, c := range g.s.consts {
		if c.pkg == "api" && strings.HasPrefix(c.name, "Code") && c.value != "" {
			values = append(values, c.value)
			meanings[c.value] = c.comment
		}
	}
	g.schemas["ErrorCode"] = object{
		"type": "string", "enum": values, "x-meanings": meanings,
		"description": "Stable codes; errors.md says in Chinese and English what they mean and what to do.",
	}
}

// webhooks are the requests that the platform sends to a merchant.
func (g *generator) webhooks() object {
	if g.s.types["api.ShopCallback"] == nil {
		return nil
	}
	return object{"shopCallback": object{"post": object{
		"operationId": "shopCallback", "description": g.s.types["api.ShopCallback"].doc,
		"parameters":  []any{object{"$ref": "#/components/parameters/" + api.HeaderIdempotencyKey}},
		"requestBody": object{"required": true, "content": content(g.callback())},
		"responses":   object{"2XX": object{"description": "taken; the platform stops repeating it"}},
	}}}
}

// callback is signed like an answer, under a domain of its own.
func (g *generator) callback() object {
	declared := g.s.types["api.ShopCallback"]
	if !strings.Contains(declared.doc, "(domain") {
		declared.doc += " (domain " + g.s.constant(g.t, "api.DomainShopCallback").value + ")"
	}
	return g.signed("api.ShopCallback")
}

func (g *generator) components() object {
	header := func(text string, required bool) object {
		return object{"description": text, "required": required, "schema": object{"type": "string"}}
	}
	parameter := func(name, text string, required bool) object {
		result := header(text, required)
		result["name"], result["in"] = name, "header"
		return result
	}
	return object{
		"schemas": g.schemas,
		"headers": object{api.HeaderNonce: header("a fresh nonce for later signatures, valid 5 minutes and any number of requests", true)},
		"parameters": object{
			api.HeaderIdempotencyKey: parameter(api.HeaderIdempotencyKey, "UUIDv7; the same question keeps its key. A POST under it gets the stored answer again, and a signed answer names it", true),
			api.HeaderJournal:        parameter(api.HeaderJournal, "seq:hash of the client's journal, so that a cloned profile is noticed", false),
		},
		"securitySchemes": object{
			"requestSignature": object{
				"type": "apiKey", "in": "header", "name": "Signature",
				"description": "RFC 9421 with Ed25519 in one fixed shape (Content-Digest, Signature-Input and Signature): platform-interface.md",
			},
			"accessToken": object{"type": "http", "scheme": "bearer", "description": "lives 15 minutes and belongs to the device key that signs"},
		},
	}
}

func TestEveryRouteIsDescribed(t *testing.T) {
	var file struct {
		Paths map[string]map[string]struct {
			Served bool `json:"x-served"`
		} `json:"paths"`
	}
	data, err := os.ReadFile("openapi.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &file))
	served := map[string]bool{}
	for _, route := range servedRoutes(t) {
		served[strings.ToLower(route.Method)+" "+route.Path] = true
	}
	described := map[string]bool{}
	for path, methods := range file.Paths {
		for method, operation := range methods {
			if operation.Served {
				described[method+" "+path] = true
			}
		}
	}
	require.Greater(t, len(served), 15)
	require.Equal(t, served, described)
}

// Every reference leads somewhere, and nothing stands there that nobody refers to.
func TestReferencesOfTheDescription(t *testing.T) {
	data, err := os.ReadFile("openapi.json")
	require.NoError(t, err)
	var file object
	require.NoError(t, json.Unmarshal(data, &file))
	components := file["components"].(object)
	used := map[string]bool{}
	for _, match := range regexp.MustCompile(`"\$ref": "#/components/(\w+)/([\w-]+)"`).FindAllStringSubmatch(string(data), -1) {
		used[match[1]+"/"+match[2]] = true
		group, found := components[match[1]].(object)
		require.True(t, found, match[0])
		require.Contains(t, group, match[2])
	}
	for _, group := range []string{"schemas", "parameters", "headers"} {
		for name := range components[group].(object) {
			require.True(t, used[group+"/"+name] || name == "Signed", "nobody refers to %s", name)
		}
	}
	schemes := components["securitySchemes"].(object)
	for _, match := range regexp.MustCompile(`"(requestSignature|accessToken|evidence|\w+)": \[\]\n`).FindAllStringSubmatch(string(data), -1) {
		if match[1] != "security" && match[1] != "parameters" && match[1] != "required" {
			require.Contains(t, schemes, match[1])
		}
	}
	ids := map[string]bool{}
	for _, match := range regexp.MustCompile(`"operationId": "(\w+)"`).FindAllStringSubmatch(string(data), -1) {
		require.False(t, ids[match[1]], "%s stands twice", match[1])
		ids[match[1]] = true
	}
	require.NotEmpty(t, ids)
}

func readFile(t testing.TB, name string) string {
	data, err := os.ReadFile(filepath.Clean(name))
	require.NoError(t, err)
	return string(data)
}
