package iso

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const basicData = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"

var wantPartitions = map[string][]Partition{
	"hybrid.iso": {
		{"mbr", 1, "0x00", "", 0, 1048576},
		{"mbr", 2, "0xEF", "", 69632, 40960},
		{"gpt", 1, basicData, "ISOHybrid", 0, 1015808},
		{"gpt", 2, basicData, "ISOHybrid1", 69632, 40960},
	},
	"usb.iso": {
		{"mbr", 1, "0x17", "", 0, 1048576},
		{"mbr", 2, "0xEF", "", 1048576, 40960},
	},
	"gpt.iso": {
		{"mbr", 1, "0xEE", "", 512, 181760},
		{"gpt", 1, basicData, "ISO9660", 32768, 75776},
		{"gpt", 2, espGPT, "Appended2", 108544, 40960},
	},
}

func TestPartitions(t *testing.T) {
	for name, data := range images(t) {
		m := open(t, data)
		if d := cmp.Diff(wantPartitions[name], m.Partitions); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
		for _, p := range m.Problems {
			t.Errorf("%s: %s", name, p)
		}
	}
}

// TestESP: the partition that El Torito does not know is read as FAT.
func TestESP(t *testing.T) {
	for _, name := range []string{"usb.iso", "gpt.iso"} {
		m := open(t, images(t)[name])
		n := 0
		for _, p := range m.Partitions {
			if !p.EFI() {
				continue
			}
			n++
			if v := m.fat(BootEntry{Start: p.Start}); v == nil || !v.has("/EFI/BOOT/grub.cfg") {
				t.Errorf("%s: partition %d is no volume with a configuration", name, p.Index)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d EFI system partitions", name, n)
		}
	}
}

// writeImages puts the test images into a directory, for outside tools.
func writeImages(t *testing.T, tool string) map[string]string {
	t.Helper()
	if _, err := exec.LookPath(tool); err != nil {
		t.Skip("no " + tool)
	}
	dir, files := t.TempDir(), map[string]string{}
	for name, data := range images(t) {
		files[name] = filepath.Join(dir, name)
		if err := os.WriteFile(files[name], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// TestSfdisk: sfdisk shows the GPT where the MBR is protective, else the MBR.
func TestSfdisk(t *testing.T) {
	for name, file := range writeImages(t, "sfdisk") {
		out, err := exec.Command("sfdisk", "-J", file).Output()
		if len(wantPartitions[name]) == 0 {
			if err == nil {
				t.Errorf("%s: sfdisk finds a table: %s", name, out)
			}
			continue
		}
		var is struct {
			Table struct {
				Label      string
				Partitions []struct {
					Node, Type, Name string
					Start, Size      int64
				}
			} `json:"partitiontable"`
		}
		if err := json.Unmarshal(out, &is); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		table := map[string]string{"dos": "mbr", "gpt": "gpt"}[is.Table.Label]
		var want, got []Partition
		for _, p := range is.Table.Partitions {
			i, err := strconv.Atoi(strings.TrimPrefix(p.Node, file))
			if err != nil {
				t.Fatal(err)
			}
			if table == "mbr" {
				n, err := strconv.ParseUint(p.Type, 16, 8)
				if err != nil {
					t.Fatal(err)
				}
				p.Type = fmt.Sprintf("0x%02X", n)
			}
			want = append(want, Partition{table, i, p.Type, p.Name, p.Start * block, p.Size * block})
		}
		for _, p := range open(t, images(t)[name]).Partitions {
			if p.Table == table {
				got = append(got, p)
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -sfdisk +ours\n%s", name, d)
		}
	}
}

// What xorriso says of both tables, numbers in blocks.
var (
	xorrisoMBRRe = regexp.MustCompile(`(?m)^MBR partition      : +(\d) +0x.. +0x(..) +(\d+) +(\d+)$`)
	xorrisoGPTRe = regexp.MustCompile(`(?m)^GPT start and size : +(\d+) +(\d+) +(\d+)$`)
)

// TestXorrisoPartitions: both tables of a hybrid image, of which sfdisk shows
// only one.
func TestXorrisoPartitions(t *testing.T) {
	for name, file := range writeImages(t, "xorriso") {
		out, err := exec.Command("xorriso", "-indev", file, "-report_system_area", "plain").Output()
		if err != nil {
			t.Fatal(err)
		}
		var want, got []string
		for _, x := range xorrisoMBRRe.FindAllStringSubmatch(string(out), -1) {
			want = append(want, fmt.Sprintf("mbr %s %s %s 0x%s", x[1], x[3], x[4], strings.ToUpper(x[2])))
		}
		for _, x := range xorrisoGPTRe.FindAllStringSubmatch(string(out), -1) {
			want = append(want, fmt.Sprintf("gpt %s %s %s", x[1], x[2], x[3]))
		}
		for _, p := range open(t, images(t)[name]).Partitions {
			line := fmt.Sprintf("%s %d %d %d", p.Table, p.Index, p.Start/block, p.Length/block)
			if p.Table == "mbr" {
				line += " " + p.Type
			}
			got = append(got, line)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -xorriso +ours\n%s", name, d)
		}
	}
}

// resum writes the checksum of a GPT header again.
func resum(img []byte, at int) {
	h := img[at : at+92]
	clear(h[16:20])
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h))
}

// TestPartitionsDamaged: what is said of a bad table names the byte.
func TestPartitionsDamaged(t *testing.T) {
	gpt, usb := images(t)["gpt.iso"], images(t)["usb.iso"]
	array := int(binary.LittleEndian.Uint64(gpt[block+72:])) * block
	end := len(gpt) - block
	for _, c := range []struct {
		name    string
		img     []byte
		edit    func(b []byte) []byte
		n       int // partitions of the GPT, of the MBR where it has none
		problem []string
	}{
		{"a wrong header, and its copy", gpt, func(b []byte) []byte { b[block+40]++; return b }, 2,
			[]string{"gpt: byte 528: the header's checksum is wrong"}},
		{"wrong entries, and their copy", gpt, func(b []byte) []byte { b[array+56]++; return b }, 2,
			[]string{fmt.Sprintf("gpt: byte %d: the checksum of the entries is wrong", array)}},
		{"both headers wrong", gpt, func(b []byte) []byte { b[block+40]++; b[end+40]++; return b }, 0,
			[]string{"gpt: byte 528: the header's checksum is wrong", fmt.Sprintf("gpt: byte %d: the header's checksum is wrong", end+16)}},
		{"no copy", gpt, func(b []byte) []byte { b[block+40]++; clear(b[end:]); return b }, 0,
			[]string{"gpt: byte 528: the header's checksum is wrong", fmt.Sprintf("gpt: byte %d: no header", end)}},
		{"cut by a block", gpt, func(b []byte) []byte { return b[:end] }, 2,
			[]string{fmt.Sprintf("gpt: its copy is to stand at byte %d, the last block of the image is at %d", end, end-block)}},
		{"cut within a partition", gpt, func(b []byte) []byte { return b[:108544+512] }, 2,
			[]string{fmt.Sprintf("gpt: its copy is to stand at byte %d, the last block of the image is at 108544", end),
				"gpt partition 2: ends at byte 149504, the image at 109056"}},
		{"too many entries", gpt, func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[block+80:], 1<<32-1)
			resum(b, block)
			clear(b[end:])
			return b
		}, 0, []string{"gpt: byte 592: 4294967295 entries of 128 bytes are not read", fmt.Sprintf("gpt: byte %d: no header", end)}},
		{"entries at 2^63", gpt, func(b []byte) []byte {
			binary.LittleEndian.PutUint64(b[block+72:], 1<<63)
			resum(b, block)
			clear(b[end:])
			return b
		}, 0, []string{"gpt: byte 584: no disk has a block 9223372036854775808", fmt.Sprintf("gpt: byte %d: no header", end)}},
		{"entries beyond the image", gpt, func(b []byte) []byte {
			binary.LittleEndian.PutUint64(b[block+72:], 1<<40)
			resum(b, block)
			clear(b[end:])
			return b
		}, 0, []string{"gpt: entries: byte 562949953421312: beyond the end of the image: unexpected EOF", fmt.Sprintf("gpt: byte %d: no header", end)}},
		{"a header of 4 GiB", gpt, func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b[block+12:], 1<<32-1)
			clear(b[end:])
			return b
		}, 0, []string{"gpt: byte 524: a header of 4294967295 bytes", fmt.Sprintf("gpt: byte %d: no header", end)}},
		{"no signature", usb, func(b []byte) []byte { b[511] = 0; return b }, 0, nil},
		{"code in place of entries", usb, func(b []byte) []byte { b[446] = 0x33; return b }, 1, []string{"mbr at byte 446: 0x33 is no status of a partition"}},
		{"cut within the volume", usb, func(b []byte) []byte { return b[:1048576+100] }, 2, []string{"mbr partition 2: ends at byte 1089536, the image at 1048676"}},
		{"a partition of 2 TiB", usb, func(b []byte) []byte { binary.LittleEndian.PutUint32(b[462+12:], 1<<32-1); return b }, 2,
			[]string{"mbr partition 2: ends at byte 2199024303616, the image at 1089536"}},
	} {
		data := c.edit(bytes.Clone(c.img))
		m := open(t, data)
		n := 0
		for _, p := range m.Partitions {
			if p.Type != protective {
				n++
			}
		}
		if n != c.n {
			t.Errorf("%s: %d partitions: %+v", c.name, n, m.Partitions)
		}
		var got []string
		for _, p := range m.Problems {
			if !strings.HasPrefix(p, "truncated: ") {
				got = append(got, p)
			}
		}
		if d := cmp.Diff(c.problem, got); d != "" {
			t.Errorf("%s: -want +got\n%s", c.name, d)
		}
	}
}

// FuzzPartitions puts tables of any bytes before and behind a volume; their
// checksums are made right if asked, since no fuzzer finds them.
func FuzzPartitions(f *testing.F) {
	const head = 16 * sector
	for _, name := range []string{"hybrid.iso", "usb.iso", "gpt.iso"} {
		data := images(f)[name]
		f.Add(data[:head], data[len(data)-block:], true)
	}
	f.Fuzz(func(t *testing.T, first, last []byte, right bool) {
		m := &Image{Tree: newTree(nil, 0)}
		img := make([]byte, head, 2*head)
		copy(img, first)
		img = append(img, last...)
		if right {
			for _, at := range []int{block, (len(img)/block - 1) * block} {
				count, size := binary.LittleEndian.Uint32(img[at+80:]), binary.LittleEndian.Uint32(img[at+84:])
				start, n := binary.LittleEndian.Uint64(img[at+72:]), uint64(count)*uint64(size)
				if start < 1<<20 && n < 1<<20 && int(start)*block+int(n) <= len(img) {
					binary.LittleEndian.PutUint32(img[at+88:], crc32.ChecksumIEEE(img[int(start)*block:][:n]))
				}
				binary.LittleEndian.PutUint32(img[at+12:], 92)
				resum(img, at)
			}
		}
		m.Tree = newTree(bytes.NewReader(img), int64(len(img)))
		m.partitions()
		checkPartitions(t, m)
	})
}

func checkPartitions(t *testing.T, m *Image) {
	t.Helper()
	if len(m.Partitions) > 4+maxGPTCount {
		t.Errorf("%d partitions", len(m.Partitions))
	}
	for _, p := range m.Partitions {
		if p.Start < 0 || p.Length <= 0 || p.Start+p.Length < p.Start || p.Index < 1 {
			t.Errorf("%+v", p)
		}
	}
}

// TestPartitionsFlipped: damaged tables, with right checksums half the time.
func TestPartitionsFlipped(t *testing.T) {
	rnd := rand.New(rand.NewSource(1))
	data := images(t)["gpt.iso"]
	for i := range flips() {
		bad := bytes.Clone(data)
		for range 1 + rnd.Intn(10) {
			bad[mbrAt+rnd.Intn(2*block)] = byte(rnd.Intn(256))
		}
		if i%2 == 0 {
			resum(bad, block)
		}
		m := &Image{Tree: newTree(bytes.NewReader(bad), int64(len(bad)))}
		m.partitions()
		checkPartitions(t, m)
	}
}
