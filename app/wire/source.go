package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"walletcompanion/app/core"
	"walletcompanion/reader"
	"walletcompanion/reader/pcsc"
	"walletcompanion/reader/virtual"
	"walletcompanion/wallet"
	"walletcompanion/wallet/virtualcard"
)

// cardSource is the chosen reader and, for a card in a file, the chip behind it.
type cardSource struct {
	driver reader.Driver
	wanted func(reader.Info) bool
	chip   atomic.Value // chipHolder: the chip that was powered last
	ins    atomic.Int32 // instruction that the chip executes
	close  func()
}

// chipHolder lets one atomic.Value hold chips of different types.
type chipHolder struct{ chip virtualcard.Chip }

// ReaderDemo is the reader of the first start without any hardware: a virtual card
// in the profile's folder.
const ReaderDemo = "demo"

// demoCardName is that card's file.
const demoCardName = "demo-card.json"

// demoCard makes the profile's own virtual card at first use.
func (p *Program) demoCard() (string, error) {
	path := filepath.Join(p.options.ProfileDir, demoCardName)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	var asn wallet.ASN
	if _, err := rand.Read(asn[2:]); err != nil {
		return "", err
	}
	for i := range asn[2:] { // decimal digits, as on a real card
		asn[2+i] = asn[2+i]>>4%10<<4 | asn[2+i]&0x0F%10
	}
	card, err := virtualcard.New(virtualcard.Spec{ASN: asn, Balance: 86_50, Records: 8}, rand.Reader)
	if err != nil {
		return "", err
	}
	image, err := card.Image()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(p.options.ProfileDir, 0o700); err != nil {
		return "", err
	}
	return path, virtual.WriteFile(path, image)
}

// openReader understands demo, auto, pcsc:NAME and virtual:FILE.
func (p *Program) openReader() (*cardSource, error) {
	kind, rest, _ := strings.Cut(p.options.Reader, ":")
	switch kind {
	case "", "auto":
		return pcscSource(func(reader.Info) bool { return true }), nil
	case "pcsc":
		return pcscSource(func(info reader.Info) bool { return strings.Contains(info.Name, rest) }), nil
	case "virtual":
		return p.virtualSource(rest)
	case ReaderDemo:
		path, err := p.demoCard()
		if err != nil {
			return nil, err
		}
		return p.virtualSource(path)
	case "usb":
		return nil, &core.Failure{Code: "USAGE", Err: fmt.Errorf("this version reads USB readers through the system's smart card service: use auto or pcsc:NAME")}
	}
	return nil, &core.Failure{Code: "USAGE", Err: fmt.Errorf("reader %q is none of auto, pcsc:NAME, virtual:FILE, demo", p.options.Reader)}
}

// releaseLimit bounds how long the end of the program waits for cards to be given
// back.
const releaseLimit = time.Second

// UseDemoCard puts the profile's own virtual card into a reader beside the system's,
// for a person who has no reader yet. It works with --reader auto alone.
func (p *Program) UseDemoCard() error {
	both, can := p.source.driver.(twoDrivers)
	if !can {
		return &core.Failure{Code: "USAGE", Err: errors.New("another reader was chosen")}
	}
	path, err := p.demoCard()
	if err != nil {
		return err
	}
	file, err := p.openCardFile(p.source, path)
	if err != nil {
		return err
	}
	both.ours.AddSlot(demoReaderName).Insert(file)
	return nil
}

const demoReaderName = "Virtual reader"

func pcscSource(wanted func(reader.Info) bool) *cardSource {
	driver := pcsc.New()
	return &cardSource{driver: twoDrivers{driver, virtual.New()}, wanted: wanted, close: func() {
		ctx, stop := context.WithTimeout(context.Background(), releaseLimit)
		defer stop()
		driver.Released(ctx)
	}}
}

// virtualSource puts the card of a file into a slot of its own.
func (p *Program) virtualSource(path string) (*cardSource, error) {
	source := &cardSource{wanted: func(reader.Info) bool { return true }, close: func() {}}
	p.source = source // the chip's hooks look for it as soon as it is inserted
	driver := virtual.New()
	source.driver = driver
	file, err := p.openCardFile(source, path)
	if err != nil {
		return nil, err
	}
	slot := driver.AddSlot("Virtual " + path)
	slot.Insert(p.returning(slot, file))
	source.close = func() { slot.Remove() }
	return source, nil
}

// openCardFile opens the card of a file; source learns which chip was powered last.
func (p *Program) openCardFile(source *cardSource, path string) (*virtual.File, error) {
	file, err := virtual.OpenFile(path, func(image []byte, save func([]byte) error) (reader.Chip, error) {
		chip, err := virtualcard.Parse(image)
		if err != nil {
			return nil, err
		}
		source.chip.Store(chipHolder{chip})
		return p.hookChip(chip, save), nil
	})
	if err != nil {
		return nil, &core.Failure{Code: "CARD_FILE", Err: err}
	}
	return file, nil
}

// hookChip gives a card of ours its memory and, under a fault, its accident.
func (p *Program) hookChip(chip virtualcard.Chip, save func([]byte) error) reader.Chip {
	card, ours := chip.(*virtualcard.Card)
	if ours {
		card.SaveTo(func(image []byte) error {
			err := save(image)
			p.points.reached(fmt.Sprintf("card:%02X", p.source.ins.Load()))
			return err
		})
	}
	if p.points != nil {
		return insWatcher{chip, &p.source.ins}
	}
	if p.accident == nil {
		return chip
	}
	faulty := &faultyChip{Chip: chip, a: p.accident}
	if ours {
		faulty.block = card.Block
		faulty.tear = func(ins byte) { card.TearAt(virtualcard.Tear{INS: ins, When: virtualcard.Inside}) }
	}
	return faulty
}

// insWatcher remembers which command runs, so that a point in the card has a name.
type insWatcher struct {
	reader.Chip
	ins *atomic.Int32
}

func (w insWatcher) Transmit(command []byte) ([]byte, error) {
	if len(command) > 1 {
		w.ins.Store(int32(command[1]))
	}
	return w.Chip.Transmit(command)
}

// returning puts a card back into its slot after a fault that says so.
func (p *Program) returning(slot *virtual.Slot, chip reader.Chip) reader.Chip {
	if p.accident == nil || !p.accident.comeBack {
		return chip
	}
	return &returningChip{Chip: chip, back: func() { go slot.Return() }}
}

type returningChip struct {
	reader.Chip
	back func()
}

func (c *returningChip) Transmit(command []byte) ([]byte, error) {
	answer, err := c.Chip.Transmit(command)
	if err != nil {
		c.back()
	}
	return answer, err
}

// virtualCard is the card of ours that was powered last, or nil.
func (s *cardSource) virtualCard() *virtualcard.Card {
	holder, _ := s.chip.Load().(chipHolder)
	card, _ := holder.chip.(*virtualcard.Card)
	return card
}

// recorded reports whether the card is a recording.
func (s *cardSource) recorded() bool {
	holder, _ := s.chip.Load().(chipHolder)
	_, is := holder.chip.(*virtualcard.Recorded)
	return is
}

// CardProblems tells what a recorded card was asked that its recording lacks.
func (p *Program) CardProblems() []string {
	holder, _ := p.source.chip.Load().(chipHolder)
	recorded, is := holder.chip.(*virtualcard.Recorded)
	if !is || recorded.MissedCount() == 0 {
		return nil
	}
	return []string{fmt.Sprintf("NOT_RECORDED: %d commands were not recorded", recorded.MissedCount())}
}
