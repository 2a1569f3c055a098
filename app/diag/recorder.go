package diag

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Names of the trace in the profile's folder: the newer lines and the older ones.
const (
	TraceName    = "trace.jsonl"
	TraceOldName = "trace.1.jsonl"
)

const (
	// maxTraceFile is the size at which a trace makes room: two files, so twice as
	// much at most.
	maxTraceFile = 2 << 20
	// traceDays is how long one file takes lines, and how long it is kept after that:
	// no line lives longer than 180 days (protocol dossier §2.13) while the program is
	// used.
	traceDays = 90
	ringLines = 512
	queued    = 256
	// handOver is how long a line may take to reach the system. A disk that hangs costs
	// the program this once, and then nothing until it writes again.
	handOver = 20 * time.Millisecond
	// full is how long a line waits for a place behind hundreds of others.
	full = time.Millisecond
	// closing is how long the end of the program waits for the last lines.
	closing = time.Second
)

// Recorder keeps the trace of one process: the newest lines in memory, all of them in
// a file of the profile. Nothing that it does can fail or hold up what it records: a
// line is written after its command has been answered, errors are counted only, and a
// disk that hangs is not waited for.
//
// Lines are handed to the system one by one, so that they survive the end of the
// process, and are not flushed: after a power cut the last may be missing. Several
// processes may write into one file.
type Recorder struct {
	dir   string
	run   string
	now   func() time.Time
	queue chan pending
	done  chan struct{}
	start sync.Once
	end   sync.Once

	patience time.Duration // handOver outside tests

	lost    atomic.Int64 // lines that reached no file
	stalled atomic.Bool

	mu     sync.Mutex
	closed bool
	n      int
	ops    int
	op     string
	ring   []Line // line number n stands at (n-1) % ringLines

	open func(path string) (traceFile, error)
}

// traceFile is what a recorder needs of a file.
type traceFile interface {
	Write(line []byte) (int, error)
	Stat() (fs.FileInfo, error)
	Close() error
}

type pending struct {
	line    []byte
	written chan struct{}
}

// NewRecorder makes a recorder for the profile in dir. It touches no file before the
// first line.
func NewRecorder(dir string) *Recorder {
	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return &Recorder{dir: dir, run: hex.EncodeToString(id[:]), now: time.Now, patience: handOver, queue: make(chan pending, queued), done: make(chan struct{}),
		open: func(path string) (traceFile, error) {
			return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		}}
}

// Begin records that an operation begins and makes it the one under way. end records
// how it ended; it fills in the rest of its line.
func (r *Recorder) Begin(name string, line Line) (end func(Line)) {
	r.mu.Lock()
	r.ops++
	op := name + "-" + strconv.Itoa(r.ops)
	r.op = op
	r.mu.Unlock()
	line.Kind = KindBegin
	r.Add(line)
	return func(line Line) {
		line.Kind, line.Op = KindEnd, op
		r.Add(line)
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.op == op {
			r.op = ""
		}
	}
}

// Add records a line. Run, N and, where they are empty, Op and At are filled in.
func (r *Recorder) Add(line Line) {
	r.start.Do(func() { go r.write() })
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		r.lost.Add(1)
		return
	}
	r.n++
	line.Run, line.N = r.run, r.n
	if line.Op == "" {
		line.Op = r.op
	}
	if line.At.IsZero() {
		line.At = r.now()
	}
	line.At = line.At.UTC()
	if len(r.ring) < ringLines {
		r.ring = append(r.ring, line)
	} else {
		r.ring[(r.n-1)%ringLines] = line
	}
	raw, err := json.Marshal(line)
	if err != nil || len(raw) >= maxLineBytes {
		r.lost.Add(1)
		return
	}
	r.handOver(pending{line: append(raw, '\n'), written: make(chan struct{})})
}

// handOver waits until the system has the line, but no longer than handOver.
func (r *Recorder) handOver(item pending) {
	timer := time.NewTimer(full)
	defer timer.Stop()
	select {
	case r.queue <- item:
	case <-timer.C: // the writer is hundreds of lines behind
		r.lost.Add(1)
		return
	}
	if r.stalled.Load() {
		return
	}
	timer.Reset(r.patience)
	select {
	case <-item.written:
	case <-timer.C:
		r.stalled.Store(true)
	}
}

// Recent returns the newest lines of this process, oldest first.
func (r *Recorder) Recent() []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < ringLines {
		return append([]Line(nil), r.ring...)
	}
	oldest := r.n % ringLines
	return append(append([]Line(nil), r.ring[oldest:]...), r.ring[:oldest]...)
}

// Lost is how many lines reached no file.
func (r *Recorder) Lost() int { return int(r.lost.Load()) }

// Close ends the recorder. It waits a moment for the last lines.
func (r *Recorder) Close() {
	r.end.Do(func() {
		r.mu.Lock()
		r.closed = true
		close(r.queue)
		r.mu.Unlock()
		r.start.Do(func() { close(r.done) }) // nothing was ever recorded
		select {
		case <-r.done:
		case <-time.After(closing):
		}
	})
}

// write is the goroutine that owns the file.
func (r *Recorder) write() {
	defer close(r.done)
	var file traceFile
	var size int64
	for item := range r.queue {
		if file == nil {
			file, size = r.openFile()
		}
		if file == nil {
			r.lost.Add(1)
		} else if n, err := file.Write(item.line); err != nil || n < len(item.line) {
			r.lost.Add(1)
			_ = file.Close() // tried anew with the next line
			file = nil
		} else if size += int64(n); size >= maxTraceFile {
			_ = file.Close()
			file = nil
		}
		close(item.written)
		r.stalled.Store(false) // the disk is alive
	}
	if file != nil {
		_ = file.Close()
	}
}

// openFile opens the trace, after it has made room where the file is full or old. It
// returns nil where that cannot be done; a full file that another process keeps from
// being moved (Windows) takes no further line.
func (r *Recorder) openFile() (traceFile, int64) {
	path, old := filepath.Join(r.dir, TraceName), filepath.Join(r.dir, TraceOldName)
	oldest := r.now().AddDate(0, 0, -traceDays)
	if info, err := os.Stat(old); err == nil && info.ModTime().Before(oldest) {
		_ = os.Remove(old)
	}
	if info, err := os.Stat(path); err == nil && (info.Size() >= maxTraceFile || beganBefore(path, oldest)) {
		if os.Rename(path, old) != nil && info.Size() >= maxTraceFile {
			return nil, 0
		}
	}
	file, err := r.open(path)
	if err != nil {
		return nil, 0
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return nil, 0
	}
	return file, info.Size()
}

// beganBefore reports that the first line of a trace is older than a moment.
func beganBefore(path string, moment time.Time) bool {
	file, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }() // only read
	line, err := bufio.NewReader(io.LimitReader(file, maxLineBytes)).ReadBytes('\n')
	first, ok := parseLine(line)
	return err == nil && ok && first.At.Before(moment)
}

// ReadTrace reads the trace of a profile's folder, older lines first. A folder without
// one has no lines. What it skips are lines that are none.
func ReadTrace(dir string) (lines []Line, skipped int, err error) {
	for _, name := range []string{TraceOldName, TraceName} {
		raw, err := readBounded(filepath.Join(dir, name), maxTraceBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, err
		}
		some, without, err := ParseTrace(raw)
		skipped += without
		if err == nil {
			lines = append(lines, some...)
		}
	}
	return lines, skipped, nil
}
