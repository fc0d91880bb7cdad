package iso

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"unicode/utf16"
)

// Partition is an entry of a partition table: a hybrid image has one, for
// firmware that finds the image on a disk and not on a CD. Its blocks are of
// 512 bytes, as on the disks that such images are written to.
type Partition struct {
	Table  string // "mbr" or "gpt"
	Index  int    // from 1, as tools count them
	Type   string // "0xEF", or a GUID: "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	Name   string // GPT only
	Start  int64  // byte of the image
	Length int64
}

// Types of the EFI system partition (UEFI 2.10, 5.2.2 and 5.3.3).
const (
	espMBR = "0xEF"
	espGPT = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
)

// EFI reports whether firmware looks for its loader there.
func (p Partition) EFI() bool { return p.Type == espMBR || p.Type == espGPT }

// Where tables stand, and how much of a GPT is read: the specification asks
// for room for 128 entries, xorriso makes 248.
const (
	block       = 512
	mbrAt       = 446
	gptAt       = block
	protective  = "0xEE"
	maxGPTCount = 1024
	maxGPTEntry = 4096
)

// partitions reads the MBR and the GPT; an image that is for CDs alone has
// neither. Left out: logical partitions, and Apple's map.
func (m *Image) partitions() {
	m.mbr()
	m.gpt()
	for _, p := range m.Partitions {
		over := p.Start > m.Size || p.Length > m.Size-p.Start
		if over && p.Type != protective { // which may be as long as any disk
			m.problem("%s partition %d: ends at byte %d, the image at %d", p.Table, p.Index, p.Start+p.Length, m.Size)
		}
	}
}

// mbr reads the four entries of a master boot record (UEFI 2.10, 5.2.1).
func (m *Image) mbr() {
	b := make([]byte, block)
	if m.read(b, 0) != nil || b[510] != 0x55 || b[511] != 0xAA {
		return
	}
	for i := range 4 {
		at := mbrAt + 16*i
		e := b[at : at+16]
		start, n := binary.LittleEndian.Uint32(e[8:]), binary.LittleEndian.Uint32(e[12:])
		if n == 0 {
			continue
		}
		if e[0]&0x7F != 0 {
			m.problem("mbr at byte %d: %#x is no status of a partition", at, e[0])
			continue
		}
		// Type 0 is not free here: isohybrid gives it to the whole image.
		m.Partitions = append(m.Partitions, Partition{Table: "mbr", Index: i + 1, Type: fmt.Sprintf("0x%02X", e[4]),
			Start: int64(start) * block, Length: int64(n) * block})
	}
}

// gpt reads the table at the start, else its copy at the end. One whose
// checksum is wrong is none, as for firmware.
func (m *Image) gpt() {
	last := (m.Size/block - 1) * block
	for _, at := range []int64{gptAt, last} {
		h, err := m.gptHeader(at)
		if errors.Is(err, errNoGPT) {
			if at == gptAt {
				return // an image without one: nobody looks at its end
			}
			m.problem("gpt: %v", err)
			return
		}
		var ps []Partition
		if err == nil {
			ps, err = m.gptEntries(h)
		}
		if err != nil {
			m.problem("gpt: %v", err)
			continue
		}
		m.Partitions = append(m.Partitions, ps...)
		if at == gptAt && h.copyAt != last {
			m.problem("gpt: its copy is to stand at byte %d, the last block of the image is at %d", h.copyAt, last)
		}
		return
	}
}

// gptHeader is what is read of a header (UEFI 2.10, 5.3.2).
type gptHeader struct {
	copyAt      int64 // of the other header
	entries     int64 // byte of the array
	count, size int64
	sum         uint32
}

var errNoGPT = errors.New("no header")

func (m *Image) gptHeader(at int64) (gptHeader, error) {
	b := make([]byte, block)
	if m.read(b, at) != nil || string(b[:8]) != "EFI PART" {
		return gptHeader{}, fmt.Errorf("byte %d: %w", at, errNoGPT)
	}
	u32 := func(off int) int64 { return int64(binary.LittleEndian.Uint32(b[off:])) }
	n, sum := u32(12), uint32(u32(16))
	if n < 92 || n > block {
		return gptHeader{}, fmt.Errorf("byte %d: a header of %d bytes", at+12, n)
	}
	clear(b[16:20])
	if crc32.ChecksumIEEE(b[:n]) != sum {
		return gptHeader{}, fmt.Errorf("byte %d: the header's checksum is wrong", at+16)
	}
	h := gptHeader{count: u32(80), size: u32(84), sum: uint32(u32(88))}
	if h.count > maxGPTCount || h.size < 128 || h.size > maxGPTEntry {
		return gptHeader{}, fmt.Errorf("byte %d: %d entries of %d bytes are not read", at+80, h.count, h.size)
	}
	var err error
	if h.copyAt, err = blocks(b, 32, at); err != nil {
		return h, err
	}
	h.entries, err = blocks(b, 72, at)
	return h, err
}

// blocks is the byte where the block begins whose number stands at off of b,
// which itself is at the byte at.
func blocks(b []byte, off int, at int64) (int64, error) {
	n := binary.LittleEndian.Uint64(b[off:])
	if n > 1<<50 {
		return 0, fmt.Errorf("byte %d: no disk has a block %d", at+int64(off), n)
	}
	return int64(n) * block, nil
}

func (m *Image) gptEntries(h gptHeader) ([]Partition, error) {
	b := make([]byte, h.count*h.size)
	if err := m.read(b, h.entries); err != nil {
		return nil, fmt.Errorf("entries: %w", err)
	}
	if crc32.ChecksumIEEE(b) != h.sum {
		return nil, fmt.Errorf("byte %d: the checksum of the entries is wrong", h.entries)
	}
	var ps []Partition
	for i := range int(h.count) {
		off := i * int(h.size)
		e := b[off : off+int(h.size)]
		if string(e[:16]) == strings.Repeat("\x00", 16) {
			continue
		}
		at := h.entries + int64(off)
		start, err := blocks(e, 32, at)
		if err != nil {
			return nil, err
		}
		last, err := blocks(e, 40, at)
		if err != nil {
			return nil, err
		}
		if last < start {
			return nil, fmt.Errorf("byte %d: partition %d ends before it starts", at+40, i+1)
		}
		ps = append(ps, Partition{Table: "gpt", Index: i + 1, Type: guid(e), Name: utf16Name(e[56:128]), Start: start, Length: last - start + block})
	}
	return ps, nil
}

// guid writes a GUID, whose first three fields are little-endian.
func guid(b []byte) string {
	return fmt.Sprintf("%08X-%04X-%04X-%X-%X", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

func utf16Name(b []byte) string {
	var u []uint16
	for i := 0; i+1 < len(b); i += 2 {
		c := binary.LittleEndian.Uint16(b[i:])
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}
