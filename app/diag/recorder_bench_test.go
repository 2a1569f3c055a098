package diag

import "testing"

// BenchmarkRecorder is what a line costs the conversation that it records.
func BenchmarkRecorder(b *testing.B) {
	recorder := NewRecorder(b.TempDir())
	defer recorder.Close()
	line := Line{Kind: KindCard, Reader: "Reader 1", Command: "00B095001E", Answer: "00000001000000000201****************971220240101204412310000", SW: "9000", TookUS: 9000}
	for b.Loop() {
		recorder.Add(line)
	}
	// A card that answers in a microsecond, and a busy machine, may outrun the writer.
	b.ReportMetric(float64(recorder.Lost())/float64(b.N), "lost/op")
}
