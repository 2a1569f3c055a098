package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/wallet"
)

// interactive reports whether a person sits at the terminal.
func (c *console) interactive() bool {
	file, ok := c.in.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// line reads one line of standard input; several prompts share the buffer.
func (c *console) line() (string, error) {
	if c.lines == nil {
		c.lines = bufio.NewReader(io.LimitReader(c.in, 64<<10))
	}
	text, err := c.lines.ReadString('\n')
	if err != nil && !(errors.Is(err, io.EOF) && text != "") {
		return "", err
	}
	return strings.TrimRight(text, "\r\n"), nil
}

// secret asks for a password without echo, or takes the next line of standard
// input where there is no terminal and the command said so.
func (c *console) secret(prompt string, fromStdin bool) (string, error) {
	if fromStdin {
		text, err := c.line()
		if err != nil || text == "" {
			return "", &core.Failure{Code: "USAGE", Err: errors.New("standard input has no further line for a password or a code")}
		}
		return text, nil
	}
	if !c.interactive() {
		return "", &core.Failure{Code: "USAGE", Err: errors.New("no terminal to ask on: use --password-stdin")}
	}
	fmt.Fprint(c.err, prompt+": ")
	text, err := term.ReadPassword(int(c.in.(*os.File).Fd()))
	fmt.Fprintln(c.err)
	return string(text), err
}

// confirm asks yes or no; without a terminal the answer must be --yes, which leaves
// the question on standard error as the record of what was agreed to.
func (c *console) confirm(question string, yes bool) error {
	if yes {
		c.say(question)
		return nil
	}
	if !c.interactive() {
		return &core.Failure{Code: "CONFIRM_NEEDED"}
	}
	fmt.Fprint(c.err, question+" [y/N] ")
	answer, err := c.line()
	if err != nil {
		return err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes", "是", "好":
		return nil
	}
	return &core.Failure{Code: "CANCELLED"}
}

// amount reads yuan from the command line; a whole number of 1000 or more asks.
func (c *console) amount(text string, yes bool) (wallet.Fen, error) {
	amount, err := wallet.ParseYuan(text)
	switch {
	case errors.Is(err, wallet.ErrAmountNeedsPoint):
		if yes || !c.interactive() {
			return 0, &core.Failure{Code: "AMOUNT_NEEDS_POINT", Err: err}
		}
		return amount, c.confirm(c.t("console.amountQuestion", "Yuan", amount.Yuan()), false)
	case err != nil:
		return 0, &core.Failure{Code: "AMOUNT_FORMAT", Err: err}
	case amount <= 0:
		return 0, &core.Failure{Code: "AMOUNT_FORMAT", Err: errors.New("an amount is more than 0.00")}
	}
	return amount, nil
}

// paymentPassword asks when the password is needed. From standard input it is read
// now: the card asks for its PIN earlier than the platform for the password, and a
// script must not have its first line tried as a PIN on some cards.
func (c *console) paymentPassword(program *wire.Program, fromStdin bool) (func(context.Context) (string, error), error) {
	known := ""
	if demo := program.DemoCredentials(); demo != nil && !fromStdin {
		known = demo.PaymentPassword
	} else if fromStdin {
		var err error
		if known, err = c.secret("", true); err != nil {
			return nil, err
		}
	}
	return func(context.Context) (string, error) {
		if known != "" {
			return known, nil
		}
		return c.secret(c.t("console.paymentPassword"), fromStdin)
	}, nil
}

// pin asks for the card's own PIN, which is never sent anywhere but to the card.
func (c *console) pin(program *wire.Program, fromStdin bool) func(int) ([]byte, error) {
	return func(triesLeft int) ([]byte, error) {
		if pin := program.DemoPIN(); pin != nil {
			return pin, nil
		}
		text, err := c.secret(c.t("console.cardPIN", "Tries", triesLeft), fromStdin)
		if err != nil {
			return nil, err
		}
		return wallet.PINBytes(text)
	}
}
