package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/app/wire"
	"walletcompanion/platformclient/api"
)

type registerCmd struct {
	Phone         string `required:"" placeholder:"P" help:"Mobile number, 11 digits."`
	Yes           bool   `help:"Accept the agreement, which is shown."`
	PasswordStdin bool   `name:"password-stdin" help:"Read login password, payment password and SMS code from standard input."`
}

func (cmd registerCmd) Run(ctx context.Context, con *console) error {
	if !api.ValidPhone(cmd.Phone) {
		return &core.Failure{Code: "USAGE", Err: errors.New("--phone is a mobile number of 11 digits")}
	}
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	agreement, err := program.Core.Platform.Agreement(ctx, con.texts.Name())
	if err != nil {
		return err
	}
	con.say(agreement.Text)
	if err := con.confirm(con.t("console.agreementQuestion", "Version", agreement.Version), cmd.Yes); err != nil {
		return err
	}
	demo := program.DemoCredentials()
	login, err := con.newPassword("console.newLoginPassword", demo, func(d *api.DemoCredentials) string { return d.LoginPassword }, cmd.PasswordStdin,
		func(text string) api.Weakness { return api.JudgeLoginPassword(text, cmd.Phone) })
	if err != nil {
		return err
	}
	payment, err := con.newPassword("console.newPaymentPassword", demo, func(d *api.DemoCredentials) string { return d.PaymentPassword }, cmd.PasswordStdin,
		func(text string) api.Weakness { return api.JudgePaymentPassword(text, cmd.Phone) })
	if err != nil {
		return err
	}
	err = program.Core.Register(ctx, cmd.Phone, login, payment, agreement.Version, con.smsCode(program, cmd.Phone, cmd.PasswordStdin))
	if err != nil {
		return err
	}
	session := program.Core.Platform.Session()
	object := map[string]any{"user": session.User, "phone": session.Phone, "device": session.Device, "agreement": agreement.Version, "demo": session.Demo}
	return con.print(object, func(w io.Writer) {
		con.demoMark(w, session.Demo)
		fmt.Fprintln(w, con.t("console.registered", "Phone", session.Phone))
	})
}

// smsCode asks for the code that came to a phone. With demo credentials nobody is asked;
// a person at a demo is told where the message can be read.
func (c *console) smsCode(program *wire.Program, phone string, fromStdin bool) func(context.Context, string) (string, error) {
	return func(ctx context.Context, codeID string) (string, error) {
		if program.DemoCredentials() != nil {
			return program.DemoCode(ctx, phone, codeID)
		}
		if program.IsDemo() && !fromStdin {
			c.say(c.t("console.demoSMS", "Phone", phone))
		}
		return c.secret(c.t("console.smsCode"), fromStdin)
	}
}

// newPassword asks for a password that is to be, and judges it before anything else is
// asked; a person at a terminal types it twice, and again until it is good. A demo's own stands in where the person uses
// demo credentials and types none.
func (c *console) newPassword(prompt string, demo *api.DemoCredentials, own func(*api.DemoCredentials) string, fromStdin bool,
	judge func(string) api.Weakness) (string, error) {
	if demo != nil && !fromStdin {
		return own(demo), nil
	}
	if fromStdin {
		text, err := c.secret(c.t(prompt), true)
		if weak := judge(text); err == nil && weak != "" {
			err = &core.Failure{Code: api.CodePasswordWeak, Detail: map[string]any{"weakness": string(weak), "reasonKey": "password.weak." + string(weak)}}
		}
		return text, err
	}
	for {
		text, err := c.secret(c.t(prompt), false)
		if err != nil {
			return "", err
		}
		if weak := judge(text); weak != "" {
			c.say(c.t("password.weak." + string(weak)))
			continue
		}
		again, err := c.secret(c.t("console.onceMore"), false)
		if err != nil {
			return "", err
		}
		if again == text {
			return text, nil
		}
		c.say(c.t("console.differ"))
	}
}

type passwdCmd struct {
	Login   passwdLoginCmd   `cmd:"" help:"Choose another login password."`
	Payment passwdPaymentCmd `cmd:"" help:"Choose another payment password."`
}

type passwdLoginCmd struct {
	Reset         bool   `help:"With an SMS code, where the present password is lost."`
	Phone         string `placeholder:"P" help:"Phone number of the account; that of the login without one."`
	PasswordStdin bool   `name:"password-stdin" help:"Read the passwords (present, new), with --reset the new one and the SMS code, from standard input."`
}

func (cmd passwdLoginCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	phone := cmd.Phone
	if phone == "" {
		if err := program.Core.Platform.Connect(ctx); err != nil {
			return err
		}
		phone = program.Core.Platform.Session().Phone
	}
	judge := func(text string) api.Weakness { return api.JudgeLoginPassword(text, phone) }
	if cmd.Reset {
		fresh, err := con.newPassword("console.newLoginPassword", nil, nil, cmd.PasswordStdin, judge)
		if err != nil {
			return err
		}
		err = program.Core.Platform.ResetLoginPassword(ctx, phone, fresh, con.smsCode(program, phone, cmd.PasswordStdin))
		return con.passwordDone(err, "login", true)
	}
	old, err := con.knownPassword(program, "console.oldLoginPassword", cmd.PasswordStdin, func(d *api.DemoCredentials) string { return d.LoginPassword })
	if err != nil {
		return err
	}
	fresh, err := con.newPassword("console.newLoginPassword", nil, nil, cmd.PasswordStdin, judge)
	if err != nil {
		return err
	}
	return con.passwordDone(program.Core.Platform.ChangeLoginPassword(ctx, phone, old, fresh), "login", false)
}

type passwdPaymentCmd struct {
	Reset         bool `help:"With an SMS code and the login password, where the present one is lost."`
	PasswordStdin bool `name:"password-stdin" help:"Read the passwords (present, new), with --reset login password, new one and SMS code, from standard input."`
}

func (cmd passwdPaymentCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	platform := program.Core.Platform
	if err := platform.Connect(ctx); err != nil {
		return err
	}
	phone := platform.Session().Phone
	judge := func(text string) api.Weakness { return api.JudgePaymentPassword(text, phone) }
	prompt, own := "console.oldPaymentPassword", func(d *api.DemoCredentials) string { return d.PaymentPassword }
	if cmd.Reset {
		prompt, own = "console.loginPassword", func(d *api.DemoCredentials) string { return d.LoginPassword }
	}
	known, err := con.knownPassword(program, prompt, cmd.PasswordStdin, own)
	if err != nil {
		return err
	}
	fresh, err := con.newPassword("console.newPaymentPassword", nil, nil, cmd.PasswordStdin, judge)
	if err != nil {
		return err
	}
	if cmd.Reset {
		err = platform.ResetPaymentPassword(ctx, known, fresh, con.smsCode(program, phone, cmd.PasswordStdin))
	} else {
		err = platform.ChangePaymentPassword(ctx, known, fresh)
	}
	return con.passwordDone(err, "payment", cmd.Reset)
}

// knownPassword asks for a password that the account has.
func (c *console) knownPassword(program *wire.Program, prompt string, fromStdin bool, own func(*api.DemoCredentials) string) (string, error) {
	if demo := program.DemoCredentials(); demo != nil && !fromStdin {
		return own(demo), nil
	}
	return c.secret(c.t(prompt), fromStdin)
}

func (c *console) passwordDone(err error, which string, reset bool) error {
	if err != nil {
		return err
	}
	return c.print(map[string]any{"password": which, "changed": true, "reset": reset}, func(w io.Writer) {
		if which == "login" {
			fmt.Fprintln(w, c.t("console.loginChanged"))
		} else {
			fmt.Fprintln(w, c.t("console.paymentChanged"))
		}
	})
}

type devicesCmd struct {
	List   devicesListCmd   `cmd:"" default:"1" help:"Computers of the account."`
	Revoke devicesRevokeCmd `cmd:"" help:"Take the right to use the account from a computer."`
	Rename devicesRenameCmd `cmd:"" help:"Give a computer another name."`
}

type devicesListCmd struct{}

func (devicesListCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	devices, err := program.Core.Devices(ctx)
	if err != nil {
		return err
	}
	objects := []map[string]any{}
	for i, device := range devices {
		objects = append(objects, deviceObject(i+1, device))
	}
	return con.print(map[string]any{"devices": objects}, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t\n", con.t("console.counter"), con.t("console.device"), con.t("console.state"),
			con.t("console.deviceEnrolled"), con.t("console.deviceUsed"))
		for i, device := range devices {
			here := ""
			if device.Current {
				here = con.t("console.deviceHere")
			}
			fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\n", i+1, plainText(device.Name), con.named("console.deviceState.", device.State),
				local(device.Enrolled), local(device.LastUsed), here)
		}
	})
}

func deviceObject(number int, device api.Device) map[string]any {
	return map[string]any{"number": number, "device": device.Device, "name": device.Name, "state": device.State, "current": device.Current,
		"enrolled": stamp(device.Enrolled), "lastUsed": stamp(device.LastUsed)}
}

// plainText keeps what other computers called themselves from steering this terminal.
func plainText(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7F && r < 0xA0 {
			return ' '
		}
		return r
	}, text)
}

// findDevice takes a number of the list or an identifier.
func findDevice(ctx context.Context, program *wire.Program, named string) (int, api.Device, error) {
	devices, err := program.Core.Devices(ctx)
	if err != nil {
		return 0, api.Device{}, err
	}
	for i, device := range devices {
		if strconv.Itoa(i+1) == named || device.Device == named {
			return i + 1, device, nil
		}
	}
	return 0, api.Device{}, &core.Failure{Code: "USAGE", Err: fmt.Errorf("there is no computer %q: see walletctl devices", named)}
}

type devicesRevokeCmd struct {
	Device string `arg:"" name:"n" help:"Number in the list, or identifier."`
	Yes    bool   `help:"Do not ask."`
}

func (cmd devicesRevokeCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	number, device, err := findDevice(ctx, program, cmd.Device)
	if err != nil {
		return err
	}
	if err := con.confirm(con.t("console.revokeQuestion", "Device", plainText(device.Name)), cmd.Yes); err != nil {
		return err
	}
	if device, err = program.Core.Platform.RevokeDevice(ctx, device.Device); err != nil {
		return err
	}
	return con.print(map[string]any{"device": deviceObject(number, device)}, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		fmt.Fprintln(w, con.t("console.deviceRevoked", "Device", plainText(device.Name)))
	})
}

type devicesRenameCmd struct {
	Device string `arg:"" name:"n" help:"Number in the list, or identifier."`
	Name   string `arg:"" help:"The new name, at most 64 characters."`
}

func (cmd devicesRenameCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	number, device, err := findDevice(ctx, program, cmd.Device)
	if err != nil {
		return err
	}
	if device, err = program.Core.Platform.RenameDevice(ctx, device.Device, cmd.Name); err != nil {
		return err
	}
	return con.print(map[string]any{"device": deviceObject(number, device)}, func(w io.Writer) {
		con.demoMark(w, program.IsDemo())
		fmt.Fprintln(w, con.t("console.deviceRenamed", "Device", plainText(device.Name)))
	})
}

type messagesCmd struct {
	Phone string `placeholder:"P" help:"What the telephone with this number shows, SMS codes included; a demo alone tells, and asks for no login."`
	After string `placeholder:"ID" help:"Only messages behind this one."`
}

func (cmd messagesCmd) Run(ctx context.Context, con *console) error {
	program, err := con.open(ctx, true)
	if err != nil {
		return err
	}
	defer program.Close()
	var messages []api.Message
	if cmd.Phone != "" {
		messages, err = program.Inbox(ctx, cmd.Phone)
		messages = behind(messages, cmd.After)
	} else {
		messages, err = program.Core.Messages(ctx, cmd.After)
	}
	if err != nil {
		return err
	}
	return con.printMessages(messages, program.IsDemo())
}

// behind drops the messages up to the one that was named.
func behind(messages []api.Message, after string) []api.Message {
	for i, message := range messages {
		if message.ID == after {
			return messages[i+1:]
		}
	}
	return messages
}

// printMessages shows messages as data and in words, oldest first.
func (c *console) printMessages(messages []api.Message, demo bool) error {
	objects := []map[string]any{}
	for _, message := range messages {
		objects = append(objects, c.messageObject(message))
	}
	return c.print(map[string]any{"messages": objects}, func(w io.Writer) {
		c.demoMark(w, demo)
		if len(messages) == 0 {
			fmt.Fprintln(w, c.t("console.noMessages"))
			return
		}
		fmt.Fprintf(w, "%s\t%s\n", c.t("console.time"), c.t("console.messageText"))
		for _, message := range messages {
			fmt.Fprintf(w, "%s\t%s\n", local(message.Time), plainText(core.TellMessage(c.texts, message)))
		}
	})
}

func (c *console) messageObject(message api.Message) map[string]any {
	facts := message.Facts
	object := map[string]any{"id": message.ID, "time": stamp(message.Time), "kind": message.Kind, "text": core.TellMessage(c.texts, message)}
	for name, value := range map[string]string{"posting": facts.Posting, "order": facts.Order, "device": facts.Device, "replaced": facts.Replaced,
		"purpose": facts.Purpose, "code": facts.Code} {
		if value != "" {
			object[name] = value
		}
	}
	if facts.Amount != 0 {
		object["amountFen"] = facts.Amount
	}
	if message.Kind == api.NoticeBalance {
		object["balanceFen"] = facts.Balance
	}
	if facts.Until != nil {
		object["until"] = facts.Until.In(shanghai).Format(time.RFC3339)
	}
	return object
}

type platformMessagesCmd struct {
	Dir   string `required:"" type:"path" placeholder:"DIR"`
	Phone string `required:"" placeholder:"P"`
}

func (cmd platformMessagesCmd) Run(ctx context.Context, con *console) error {
	platform, err := existingPlatform(cmd.Dir)
	if err != nil {
		return err
	}
	defer platform.Close()
	messages, err := platform.Inbox(ctx, cmd.Phone)
	if err != nil {
		return &core.Failure{Code: "PLATFORM_DIR", Err: err}
	}
	return con.printMessages(messages, true)
}

// filePassword reads a password from a file, without the end of its line.
func filePassword(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", &core.Failure{Code: "USAGE", Err: err}
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}
