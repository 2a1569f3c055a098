package virtual

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/gofrs/flock"

	"walletcompanion/reader"
)

// ErrNotOwned says that a card's state was to be saved while the file was not ours:
// the chip has no power, or the file may only be read.
var ErrNotOwned = errors.New("the card's file is not open for writing")

// Parse makes a chip from the content of a card's file. The chip calls save with
// its whole new content whenever its lasting memory changes, and treats an error as
// memory that could not be written. A chip that only reads never calls it.
type Parse func(image []byte, save func(image []byte) error) (reader.Chip, error)

// File is a chip whose lasting memory is a file. While it has power the file is
// locked, so that two programs cannot write one card; every save replaces the file
// as a whole. It implements reader.Chip and can be held by a Slot or by vpcd.
//
// The lock is a file of its own beside the card's (NAME.lock), since the card's own
// file is another one after every save; it stays there.
type File struct {
	path  string
	parse Parse
	lock  *flock.Flock

	mu      sync.Mutex
	chip    reader.Chip // nil without power
	mayEdit bool        // powered and locked
}

// OpenFile checks that the file holds a card. The file is not locked before PowerOn,
// and is read again then: another program may have used the card meanwhile.
func OpenFile(path string, parse Parse) (*File, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("card file: %w", err)
	}
	f := &File{path: path, parse: parse}
	if _, err := f.load(); err != nil {
		return nil, err
	}
	return f, nil
}

// Path is the absolute path of the card's file.
func (f *File) Path() string { return f.path }

func (f *File) load() (reader.Chip, error) {
	image, err := os.ReadFile(f.path)
	if err != nil {
		return nil, fmt.Errorf("card file: %w", err)
	}
	chip, err := f.parse(image, f.save)
	if err != nil {
		return nil, fmt.Errorf("card file %s: %w", filepath.Base(f.path), err)
	}
	return chip, nil
}

// PowerOn implements reader.Chip. A file that another program holds gives an error
// that wraps reader.ErrChipBusy. Where the folder may not be written there is no
// lock, and no save either.
func (f *File) PowerOn() ([]byte, error) {
	f.mu.Lock()
	if f.chip != nil {
		chip := f.chip
		f.mu.Unlock()
		return chip.PowerOn()
	}
	if err := f.acquire(); err != nil {
		f.mu.Unlock()
		return nil, err
	}
	f.mu.Unlock()
	// A chip may save while it is made or powered, so f.mu is free here.
	chip, err := f.load()
	var atr []byte
	if err == nil {
		atr, err = chip.PowerOn()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.release()
		return nil, err
	}
	f.chip = chip
	return atr, nil
}

// acquire takes the lock. The caller holds f.mu.
func (f *File) acquire() error {
	// One descriptor per power cycle: the locks of two File values exclude each
	// other also within one process.
	f.lock = flock.New(f.path + ".lock")
	locked, err := f.lock.TryLock()
	switch {
	case err != nil && (errors.Is(err, fs.ErrPermission) || readOnly(err)):
		f.lock, f.mayEdit = nil, false
		return nil
	case err != nil:
		f.lock = nil
		return fmt.Errorf("lock of the card file: %w", err)
	case !locked:
		_ = f.lock.Close()
		f.lock = nil
		return fmt.Errorf("card file %s: %w", filepath.Base(f.path), reader.ErrChipBusy)
	}
	f.mayEdit = true
	return nil
}

// release gives the lock back. The caller holds f.mu.
func (f *File) release() {
	f.chip, f.mayEdit = nil, false
	if f.lock != nil {
		_ = f.lock.Close()
		f.lock = nil
	}
}

// PowerOff implements reader.Chip.
func (f *File) PowerOff() {
	f.mu.Lock()
	chip := f.chip
	f.mu.Unlock()
	if chip == nil {
		return
	}
	chip.PowerOff() // may still save
	f.mu.Lock()
	defer f.mu.Unlock()
	f.release()
}

// Reset implements reader.Chip.
func (f *File) Reset() ([]byte, error) {
	chip, err := f.powered()
	if err != nil {
		return nil, err
	}
	return chip.Reset()
}

// Transmit implements reader.Chip.
func (f *File) Transmit(command []byte) ([]byte, error) {
	chip, err := f.powered()
	if err != nil {
		return nil, err
	}
	return chip.Transmit(command)
}

func (f *File) powered() (reader.Chip, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.chip == nil {
		return nil, errors.New("the card has no power")
	}
	return f.chip, nil
}

func (f *File) save(image []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.mayEdit {
		return fmt.Errorf("card file %s: %w", filepath.Base(f.path), ErrNotOwned)
	}
	return WriteFile(f.path, image)
}

// WriteFile replaces the file at path so that at every moment, also of a power
// failure, it holds either the old content or the new. The file is 0600, since a
// card's file holds the card's keys.
func WriteFile(path string, image []byte) error {
	folder := filepath.Dir(path)
	temporary, err := os.CreateTemp(folder, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("save the card: %w", err)
	}
	defer os.Remove(temporary.Name()) // does nothing once it is renamed
	_, err = temporary.Write(image)
	if err == nil {
		err = temporary.Sync()
	}
	if closing := temporary.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err == nil {
		err = syncFolder(folder)
	}
	if err != nil {
		return fmt.Errorf("save the card: %w", err)
	}
	return nil
}

// syncFolder makes a rename durable. Windows has no such call and needs none.
func syncFolder(folder string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	opened, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer opened.Close()
	return opened.Sync()
}
