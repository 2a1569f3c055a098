package mockplatform

import (
	"reflect"
	"runtime"
	"strings"
)

// Route is one route that a platform serves.
type Route struct {
	Method string // GET or POST
	Path   string // {…} stands for one path element
	// Auth is what the route asks of its sender: none, device (a signature),
	// session (a signature and an access token), evidence (a session, or a request
	// that authenticates itself), merchant, staff (a session of staff).
	Auth string
}

// Routes lists every route that Handler serves, in the order of their registration,
// so that the description of the interface can be compared with what is there.
func (p *Platform) Routes() []Route { return append([]Route(nil), p.listed...) }

// list notes a route when it is registered.
func (p *Platform) list(method, path string, auth authFunc) {
	p.listed = append(p.listed, Route{Method: method, Path: path, Auth: auth.name()})
}

// name is that of the function without its prefix: authSession is "session".
func (a authFunc) name() string {
	full := runtime.FuncForPC(reflect.ValueOf(a).Pointer()).Name()
	return strings.ToLower(strings.TrimPrefix(full[strings.LastIndexByte(full, '.')+1:], "auth"))
}
