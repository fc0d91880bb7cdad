package iso

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/kdomanski/iso9660"
)

// sector is the logical sector of ECMA-119; images use blocks of that size.
const sector = 2048

// Where the volume descriptors stand (ECMA-119, 6.2.1), and how many are
// looked at: an image has three or four.
const (
	firstDescriptor = 16
	maxDescriptors  = 32
)

// Image is an ISO 9660 image as a tree.
type Image struct {
	Label  string // volume identifier of the primary descriptor
	Volume int64  // size that the primary descriptor gives
	Boot   []BootEntry
	// Partitions are those of the MBR, then those of the GPT.
	Partitions []Partition
	Tree

	fats    map[int64]*fat // by where they start; nil for what is none
	catalog int64          // sector of the boot catalogue, 0 for none
	bootAt  int64          // byte of the boot record's identifier
	primary iso9660.DirectoryEntry
	joliet  *iso9660.DirectoryEntry
}

// BootEntry is a bootable entry of the El Torito catalogue.
type BootEntry struct {
	Platform byte // 0: 80x86, 0xEF: EFI
	Start    int64
	Sectors  int // of 512 bytes that the firmware loads
}

var errNoISO = errors.New("no ISO 9660 volume descriptor")

// Open reads the descriptors, the boot catalogue and the tree of an image of
// the given size. It fails when there is no tree at all; anything less is a
// problem of the image returned.
func Open(r io.ReaderAt, size int64) (*Image, error) {
	m := &Image{Tree: newTree(r, size), fats: map[int64]*fat{}}
	if err := m.descriptors(); err != nil {
		return nil, err
	}
	w := &walk{Image: m, dirs: map[int64]bool{}, budget: min(size, maxDirBytes)}
	w.tree()
	m.index()
	if m.catalog > 0 {
		m.elTorito()
	}
	m.partitions()
	if cut := m.Volume - size; cut > 0 {
		m.problem("truncated: the volume has %d bytes, the image ends %d before", m.Volume, cut)
	}
	return m, nil
}

// descriptors reads the volume descriptors.
func (m *Image) descriptors() error {
	found := false
	for i := int64(firstDescriptor); i < firstDescriptor+maxDescriptors; i++ {
		d := make([]byte, sector)
		if err := m.read(d, i*sector); err != nil || string(d[1:6]) != "CD001" {
			break
		}
		switch d[0] {
		case 0:
			m.bootRecord(d, i*sector)
		case 1:
			if root, err := record(d[156:190]); err == nil && !found {
				found, m.primary = true, root
				m.Label = strings.TrimRight(string(d[40:72]), " \x00")
				m.Volume = int64(binary.LittleEndian.Uint32(d[80:])) * sector
			}
		case 2:
			if esc := string(d[88:91]); esc == "%/@" || esc == "%/C" || esc == "%/E" { // Joliet, levels 1 to 3
				if root, err := record(d[156:190]); err == nil {
					m.joliet = &root
				}
			}
		case 255:
			i = firstDescriptor + maxDescriptors
		}
	}
	if !found {
		return fmt.Errorf("byte %d: %w", firstDescriptor*sector, errNoISO)
	}
	return nil
}

// elToritoID is what the boot system identifier says (El Torito 1.0, figure 7).
const elToritoID = "EL TORITO SPECIFICATION"

func (m *Image) bootRecord(d []byte, at int64) {
	var b iso9660.BootVolumeDescriptorBody
	if b.UnmarshalBinary(d) != nil || !strings.HasPrefix(b.BootSystemIdentifier, elToritoID) {
		return
	}
	m.catalog = int64(binary.LittleEndian.Uint32(b.BootSystemUse[:]))
	m.bootAt = at + 7
}

// elTorito reads the boot catalogue: a validation entry, the default entry,
// then sections with a header each.
func (m *Image) elTorito() {
	c := make([]byte, sector)
	if err := m.read(c, m.catalog*sector); err != nil {
		m.problem("boot catalogue: %v", err)
		return
	}
	if c[0] != 1 || c[30] != 0x55 || c[31] != 0xAA {
		m.problem("boot catalogue at byte %d: no validation entry", m.catalog*sector)
		return
	}
	platform := c[1]
	m.bootEntry(c[32:64], platform)
	for at := 64; at+32 <= len(c); {
		head := c[at : at+32]
		if head[0] != 0x90 && head[0] != 0x91 {
			return
		}
		n := int(binary.LittleEndian.Uint16(head[2:]))
		at += 32
		for ; n > 0 && at+32 <= len(c); at += 32 {
			if c[at] == 0x44 { // extension of the entry before
				continue
			}
			m.bootEntry(c[at:at+32], head[1])
			n--
		}
		if head[0] == 0x91 {
			return
		}
	}
}

// maxBoot bounds the entries of a catalogue.
const maxBoot = 16

func (m *Image) bootEntry(e []byte, platform byte) {
	if e[0] != 0x88 || len(m.Boot) >= maxBoot {
		return // not bootable
	}
	m.Boot = append(m.Boot, BootEntry{
		Platform: platform,
		Sectors:  int(binary.LittleEndian.Uint16(e[6:])),
		Start:    int64(binary.LittleEndian.Uint32(e[8:])) * sector,
	})
}

// record decodes one directory record. The library insists that both byte
// orders and the date be right; a reader can do without, so they are made so.
func record(b []byte) (iso9660.DirectoryEntry, error) {
	var de iso9660.DirectoryEntry
	if len(b) < 34 || int(b[0]) > len(b) || b[0] < 34 || 33+int(b[32]) > int(b[0]) {
		return de, errors.New("a directory record is damaged")
	}
	c := bytes.Clone(b[:b[0]])
	if int(c[32])%2 == 0 && 34+int(c[32]) > len(c) { // no room for the padding byte
		c = append(c, 0)
		c[0]++
		if c[0] == 0 {
			return de, errors.New("a directory record is damaged")
		}
	}
	for _, both := range []int{2, 10} {
		binary.BigEndian.PutUint32(c[both+4:], binary.LittleEndian.Uint32(c[both:]))
	}
	at := recorded(c[18:25])
	copy(c[18:25], []byte{70, 1, 1, 0, 0, 0, 0})
	binary.BigEndian.PutUint16(c[30:], binary.LittleEndian.Uint16(c[28:]))
	err := de.UnmarshalBinary(c)
	de.RecordingDateTime = iso9660.RecordingTimestamp(at)
	return de, err
}

// recorded is the date of a directory record (ECMA-119, 9.1.5), zero where it
// is none. The library takes the zone, in quarters of an hour, for unsigned.
func recorded(b []byte) time.Time {
	return date(1900+int(b[0]), int(b[1]), int(b[2]), int(b[3]), int(b[4]), int(b[5]), 0, int8(b[6]))
}

// date is the time of a date whose zone is in quarters of an hour; zero where
// there is no such date, so that 31 February is none.
func date(year, month, day, hour, minute, second, hundredth int, zone int8) time.Time {
	if month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 || zone < -48 || zone > 52 {
		return time.Time{}
	}
	east := time.FixedZone("", int(zone)*15*60)
	if t := time.Date(year, time.Month(month), day, hour, minute, second, hundredth*1e7, east); t.Day() == day {
		return t.UTC()
	}
	return time.Time{}
}

// ucs2 decodes a Joliet name.
func ucs2(s string) string {
	u := make([]uint16, 0, len(s)/2)
	for i := 0; i+1 < len(s); i += 2 {
		u = append(u, uint16(s[i])<<8|uint16(s[i+1]))
	}
	return string(utf16.Decode(u))
}
