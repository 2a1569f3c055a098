package docs

var parts = map[string]part{}
