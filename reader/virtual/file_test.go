package virtual_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"walletcompanion/reader"
	"walletcompanion/reader/virtual"
)

// counter is a chip whose file is one byte; each command adds one to it.
type counter struct {
	value byte
	save  func([]byte) error
}

func parseCounter(image []byte, save func([]byte) error) (reader.Chip, error) {
	if len(image) != 1 {
		return nil, errors.New("not a counter")
	}
	return &counter{value: image[0], save: save}, nil
}

func (c *counter) PowerOn() ([]byte, error) { return []byte{0x3B, 0x00}, nil }
func (c *counter) PowerOff()                {}
func (c *counter) Reset() ([]byte, error)   { return c.PowerOn() }
func (c *counter) Transmit([]byte) ([]byte, error) {
	if err := c.save([]byte{c.value + 1}); err != nil {
		return []byte{0x65, 0x81}, nil
	}
	c.value++
	return []byte{c.value, 0x90, 0x00}, nil
}

var anyCommand = []byte{0x80, 0x01, 0x00, 0x00}

func cardFile(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "card")
	require.NoError(t, os.WriteFile(path, []byte{0}, 0o600))
	return path
}

func reading(t *testing.T, path string) *virtual.File {
	t.Helper()
	file, err := virtual.OpenFile(path, parseCounter)
	require.NoError(t, err)
	return file
}

func TestFileKeepsTheCard(t *testing.T) {
	path := cardFile(t)
	for expected := byte(1); expected < 4; expected++ {
		driver := virtual.New()
		driver.AddSlot("card").Insert(reading(t, path))
		session, err := driver.Open(context.Background(), "card")
		require.NoError(t, err)
		answer, err := session.Transmit(context.Background(), anyCommand)
		require.NoError(t, err)
		require.Equal(t, []byte{expected, 0x90, 0x00}, answer)
		stored, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, []byte{expected}, stored, "saved before the answer")
		require.NoError(t, session.Close())
		again, err := driver.Open(context.Background(), "card") // waits until the file is free
		require.NoError(t, err)
		require.NoError(t, again.Close())
		awaitFree(t, path)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".card*"))
	require.NoError(t, err)
	require.Empty(t, left, "no temporary files stay")
}

// awaitFree waits until nobody holds the file.
func awaitFree(t *testing.T, path string) {
	t.Helper()
	file := reading(t, path)
	require.Eventually(t, func() bool {
		_, err := file.PowerOn()
		return err == nil
	}, patience, tick)
	file.PowerOff()
}

func TestFileHasOneOwner(t *testing.T) {
	path := cardFile(t)
	first, second := reading(t, path), reading(t, path)
	_, err := first.PowerOn()
	require.NoError(t, err)

	_, err = second.PowerOn()
	require.ErrorIs(t, err, reader.ErrChipBusy)
	driver := virtual.New()
	slot := driver.AddSlot("card")
	slot.Insert(second)
	infos, err := driver.List(context.Background())
	require.NoError(t, err)
	require.Equal(t, reader.StateBusy, infos[0].State)
	_, err = driver.Open(context.Background(), "card")
	require.Equal(t, reader.Busy, reader.ClassOf(err), "%v", err)

	_, err = first.Transmit(anyCommand)
	require.NoError(t, err)
	first.PowerOff()
	session, err := driver.Open(context.Background(), "card")
	require.NoError(t, err)
	answer, err := session.Transmit(context.Background(), anyCommand)
	require.NoError(t, err)
	require.Equal(t, byte(2), answer[0], "the file was read again when it became ours")
	require.NoError(t, session.Close())
	awaitFree(t, path)
}

func TestChipWithoutPowerCannotSave(t *testing.T) {
	path := cardFile(t)
	var save func([]byte) error
	file, err := virtual.OpenFile(path, func(image []byte, s func([]byte) error) (reader.Chip, error) {
		save = s
		return parseCounter(image, s)
	})
	require.NoError(t, err)
	require.ErrorIs(t, save([]byte{9}), virtual.ErrNotOwned)
	_, err = file.PowerOn()
	require.NoError(t, err)
	require.NoError(t, save([]byte{9}))
	file.PowerOff()
	require.ErrorIs(t, save([]byte{10}), virtual.ErrNotOwned)
	stored, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, []byte{9}, stored)
}

func TestOpenFileRefuses(t *testing.T) {
	_, err := virtual.OpenFile(filepath.Join(t.TempDir(), "none"), parseCounter)
	require.ErrorIs(t, err, os.ErrNotExist)
	path := filepath.Join(t.TempDir(), "other")
	require.NoError(t, os.WriteFile(path, []byte("other"), 0o600))
	_, err = virtual.OpenFile(path, parseCounter)
	require.ErrorContains(t, err, "not a counter")
	require.NotContains(t, err.Error(), filepath.Dir(path))
}

// TestFailedSaveLeavesTheOldContent: the folder vanishes under the file.
func TestFailedSaveLeavesTheOldContent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "card")
	require.Error(t, virtual.WriteFile(path, []byte{1}))
	require.NoError(t, os.Mkdir(filepath.Dir(path), 0o700))
	require.NoError(t, virtual.WriteFile(path, []byte{1}))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Zero(t, info.Mode().Perm()&0o077, "a card's file holds keys")
}

// TestSoak taps cards in and out and talks to each; nothing may pile up.
func TestSoak(t *testing.T) {
	leaks := goleak.IgnoreCurrent()
	driver := virtual.New()
	slot := driver.AddSlot("card")
	save := func([]byte) error { return nil }
	for range 5000 {
		chip, err := parseCounter([]byte{0}, save)
		require.NoError(t, err)
		slot.Insert(chip)
		session, err := driver.Open(context.Background(), "card")
		require.NoError(t, err)
		_, err = session.Transmit(context.Background(), anyCommand)
		require.NoError(t, err)
		slot.Remove()
		_, err = session.Transmit(context.Background(), anyCommand)
		require.Equal(t, reader.CardGone, reader.ClassOf(err))
		require.NoError(t, session.Close())
	}
	infos, err := driver.List(context.Background())
	require.NoError(t, err)
	require.Equal(t, uint32(10000), infos[0].Events)
	goleak.VerifyNone(t, leaks)
}
