package wallet_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"walletcompanion/wallet"
	"walletcompanion/wallet/wallettest"
)

// forgeries change one thing about an otherwise right grant or script.
var forgeries = map[string]func(*wallet.Grant, *[]wallet.Step){
	"other amount":         func(g *wallet.Grant, _ *[]wallet.Step) { g.Amount++ },
	"negative amount":      func(g *wallet.Grant, _ *[]wallet.Step) { g.Amount = -g.Amount },
	"other card":           func(g *wallet.Grant, _ *[]wallet.Step) { g.ASN = otherASN },
	"no card":              func(g *wallet.Grant, _ *[]wallet.Step) { g.ASN = wallet.ASN{} },
	"other tid":            func(g *wallet.Grant, _ *[]wallet.Step) { g.TID[5]++ },
	"other seq":            func(g *wallet.Grant, _ *[]wallet.Step) { g.Seq++ },
	"older seq":            func(g *wallet.Grant, _ *[]wallet.Step) { g.Seq-- },
	"other fee":            func(g *wallet.Grant, _ *[]wallet.Step) { g.Fee = 100 },
	"other source":         func(g *wallet.Grant, _ *[]wallet.Step) { g.Source = "bank:1" },
	"other key":            func(g *wallet.Grant, _ *[]wallet.Step) { g.Key = "key-2" },
	"no key":               func(g *wallet.Grant, _ *[]wallet.Step) { g.Key = "" },
	"no order":             func(g *wallet.Grant, _ *[]wallet.Step) { g.Order = "" },
	"second attempt":       func(g *wallet.Grant, _ *[]wallet.Step) { g.Attempt = 2 },
	"attempt zero":         func(g *wallet.Grant, _ *[]wallet.Step) { g.Attempt = 0 },
	"other epoch":          func(g *wallet.Grant, _ *[]wallet.Step) { g.Epoch = 2 },
	"no probe":             func(g *wallet.Grant, _ *[]wallet.Step) { g.ProbeTID = wallet.TerminalNumber{} },
	"probe is the tid":     func(g *wallet.Grant, _ *[]wallet.Step) { g.ProbeTID = g.TID },
	"expired":              func(g *wallet.Grant, _ *[]wallet.Step) { g.NotAfterS = 0 },
	"expired long ago":     func(g *wallet.Grant, _ *[]wallet.Step) { g.NotAfterS = -60 },
	"no steps":             func(_ *wallet.Grant, s *[]wallet.Step) { *s = nil },
	"credit not first":     func(_ *wallet.Grant, s *[]wallet.Step) { slices.Reverse(*s) },
	"no credit":            func(_ *wallet.Grant, s *[]wallet.Step) { *s = (*s)[1:] },
	"second credit":        func(_ *wallet.Grant, s *[]wallet.Step) { *s = append(*s, (*s)[0]) },
	"forty steps":          func(_ *wallet.Grant, s *[]wallet.Step) { *s = append(*s, slices.Repeat((*s)[1:2], 38)...) },
	"not hexadecimal":      func(_ *wallet.Grant, s *[]wallet.Step) { (*s)[1].APDU = "80XX" },
	"placeholder in grant": func(_ *wallet.Grant, s *[]wallet.Step) { (*s)[1].APDU = "805C00{key_idx}04" },
	"cut short":            func(_ *wallet.Grant, s *[]wallet.Step) { (*s)[0].APDU = (*s)[0].APDU[:20] },
	"credit with P1":       replaceStep(0, "805201000B202603150930450102030404"),
	"credit with P2":       replaceStep(0, "805200010B202603150930450102030404"),
	"credit channel 1":     replaceStep(0, "815200000B202603150930450102030404"),
	"credit too long":      replaceStep(0, "805200000C20260315093045010203040504"),
	"credit month 13":      replaceStep(0, "805200000B202613150930450102030404"),
	"credit hour 25":       replaceStep(0, "805200000B202603152530450102030404"),
	"credit date not BCD":  replaceStep(0, "805200000B2026031A0930450102030404"),
	"credit Le 08":         replaceStep(0, "805200000B202603150930450102030408"),
	"debit first":          replaceStep(0, "805401000F000000012026031509304501020304"+"08"),
	"key write":            replaceStep(1, "84D401000801020304050607"+"08"),
	"plain key write":      replaceStep(1, "80D401000801020304050607"+"08"),
	"update binary":        replaceStep(1, "00D69500020102"),
	"update record":        replaceStep(1, "00DC01C4020102"),
	"append record":        replaceStep(1, "00E200C4020102"),
	"application block":    replaceStep(1, "841E00000401020304"),
	"application unblock":  replaceStep(1, "841800000401020304"),
	"card block":           replaceStep(1, "841600000401020304"),
	"PIN change":           replaceStep(1, "805E010005123456FF12"),
	"PIN reload":           replaceStep(1, "805E0000071234560102030A"),
	"PIN unblock":          replaceStep(1, "842400000C0102030405060708090A0B0C"),
	"VERIFY":               replaceStep(1, "0020000003123456"),
	"external auth":        replaceStep(1, "00820000080102030405060708"),
	"internal auth":        replaceStep(1, "0088000008010203040506070808"),
	"get challenge":        replaceStep(1, "0084000004"),
	"second init":          replaceStep(1, "805000020B010000138831323334353610"),
	"init for purchase":    replaceStep(1, "805001020B01000013883132333435360F"),
	"select after credit":  replaceStep(1, "00A4040009A0000000038698070100"),
	"foreign application":  replaceStep(1, "00A4040007A000000333010101"+"00"),
	"erase":                replaceStep(1, "800E000000"),
	"create file":          replaceStep(1, "80E03F010138"),
	"manage channel":       replaceStep(1, "0070000001"),
	"envelope":             replaceStep(1, "00C20000020102"),
	"reading on channel 1": replaceStep(1, "015C000204"),
	"other purse":          replaceStep(1, "805C000104"),
	"holder's data":        replaceStep(1, "00B0960027"),
	"binary by offset":     replaceStep(1, "00B0000010"),
	"record of key file":   replaceStep(1, "00B2010417"),
	"all records at once":  replaceStep(1, "00B201C517"),
	"record 11":            replaceStep(1, "00B20BC417"),
	"prove":                replaceStep(1, "805A000202002208"),
}

func replaceStep(n int, apdu string) func(*wallet.Grant, *[]wallet.Step) {
	return func(_ *wallet.Grant, s *[]wallet.Step) { (*s)[n].APDU = apdu }
}

// answerForgeries distort the finished answer.
var answerForgeries = map[string]func(*wallet.GrantedScript){
	"no signature":        func(g *wallet.GrantedScript) { g.Grant.Sig = nil },
	"signature bit":       func(g *wallet.GrantedScript) { g.Grant.Sig[0] ^= 1 },
	"payload bit":         func(g *wallet.GrantedScript) { g.Grant.Payload[20] ^= 1 },
	"unknown key":         func(g *wallet.GrantedScript) { g.Grant.KID = "0000000000000000" },
	"script byte":         func(g *wallet.GrantedScript) { g.Script[40] ^= 1 },
	"script with a space": func(g *wallet.GrantedScript) { g.Script = append(g.Script, ' ') },
	"no script":           func(g *wallet.GrantedScript) { g.Script = nil },
	"other domain":        func(g *wallet.GrantedScript) { g.Grant = resign(g.Grant, wallet.DomainOrder, foreignKey) },
	"foreign signer":      func(g *wallet.GrantedScript) { g.Grant = resign(g.Grant, wallet.DomainGrant, foreignKey) },
}

var foreignKey = func() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	return key
}()

func resign(signed wallet.Signed, domain wallet.Domain, key ed25519.PrivateKey) wallet.Signed {
	return must(wallet.Sign(domain, json.RawMessage(signed.Payload), key))
}

// forbidden lists what of the chip's commands a top-up without its CREDIT may not hold.
func forbidden(sent []string) []string {
	allowed := []string{
		"00A4040009A0000000038698070100", "00B095001E", "805000020B010000138831323334353610",
	}
	var found []string
	for _, command := range sent {
		if !slices.Contains(allowed, command) {
			found = append(found, command)
		}
	}
	return found
}

func TestGuard_RejectsForged(t *testing.T) {
	require.GreaterOrEqual(t, len(forgeries)+len(answerForgeries), 30)
	check := func(t *testing.T, s *stage) {
		_, err := s.topUp()
		require.Contains(t, []wallet.Code{wallet.CodeGrantForged, wallet.CodeGrantExpired}, wallet.CodeOf(err))
		require.True(t, wallet.IsOpen(err), "the platform has granted")
		require.Empty(t, forbidden(s.chip.Sent))
		require.Len(t, s.chip.Sent, 3)
		require.EqualValues(t, 1234, s.chip.Balance)
		require.Equal(t, wallet.StageUnknown, s.journal.Entry("key-1").Stage)
		require.NotContains(t, err.Error(), "01020304", "no MAC2 in errors")
	}
	for name, forge := range forgeries {
		t.Run(name, func(t *testing.T) {
			s := newStage()
			s.issuer.Forge = forge
			check(t, s)
		})
	}
	for name, forge := range answerForgeries {
		t.Run("answer: "+name, func(t *testing.T) {
			s := newStage()
			s.issuer.Answer = forge
			check(t, s)
		})
	}
	t.Run("every bit of the signed grant", func(t *testing.T) {
		s := newStage()
		guard := opened(t, s)
		granted := grantFor(s, guard)
		for bit := range len(granted.Grant.Payload) * 8 {
			forged := granted
			forged.Grant.Payload = slices.Clone(granted.Grant.Payload)
			forged.Grant.Payload[bit/8] ^= 1 << (bit % 8)
			_, err := guard.Accept(forged, s.issuer.Signers(), time.Now())
			require.Equal(t, wallet.CodeGrantForged, wallet.CodeOf(err))
		}
		_, err := guard.Accept(granted, s.issuer.Signers(), time.Now())
		require.NoError(t, err, "untouched it passes, so that the test can fail")
	})
}

// opened runs the open script through a load guard.
func opened(t *testing.T, s *stage) *wallet.Guard {
	t.Helper()
	guard := wallet.NewLoadGuard(s.chip, s.profile, s.order, leasedTID, 1, nil)
	for _, raw := range []string{"00A4040009A0000000038698070100", "00B095001E", "805000020B010000138831323334353610"} {
		response, err := guard.Send(context.Background(), command(raw))
		require.NoError(t, err)
		require.Equal(t, wallet.SWOK, response.SW)
	}
	return guard
}

func command(raw string) wallet.Command { return must(wallet.ParseCommand(mustHex(raw))) }

// grantFor makes the right grant for the INITIALIZE that guard saw.
func grantFor(s *stage, guard *wallet.Guard) wallet.GrantedScript {
	init, _ := guard.Init()
	verdict, err := s.issuer.RequestLoad(context.Background(), wallet.LoadAsk{
		Order: s.order, Profile: s.profile.Name, KeyIndex: 1, TID: leasedTID,
		Steps: []wallet.StepResult{{Data: init.Raw}},
	})
	if err != nil {
		panic(err)
	}
	return *verdict.Granted
}

func TestGuard_OneCreditPerGrant(t *testing.T) {
	accept := func(t *testing.T, s *stage) (*wallet.Guard, wallet.Command) {
		guard := opened(t, s)
		accepted, err := guard.Accept(grantFor(s, guard), s.issuer.Signers(), time.Now())
		require.NoError(t, err)
		return guard, accepted.Commands[0]
	}
	refused := func(t *testing.T, guard *wallet.Guard, c wallet.Command, code wallet.Code) {
		t.Helper()
		_, err := guard.Send(context.Background(), c)
		require.Equal(t, code, wallet.CodeOf(err))
	}
	t.Run("second CREDIT", func(t *testing.T) {
		s := newStage()
		guard, credit := accept(t, s)
		_, err := guard.Send(context.Background(), credit)
		require.NoError(t, err)
		refused(t, guard, credit, wallet.CodeGuardRefused)
		require.Equal(t, 1, s.credits())
	})
	t.Run("other MAC2", func(t *testing.T) {
		s := newStage()
		guard, credit := accept(t, s)
		credit.Data = slices.Clone(credit.Data)
		credit.Data[10] ^= 1
		refused(t, guard, credit, wallet.CodeGuardRefused)
	})
	t.Run("SELECT in between", func(t *testing.T) {
		s := newStage()
		guard, credit := accept(t, s)
		_, err := guard.Send(context.Background(), command("00A4040009A0000000038698070100"))
		require.NoError(t, err)
		refused(t, guard, credit, wallet.CodeGuardRefused)
		refused(t, guard, command("805000020B010000138831323334353610"), wallet.CodeGuardRefused)
		require.Zero(t, s.credits())
	})
	t.Run("reading in between", func(t *testing.T) {
		s := newStage()
		guard, credit := accept(t, s)
		_, err := guard.Send(context.Background(), command("805C000204"))
		require.NoError(t, err)
		refused(t, guard, credit, wallet.CodeGuardRefused)
	})
	t.Run("broken conversation", func(t *testing.T) {
		s := newStage()
		guard, credit := accept(t, s)
		s.chip.TearAfter = 0x5C
		_, err := guard.Send(context.Background(), command("805C000204"))
		require.Error(t, err)
		s.chip.Present()
		refused(t, guard, credit, wallet.CodeCardLost)
		refused(t, guard, command("00A4040009A0000000038698070100"), wallet.CodeCardLost)
	})
	t.Run("no grant", func(t *testing.T) {
		s := newStage()
		refused(t, opened(t, s), command("805200000B202603150930450102030404"), wallet.CodeGuardRefused)
		require.Zero(t, s.credits())
	})
	t.Run("grant after the session was used", func(t *testing.T) {
		s := newStage()
		guard, credit := accept(t, s)
		granted := grantFor(s, guard)
		_, err := guard.Send(context.Background(), credit)
		require.NoError(t, err)
		_, err = guard.Accept(granted, s.issuer.Signers(), time.Now())
		require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err))
	})
}

func TestGuard_Time(t *testing.T) {
	tests := []struct {
		name          string
		before, after time.Duration // INITIALIZE → grant, grant → CREDIT
		notAfterS     int
		ok            bool
	}{
		{"at once", 0, 0, 60, true},
		{"15 s in all", 5 * time.Second, 10 * time.Second, 60, true},
		{"more than 15 s since INITIALIZE", 5 * time.Second, 10*time.Second + 1, 60, false},
		{"grant for 2 s, used after 3", 0, 3 * time.Second, 2, false},
		{"grant for an hour is a grant for 60 s", 0, 61 * time.Second, 3600, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStage()
				s.issuer.Forge = func(g *wallet.Grant, _ *[]wallet.Step) { g.NotAfterS = tt.notAfterS }
				guard := opened(t, s)
				time.Sleep(tt.before)
				accepted, err := guard.Accept(grantFor(s, guard), s.issuer.Signers(), time.Now())
				require.NoError(t, err)
				time.Sleep(tt.after)
				_, err = guard.Send(context.Background(), accepted.Commands[0])
				if tt.ok {
					require.NoError(t, err)
					return
				}
				require.Equal(t, wallet.CodeGrantExpired, wallet.CodeOf(err))
				require.Zero(t, s.credits())
			})
		})
	}
}

// commandsRefused are refused in every session, at every moment before a grant.
var commandsRefused = []string{
	"00A4040008A0000000038698" + "07" + "00", // partial name
	"00A4040209A0000000038698070100",         // next occurrence
	"01A4040009A0000000038698070100",         // channel 1
	"00A4040007A00000033301010100",           // a bank's application
	"00A40400",                               // no name
	"00A40000020001",                         // key or purse file by identifier
	"00A4080004" + "3F001001",                // by path
	"00B0960027", "00B0810010", "00B095011E", // other files, an offset
	"00B0000010", "04B095001E", "80B095001E", //
	"00B201C517", "00B200C417", "00B20BC417", // all records, record 0 and 11
	"00B2010C17", "00B201BC17", // other files
	"805C000304", "805C010204", "005C000204", // other purse forms
	"0020000003123456", "0020000000", // PIN that nobody typed
	"805A000202FFFF08", "805A000602002208", // proof of another number, of a purchase
	"805001020B01000013883132333435360F",                // INITIALIZE FOR PURCHASE
	"805005010B010000138831323334353610",                // for unload
	"805000010B010000138831323334353610",                // load to ED
	"805000020B020000138831323334353610",                // key index
	"805000020B010000138931323334353610",                // amount
	"805000020B010000138831323334353710",                // terminal
	"805200000B202603150930450102030404",                // CREDIT without a grant
	"805401000F0000000120260315093045010203" + "0408",   // DEBIT
	"805800000E0000002026031509304501020304" + "AABBCC", // overdraft
	"00C0000010", // GET RESPONSE to nothing
	"0084000008", "008200000801020304050607" + "08", "00880000080102030405060708",
	"84160000" + "0401020304", "841E000004" + "01020304", "8418000004" + "01020304",
	"84D4010008" + "0102030405060708", "80E0000001" + "00", "800E0000", "80CA9F7900", "0070000001",
	"805E010005123456FF12", "84240000" + "0401020304", "FFCA000000",
}

func TestGuard_RefusesCommands(t *testing.T) {
	sessions := map[string]func(*stage) *wallet.Guard{
		"query": func(s *stage) *wallet.Guard { return wallet.NewQueryGuard(s.chip, nil) },
		"load": func(s *stage) *wallet.Guard {
			return wallet.NewLoadGuard(s.chip, s.profile, s.order, leasedTID, 1, nil)
		},
		"add card": func(s *stage) *wallet.Guard {
			return wallet.NewProbeGuard(s.chip, s.profile, testASN, leasedTID, nil)
		},
		"sync": func(s *stage) *wallet.Guard {
			open := wallet.OpenOrder{Order: "o1", ASN: testASN, Attempt: 1, Seq: 0x21, Amount: 5000, ProbeTID: leasedTID}
			return wallet.NewSyncGuard(s.chip, s.profile, open, wallet.Entry{}, 1, nil)
		},
	}
	for name, begin := range sessions {
		for _, raw := range commandsRefused {
			t.Run(name+" "+raw, func(t *testing.T) {
				for _, selected := range []bool{false, true} {
					s := newStage()
					guard := begin(s)
					prepared := 0
					if selected {
						prepared = 2
						for _, c := range []string{"00A4040009A0000000038698070100", "00B095001E"} {
							_, err := guard.Send(context.Background(), command(c))
							require.NoError(t, err)
						}
					}
					c, err := wallet.ParseCommand(mustHex(raw))
					if err == nil {
						_, err = guard.Send(context.Background(), c)
						require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err), "selected %v", selected)
					}
					require.Error(t, err)
					require.Len(t, s.chip.Sent, prepared)
				}
			})
		}
	}
}

func TestGuard_LetsPass(t *testing.T) {
	s := newStage()
	s.chip.T0 = true
	s.chip.PIN = []byte{0x12, 0x34}
	open := wallet.OpenOrder{Order: "o1", ASN: testASN, Attempt: 1, Seq: 0x21, Amount: 5000, ProbeTID: leasedTID}
	guard := wallet.NewSyncGuard(s.chip, s.profile, open, wallet.Entry{}, 1, nil)
	guard.AllowPIN([]byte{0x12, 0x34}, 0)
	for _, raw := range []string{
		"00A4040009A0000000038698070100", "00B095001E", "0020000002" + "1234",
		"805A000202002208", "805A000202002108",
		"00B201C417", "00B20AD417", "00B2013417", "805C000204",
		"805000020B010000138831323334353610",
	} {
		_, err := guard.Send(context.Background(), command(raw))
		require.NoError(t, err, raw)
	}
	require.NotZero(t, countINS(s.chip.Sent, "C0"), "GET RESPONSE is part of the command before it")
	_, fresh := guard.Init()
	require.True(t, fresh)
}

func TestGuard_InitializeNeedsTheSerialOfThisSession(t *testing.T) {
	initialize := command("805000020B010000138831323334353610")
	tests := []struct {
		name string
		run  func(s *stage, guard *wallet.Guard)
		code wallet.Code
	}{
		{"not read", func(*stage, *wallet.Guard) {}, wallet.CodeGuardRefused},
		{"read before another SELECT", func(_ *stage, g *wallet.Guard) {
			sendAll(g, "00B095001E", "00A4040009A0000000038698070100")
		}, wallet.CodeGuardRefused},
		{"another card", func(s *stage, g *wallet.Guard) {
			copy(s.chip.Info[10:], otherASN[:])
			sendAll(g, "00B095001E")
		}, wallet.CodeCardOther},
		{"changing serial", func(s *stage, g *wallet.Guard) {
			copy(s.chip.Info[10:], otherASN[:])
			sendAll(g, "00B095001E")
			copy(s.chip.Info[10:], testASN[:])
			sendAll(g, "00B095001E")
		}, wallet.CodeCardOther},
		{"read", func(_ *stage, g *wallet.Guard) { sendAll(g, "00B095001E") }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage()
			guard := wallet.NewLoadGuard(s.chip, s.profile, s.order, leasedTID, 1, nil)
			sendAll(guard, "00A4040009A0000000038698070100")
			tt.run(s, guard)
			_, err := guard.Send(context.Background(), initialize)
			require.Equal(t, tt.code, wallet.CodeOf(err))
			require.Equal(t, tt.code == "", countINS(s.chip.Sent, "50") == 1)
		})
	}
}

func sendAll(guard *wallet.Guard, commands ...string) {
	for _, raw := range commands {
		must(guard.Send(context.Background(), command(raw)))
	}
}

func TestGuard_ProfilesThatAreNeverLoaded(t *testing.T) {
	for _, p := range wallet.Profiles() {
		if p.Loadable {
			require.EqualValues(t, 0x02, p.P2)
			continue
		}
		s := newStage()
		s.profile = p
		script := wallettest.OpenScript(s.profileForScript())
		script.Profile = p.Name
		_, err := s.desk.TopUp(context.Background(), s.order, p, script, leasedTID)
		require.Error(t, err, p.Name)
		require.Zero(t, countINS(s.chip.Sent, "50"), p.Name)
	}
}

func (s *stage) profileForScript() *wallet.Profile { return profile("pboc-ep") }

func TestGuard_Bounds(t *testing.T) {
	s := newStage()
	guard := wallet.NewQueryGuard(s.chip, nil)
	sendAll(guard, "00A4040009A0000000038698070100")
	for range 31 {
		sendAll(guard, "805C000204")
	}
	_, err := guard.Send(context.Background(), command("805C000204"))
	require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err))
	require.Len(t, s.chip.Sent, 32)

	_, err = wallet.NewQueryGuard(s.chip, nil).Send(context.Background(), wallet.Command{INS: 0xA4, P1: 4, Data: make([]byte, 256), Le: wallet.NoLe})
	require.Equal(t, wallet.CodeGuardRefused, wallet.CodeOf(err))
	require.Len(t, s.chip.Sent, 32)
}

func TestGuard_LeIsCorrectedOnceAndForReadingOnly(t *testing.T) {
	tests := []struct {
		name, command string
		answers       []string
		sent          []string
		sw            wallet.SW
	}{
		{"6C to READ BINARY", "00B095001E", []string{"6C20", "9000"}, []string{"00B095001E", "00B0950020"}, 0x9000},
		{"6C twice", "00B095001E", []string{"6C20", "6C1E"}, []string{"00B095001E", "00B0950020"}, 0x6C1E},
		{"6700 to READ BINARY", "00B095001E", []string{"6700", "9000"}, []string{"00B095001E", "00B0950000"}, 0x9000},
		{"6700 twice", "00B095001E", []string{"6700", "6700"}, []string{"00B095001E", "00B0950000"}, 0x6700},
		{"6700 to SELECT with Le", "00A4040009A0000000038698070100", []string{"6700", "9000"},
			[]string{"00A4040009A0000000038698070100", "00A4040009A00000000386980701"}, 0x9000},
		{"6700 to SELECT without Le", "00A4040009A00000000386980701", []string{"6700", "9000"},
			[]string{"00A4040009A00000000386980701", "00A4040009A0000000038698070100"}, 0x9000},
		{"6C to GET RESPONSE", "805C000204", []string{"6110", "6C04", "000000019000"},
			[]string{"805C000204", "00C0000010", "00C0000004"}, 0x9000},
		{"6700 to INITIALIZE", "805000020B010000138831323334353610", []string{"6700", "9000"},
			[]string{"805000020B010000138831323334353610"}, 0x6700},
		{"6C to INITIALIZE", "805000020B010000138831323334353610", []string{"6C10", "9000"},
			[]string{"805000020B010000138831323334353610"}, 0x6C10},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage()
			guard := wallet.NewLoadGuard(s.chip, s.profile, s.order, leasedTID, 1, nil)
			sendAll(guard, "00A4040009A0000000038698070100", "00B095001E")
			s.chip.Sent = nil
			n := 0
			s.chip.Hook = func([]byte) ([]byte, error, bool) {
				n++
				return mustHex(tt.answers[n-1]), nil, true
			}
			response, err := guard.Send(context.Background(), command(tt.command))
			require.NoError(t, err)
			require.Equal(t, tt.sw, response.SW)
			require.Equal(t, tt.sent, s.chip.Sent)
		})
	}
}

// FuzzGuard lets the input choose session and commands, and checks what arrives
// at the card against a second, independent statement of the policy.
func FuzzGuard(f *testing.F) {
	seed := func(session byte, commands ...string) {
		raw := []byte{session}
		for _, c := range commands {
			b := mustHex(c)
			raw = append(append(raw, byte(len(b))), b...)
		}
		f.Add(raw)
	}
	ready := []string{"00A4040009A0000000038698070100", "00B095001E"}
	seed(3, append(ready, initPurchase, "805401000F00C0FFEE202603150930450102030408", probePurchase)...)
	seed(4, append(ready, "805A000602000808", "805A000602000708", probePurchase, "805200000B202603150930450102030404")...)
	for session := range byte(5) {
		seed(session, ready...)
		seed(session, append(ready, "805000020B010000138831323334353610", "805200000B202603150930450102030404")...)
		seed(session, append(ready, "805A000202002208", "805C000204", "00B201C417")...)
		for _, raw := range commandsRefused {
			seed(session, append(ready, raw)...)
		}
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) == 0 {
			return
		}
		chip := wallettest.NewChip(testASN, 1234, 3)
		order := wallet.Order{Key: "k", ASN: testASN, Amount: 5000, Source: "main"}
		var guard *wallet.Guard
		session := input[0] % 5
		query := session == 0
		switch session {
		case 0:
			guard = wallet.NewQueryGuard(chip, nil)
		case 1:
			guard = wallet.NewLoadGuard(chip, profile("pboc-ep"), order, leasedTID, 1, nil)
		case 2:
			open := wallet.OpenOrder{Order: "o", ASN: testASN, Attempt: 1, Seq: 0x21, Amount: 5000, ProbeTID: leasedTID}
			guard = wallet.NewSyncGuard(chip, profile("pboc-ep"), open, wallet.Entry{}, 1, nil)
		case 3:
			guard = wallet.NewPurchaseGuard(chip, profile("pboc-ep"), wallet.Payment{Key: "k", ASN: testASN, Amount: 1250}, leasedTID, 1, nil)
		case 4:
			open := wallet.OpenPurchase{Purchase: "p", ASN: testASN, Amount: 1250, Number: 7, ProbeTID: wallet.TerminalNumber{0x60, 0, 0, 0, 1, 1}}
			guard = wallet.NewPurchaseSettleGuard(chip, profile("pboc-ep"), open, nil)
		}
		for rest := input[1:]; len(rest) > 0; {
			n := min(int(rest[0]), len(rest)-1)
			if c, err := wallet.ParseCommand(rest[1 : 1+n]); err == nil {
				_, _ = guard.Send(context.Background(), c)
			}
			rest = rest[1+n:]
		}
		inits := 0
		for _, command := range chip.Sent {
			switch {
			case strings.HasPrefix(command, "00A40400"), command == "00C00000"+command[8:],
				strings.HasPrefix(command, "00B0"), strings.HasPrefix(command, "00B2"), strings.HasPrefix(command, "805C00"):
			case query && (strings.HasPrefix(command, "00A40000023F00") || strings.HasPrefix(command, "00A40000021001")):
			case (session == 1 || session == 2) && strings.HasPrefix(command, "805000020B010000138831323334353"+"6"):
				inits++
			case session == 3 && strings.HasPrefix(command, initPurchase[:32]):
				inits++
			case session == 4 && strings.HasPrefix(command, probePurchase[:32]):
				inits++
			case session == 4 && (strings.HasPrefix(command, "805A0006020008") || strings.HasPrefix(command, "805A0006020007")):
			case session == 2 && (strings.HasPrefix(command, "805A0002020022") || strings.HasPrefix(command, "805A0002020021")):
			default:
				t.Fatalf("%s reached the card", command)
			}
		}
		if inits > 1 || chip.Balance != 1234 || chip.Seq != 0x21 || chip.Offline != 7 || len(chip.Sent) > 64 {
			t.Fatalf("%d INITIALIZE, balance %d", inits, chip.Balance)
		}
	})
}

func TestGrantHash_IsOverTheBytesThatArrived(t *testing.T) {
	s := newStage()
	guard := opened(t, s)
	granted := grantFor(s, guard)
	var grant wallet.Grant
	require.NoError(t, s.issuer.Signers().Open(wallet.DomainGrant, granted.Grant, &grant))
	sum := sha256.Sum256(granted.Script)
	require.Equal(t, wallet.Hex(sum[:]), grant.ScriptSHA256)
}
