//go:build unix

package vm

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// BenchmarkSerial runs a guest that prints 128 KiB, with its bytes recorded, the
// times too, and buffered for a dialogue.
func BenchmarkSerial(b *testing.B) {
	o := guest(b, countGuest)
	b.SetBytes(countBytes)
	for b.Loop() {
		raw, err := os.Create(filepath.Join(b.TempDir(), "serial.log"))
		if err != nil {
			b.Fatal(err)
		}
		timed, err := os.Create(filepath.Join(b.TempDir(), "serial.cast"))
		if err != nil {
			b.Fatal(err)
		}
		v, err := Start(b.Context(), o, Sinks{Raw: raw, Cast: timed})
		if err != nil {
			b.Fatal(err)
		}
		<-v.Done()
		if n, err := raw.Seek(0, io.SeekCurrent); n != countBytes || err != nil {
			b.Fatalf("%d bytes, %v", n, err)
		}
		raw.Close()
		timed.Close()
	}
}

// BenchmarkSerialQEMU is the same guest, and QEMU writes the file itself.
func BenchmarkSerialQEMU(b *testing.B) {
	o := guest(b, countGuest)
	b.SetBytes(countBytes)
	for b.Loop() {
		out := filepath.Join(b.TempDir(), "serial.log")
		args := append([]string{"-accel", "tcg,thread=multi", "-m", "64", "-display", "none", "-monitor", "none", "-no-reboot", "-nic", "none",
			"-drive", "file=" + o.Disks[0].Path + ",format=raw,if=ide", "-serial", "file:" + out}, o.Extra...)
		c := exec.Command(defaultProgram, args...)
		if err := c.Run(); c.ProcessState == nil || c.ProcessState.ExitCode() != smokeExit {
			b.Fatal(err)
		}
		if info, err := os.Stat(out); err != nil || info.Size() != countBytes {
			b.Fatal(info, err)
		}
	}
}
