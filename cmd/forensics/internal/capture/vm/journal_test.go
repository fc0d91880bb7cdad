package vm

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFrame(t *testing.T) {
	tr := Transfer{"0123456789abcdef0123456789abcdef"}
	begin, end := beginMark+tr.token+"\n", endMark+tr.token+" "
	sum := strings.Repeat("ab", 32)
	tests := []struct {
		name, in, want string
		status         int
		sent, err      string
	}{
		{"plain", begin + "x" + end + "0 " + sum + "\n", "x", 0, sum, ""},
		{"behind others", "rest of an old one" + endMark + "00 0 \n" + begin + "x" + end + "3 \n", "x", 3, "", ""},
		{"no status", begin + end + " \n", "", -1, "", ""},
		{"binary", begin + "\x00\xff\n\n" + end + "0 \n", "\x00\xff\n\n", 0, "", ""},
		{"own begin inside", begin + begin + end + "0 \n", begin, 0, "", ""},
		{"nothing", "", "", -1, "", "no start: unexpected EOF"},
		{"no begin", "x" + end + "0 \n", "", -1, "", "no start: unexpected EOF"},
		{"cut", begin + "half", "half", -1, "", "unexpected EOF"},
		{"cut in the mark", begin + "half" + end[:20], "half" + end[:20], -1, "", "unexpected EOF"},
		{"cut in the trailer", begin + "all" + end + "0", "all", -1, "", "in the end mark: unexpected EOF"},
		{"short sum", begin + end + "0 abcd\n", "", 0, "", `the end mark has no SHA-256 but "abcd"`},
		{"sha256sum said else", begin + end + "0 sh: sha256sum: not found\n", "", 0, "", `the end mark has no SHA-256 but "sh: sha256sum: not found"`},
	}
	for _, test := range tests {
		for name, r := range map[string]io.Reader{
			"whole": strings.NewReader(test.in), "bytewise": iotest.OneByteReader(strings.NewReader(test.in)), "half": iotest.HalfReader(strings.NewReader(test.in)),
		} {
			var b bytes.Buffer
			status, sent, err := tr.copy(&b, bufio.NewReaderSize(r, 64))
			if b.String() != test.want || status != test.status || sent != test.sent || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
				t.Errorf("%s, %s: %q, status %d, sum %q, %v", test.name, name, b.String(), status, sent, err)
			}
		}
	}
}

// TestReadError: an error of the socket is not taken for an end.
func TestReadError(t *testing.T) {
	tr := NewTransfer()
	in := io.MultiReader(strings.NewReader(beginMark+tr.token+"\nx"), iotest.ErrReader(io.ErrClosedPipe))
	var b bytes.Buffer
	if _, _, err := tr.copy(&b, bufio.NewReader(in)); !errors.Is(err, io.ErrClosedPipe) || b.String() != "x" {
		t.Errorf("%q, %v", b.String(), err)
	}
}

func TestTokens(t *testing.T) {
	a, b := NewTransfer(), NewTransfer()
	if a.token == b.token || len(a.token) != 32 {
		t.Errorf("%q, %q", a.token, b.token)
	}
}

// FuzzFrame: any bytes that do not hold the end mark come out as they went in.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("__CURSOR=s=1;i=2\n_BOOT_ID=3\nMESSAGE\n\x04\x00\x00\x00\x00\x00\x00\x00a\nb\x00\n\n"), []byte("garbage before"), uint8(3))
	f.Add([]byte("\n\nFORENSICS-END 0123\nFORENSICS-END "), []byte("FORENSICS-BEGIN 0"), uint8(1))
	f.Fuzz(func(t *testing.T, payload, before []byte, size uint8) {
		tr := Transfer{"0123456789abcdef0123456789abcdef"}
		if bytes.Contains(append(append([]byte(nil), payload...), '\n'), []byte(tr.token)) || bytes.Contains(before, []byte(tr.token)) {
			t.Skip("the token is random")
		}
		in := string(before) + beginMark + tr.token + "\n" + string(payload) + endMark + tr.token + " 4 \nrest"
		r := bufio.NewReaderSize(iotest.HalfReader(strings.NewReader(in)), 64+int(size))
		var b bytes.Buffer
		status, _, err := tr.copy(&b, r)
		if err != nil || status != 4 || !bytes.Equal(b.Bytes(), payload) {
			t.Errorf("%q: %q, %d, %v", payload, b.Bytes(), status, err)
		}
		if rest, _ := io.ReadAll(r); string(rest) != "rest" {
			t.Errorf("left %q", rest)
		}
	})
}
