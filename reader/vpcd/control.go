package vpcd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// longestLine bounds what one line of the control connection may hold, in bytes.
const longestLine = 256

// obey answers the lines of one control connection.
func (c *Control) obey(conn io.ReadWriter) {
	lines := bufio.NewScanner(conn)
	lines.Buffer(make([]byte, 0, longestLine), longestLine)
	for lines.Scan() {
		if _, err := fmt.Fprintln(conn, c.do(strings.Fields(lines.Text()))); err != nil {
			return
		}
	}
}

// usage is what a line of the control connection may say.
const usage = "the commands are insert, remove, tear, tear before|inside|after INS, state"

func (c *Control) do(words []string) string {
	switch strings.Join(words, " ") {
	case "insert":
		c.Return()
	case "remove":
		c.Remove()
	case "tear":
		c.Tear()
	case "state":
	default:
		if err := c.tearAt(words); err != nil {
			return "error " + err.Error()
		}
	}
	return "ok " + string(c.State())
}

// tearAt obeys "tear WHEN INS", INS being two hex digits.
func (c *Control) tearAt(words []string) error {
	if len(words) != 3 || words[0] != "tear" || len(words[2]) != 2 {
		return errors.New(usage)
	}
	ins, err := strconv.ParseUint(words[2], 16, 8)
	if err != nil {
		return errors.New(usage)
	}
	if c.TearAt == nil {
		return errors.New("this card cannot be torn inside a command")
	}
	return c.TearAt(words[1], byte(ins))
}
