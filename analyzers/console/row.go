package console

import "unicode/utf8"

// maxColumns is the width of a row. Text beyond it goes on in the next row
// without a gap.
const maxColumns = 16 << 10

// What a cell holds besides a character.
const (
	blank rune = 0  // nothing was printed here, or it was erased
	right rune = -1 // the right half of a wide character
)

type cell struct {
	r   rune
	off int32 // of the byte that printed it, from the line's start
}

// row is the terminal row that a piece is printed on, with the segments that
// are done.
type row struct {
	src   []byte // of the line
	base  int64  // raw offset of src
	cells []cell
	col   int
	gap   bool // a segment ended: a blank parts what follows
	out   []byte
	runs  []run
	// Budgets: cells that may still be filled with blanks, or moved.
	gaps, edits int
}

// begin clears the row for the next piece.
func (r *row) begin(src []byte, base int64) {
	r.src, r.base = src, base
	r.cells, r.col, r.gap = r.cells[:0], 0, false
	r.out, r.runs = r.out[:0], r.runs[:0]
	if len(src) > maxProper && cap(r.runs) < manyRuns {
		r.reserve()
	}
}

// reserve makes room for a line of many MB at once, rather than by growing:
// that needs both the old and the new room, twice as much.
func (r *row) reserve() {
	controls := 0
	for _, c := range r.src {
		if c < 0x20 {
			controls++
		}
	}
	r.runs = make([]run, 0, min(controls, len(r.src)/4)+manyRuns)
	if cap(r.out) < len(r.src) {
		r.out = make([]byte, 0, len(r.src))
	}
}

// earn adds to the budgets for n bytes that are read.
func (r *row) earn(n int) {
	r.gaps += 2 * n
	r.edits += 64 * n
}

// pay takes n from a budget and reports whether that was left.
func pay(budget *int, n int) bool {
	if n > *budget {
		return false
	}
	*budget -= n
	return true
}

// put prints c, which is w columns wide and stands at off.
func (r *row) put(c rune, off, w int) {
	if r.col+w > maxColumns {
		r.flush()
	}
	if n := r.col - len(r.cells); n > 0 {
		if !pay(&r.gaps, n) {
			n, r.col = 1, len(r.cells)+1
		}
		for range n {
			r.cells = append(r.cells, cell{blank, int32(off)})
		}
	}
	r.set(cell{c, int32(off)})
	if w == 2 {
		r.set(cell{right, int32(off)})
	}
	if r.col < len(r.cells) && r.cells[r.col].r == right {
		r.cells[r.col].r = blank
	}
}

// set overprints the cell under the cursor and moves right.
func (r *row) set(c cell) {
	if r.col == len(r.cells) {
		r.cells = append(r.cells, c)
	} else {
		r.split(c)
		r.cells[r.col] = c
	}
	r.col++
}

// split erases the left half of a wide character whose right half c replaces.
func (r *row) split(c cell) {
	if c.r != right && r.cells[r.col].r == right && r.col > 0 {
		r.cells[r.col-1].r = blank
	}
}

// move places the cursor.
func (r *row) move(col int) { r.col = min(max(col, 0), maxColumns-1) }

// tab moves to the next tab stop. The last column has none.
func (r *row) tab() {
	if r.col+8 >= maxColumns {
		r.segment()
		return
	}
	r.col = r.col/8*8 + 8
}

// erase blanks the cells from i up to j.
func (r *row) erase(i, j int) {
	i, j = max(i, 0), min(j, len(r.cells))
	if i >= j || !pay(&r.edits, j-i) {
		return
	}
	for k := i; k < j; k++ {
		r.cells[k].r = blank
	}
}

// cutAt drops the cells from i on.
func (r *row) cutAt(i int) {
	if i >= len(r.cells) {
		return
	}
	if r.cells[i].r == right && i > 0 {
		r.cells[i-1].r = blank
	}
	r.cells = r.cells[:i]
}

// insert makes room for n cells under the cursor.
func (r *row) insert(n int) {
	n = min(n, maxColumns-len(r.cells))
	if n <= 0 || r.col >= len(r.cells) || !pay(&r.edits, len(r.cells)-r.col+n) {
		return
	}
	off := r.cells[r.col].off
	r.cells = append(r.cells, make([]cell, n)...)
	copy(r.cells[r.col+n:], r.cells[r.col:])
	for k := r.col; k < r.col+n; k++ {
		r.cells[k] = cell{blank, off}
	}
}

// remove takes n cells out under the cursor.
func (r *row) remove(n int) {
	if r.col >= len(r.cells) || !pay(&r.edits, len(r.cells)-r.col) {
		return
	}
	end := min(r.col+n, len(r.cells))
	r.cells = append(r.cells[:r.col], r.cells[end:]...)
}

// segment ends what was printed so far: what follows stands elsewhere on the
// screen.
func (r *row) segment() {
	r.flush()
	r.gap = true
}

// flush adds the row to the text and starts an empty one.
func (r *row) flush() {
	n := len(r.cells)
	for n > 0 && r.cells[n-1].r == blank {
		n--
	}
	cells := r.cells[:n]
	r.cells, r.col = r.cells[:0], 0
	if n == 0 {
		return
	}
	if r.gap && len(r.out) > 0 && r.out[len(r.out)-1] != ' ' && cells[0].r != blank && cells[0].r != ' ' {
		r.emit(cell{blank, cells[0].off})
	}
	r.gap = false
	for i, c := range cells {
		if i > 0 && c.r >= ' ' && c.r < utf8.RuneSelf && cells[i-1].r >= ' ' && cells[i-1].r < utf8.RuneSelf && c.off == cells[i-1].off+1 {
			r.out = append(r.out, byte(c.r)) // the common case: the run goes on
			continue
		}
		r.emit(c)
	}
}

// emit adds one cell to the text, and to the runs where its byte is not the
// next one.
func (r *row) emit(c cell) {
	if c.r == right {
		return
	}
	text, raw := int32(len(r.out)), int32(r.base)+c.off
	step := uint8(1)
	switch {
	case c.r == blank:
		step = 0
		r.out = append(r.out, ' ')
	case c.r < utf8.RuneSelf:
		r.out = append(r.out, byte(c.r))
	default:
		r.out = utf8.AppendRune(r.out, c.r)
		if _, n := utf8.DecodeRune(r.src[c.off:]); n == 1 {
			step = uint8(len(r.out) - int(text))
		}
	}
	if n := len(r.runs); n > 0 && r.runs[n-1].continues(text, raw, step) {
		return
	}
	r.runs = append(r.runs, run{text, raw, step})
}

// continues reports whether a character at text and raw is the run's next.
func (r run) continues(text, raw int32, step uint8) bool {
	switch {
	case r.step != step:
		return false
	case step == 0:
		return r.raw == raw
	}
	return r.raw+(text-r.text)/int32(step) == raw
}

// finish returns the text of the row and all its segments. Both slices are the
// row's own.
func (r *row) finish() ([]byte, []run) {
	r.flush()
	return r.out, r.runs
}
