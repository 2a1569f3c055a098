// Package docs holds the interface documents of this project: what somebody needs
// who writes another platform, another client, another reader driver or another card.
//
//	openapi.json           platform interface, machine readable (OpenAPI 3.1)
//	platform-interface.md  platform interface: what the schema cannot say
//	reader-interface.md    client and card reader
//	card-interface.md      card reader and card: every command that may be sent
//	errors.md              catalogue of error codes, Chinese and English
//	readers.md             reader models by name, and how to check a reader
//	security.md            claims about security, each with the tests that hold it
//
// Everything between "generated" markers, and openapi.json as a whole, is made from
// the code by the tests of this package: `./dev docs` writes it anew, and `./dev
// test` fails where a committed file says something else than the code.
package docs
