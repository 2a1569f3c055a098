package vpcd

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// longestLine bounds what one line of the control connection may hold, in bytes.
const longestLine = 256

// obey answers the lines of one control connection.
func (c *Control) obey(conn io.ReadWriter) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, longestLine), longestLine)
	for lines.Scan() {
		if _, err := fmt.Fprintln(conn, c.do(strings.TrimSpace(lines.Text()))); err != nil {
			return
		}
	}
}

func (c *Control) do(word string) string {
	switch word {
	case "insert":
		c.Return()
	case "remove":
		c.Remove()
	case "tear":
		c.Tear()
	case "state":
	default:
		return "error the commands are insert, remove, tear, state"
	}
	return "ok " + string(c.State())
}
