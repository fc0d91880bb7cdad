package native

import "io"

// page is the unit of reading. Entries refer to data all over the file, so
// that larger pages would mostly read what nobody looks at.
const page = 16 << 10

// window gives the bytes of a file through a cache of pages, each of which has
// one place.
type window struct {
	r     io.ReaderAt
	size  uint64
	pages []cached
	big   []byte // holds what spans pages
	err   error  // the first failure to read
}

type cached struct {
	number uint64 // +1
	data   []byte
}

func newWindow(r io.ReaderAt, size int64, cache int) window {
	return window{r: r, size: uint64(max(size, 0)), pages: make([]cached, max(cache/page, 4))}
}

// view returns n bytes at offset at, nil when the file does not have them. They
// are valid until the next view.
func (w *window) view(at, n uint64) []byte {
	if at > w.size || n > w.size-at || w.err != nil {
		return nil
	}
	if at/page == (at+n)/page || n == 0 {
		p := w.page(at / page)
		if p == nil {
			return nil
		}
		return p[at%page:][:n:n]
	}
	if uint64(cap(w.big)) < n {
		w.big = make([]byte, n, n+n/4)
	}
	w.big = w.big[:n]
	if n > 4*page {
		if _, err := w.r.ReadAt(w.big, int64(at)); err != nil && err != io.EOF {
			w.err = err
			return nil
		}
		return w.big
	}
	for done := uint64(0); done < n; {
		p := w.page((at + done) / page)
		if p == nil {
			return nil
		}
		done += uint64(copy(w.big[done:], p[(at+done)%page:]))
	}
	return w.big
}

// page returns page i, which the file has.
func (w *window) page(i uint64) []byte {
	c := &w.pages[i%uint64(len(w.pages))]
	if c.number == i+1 {
		return c.data
	}
	if c.data == nil {
		c.data = make([]byte, page)
	}
	c.number = 0
	n := min(page, w.size-i*page)
	c.data = c.data[:n]
	if got, err := w.r.ReadAt(c.data, int64(i*page)); uint64(got) < n {
		if err == io.EOF || err == nil {
			err = io.ErrUnexpectedEOF
		}
		w.err = err
		return nil
	}
	c.number = i + 1
	return c.data
}
