package vm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// Status returns QEMU's run state: running, paused, internal-error,
// guest-panicked, shutdown, io-error, …
func (v *VM) Status(ctx context.Context) (string, error) {
	answer, err := v.monitor.run(ctx, "query-status", nil)
	if err != nil {
		return "", err
	}
	var s struct{ Status string }
	if err := json.Unmarshal(answer, &s); err != nil {
		return "", fmt.Errorf("qmp query-status: %w", err)
	}
	return s.Status, nil
}

// Cont lets the CPUs run.
func (v *VM) Cont(ctx context.Context) error {
	_, err := v.monitor.run(ctx, "cont", nil)
	return err
}

// Powerdown presses the power button. A guest without an ACPI driver ignores it.
func (v *VM) Powerdown(ctx context.Context) error {
	_, err := v.monitor.run(ctx, "system_powerdown", nil)
	return err
}

// hostForward is a line of the HMP command "info usernet":
//
//	TCP[HOST_FORWARD]   3       127.0.0.1 41635       10.0.2.15    22     0     0
var hostForward = regexp.MustCompile(`TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+22\s`)

// SSHPort returns the loopback port that leads to port 22 of the guest, also
// where QEMU chose it.
func (v *VM) SSHPort(ctx context.Context) (int, error) {
	answer, err := v.monitor.run(ctx, "human-monitor-command", map[string]string{"command-line": "info usernet"})
	if err != nil {
		return 0, err
	}
	var text string
	if err := json.Unmarshal(answer, &text); err != nil {
		return 0, fmt.Errorf("qmp info usernet: %w", err)
	}
	m := hostForward.FindStringSubmatch(text)
	if m == nil {
		return 0, errors.New("qmp info usernet: no port leads to port 22 of the guest")
	}
	return strconv.Atoi(m[1])
}

// Screendump returns the screen as PNG. QEMU before 7.1, or built without
// libpng, gives PPM; it is converted here.
func (v *VM) Screendump(ctx context.Context) ([]byte, error) {
	dir, err := os.MkdirTemp("", "forensics-screen-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "screen")
	_, err = v.monitor.run(ctx, "screendump", map[string]string{"filename": path, "format": "png"})
	var refused *QMPError
	if errors.As(err, &refused) {
		_, err = v.monitor.run(ctx, "screendump", map[string]string{"filename": path})
	}
	if err != nil {
		return nil, err
	}
	return readScreen(path)
}

func readScreen(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxScreen+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxScreen {
		return nil, fmt.Errorf("screenshot: more than %d bytes", maxScreen)
	}
	if bytes.HasPrefix(b, []byte("\x89PNG\r\n\x1a\n")) {
		return b, nil
	}
	return ppmToPNG(b)
}

// ppmToPNG converts the binary PPM (P6, 8 bits, no comments) that QEMU writes;
// see netpbm's ppm(5).
func ppmToPNG(b []byte) ([]byte, error) {
	r := bufio.NewReader(bytes.NewReader(b))
	var width, height, depth int
	if _, err := fmt.Fscanf(r, "P6\n%d %d\n%d\n", &width, &height, &depth); err != nil {
		return nil, fmt.Errorf("screenshot: neither PNG nor PPM, offset 0: %w", err)
	}
	at := len(b) - r.Buffered()
	if width <= 0 || height <= 0 || depth != 255 || width > maxScreen/3/height || 3*width*height != len(b)-at {
		return nil, fmt.Errorf("screenshot: PPM of %d by %d, depth %d, has %d bytes of pixels from offset %d", width, height, depth, len(b)-at, at)
	}
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		p := b[at+3*i:]
		img.SetNRGBA(i%width, i/width, color.NRGBA{R: p[0], G: p[1], B: p[2], A: 255})
	}
	var out bytes.Buffer
	if err := png.Encode(&out, img); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
