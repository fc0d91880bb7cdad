package show

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Command writes an argument vector as its parts: the program, then an option a
// line, then each part of the option's value, indented. A comma parts values; a
// doubled one belongs to the value (QEMU, docs: "Blockdev and drive options").
func Command(w io.Writer, argv []string) error {
	b := bufio.NewWriter(w)
	for i := 0; i < len(argv); i++ {
		a := argv[i]
		if i == 0 || !strings.HasPrefix(a, "-") {
			fmt.Fprintln(b, visible(a))
			continue
		}
		fmt.Fprintf(b, "  %s\n", visible(a))
		if i+1 < len(argv) && !strings.HasPrefix(argv[i+1], "-") {
			i++
			for _, p := range parts(argv[i]) {
				fmt.Fprintf(b, "      %s\n", visible(p))
			}
		}
	}
	return b.Flush()
}

// parts splits at single commas.
func parts(value string) []string {
	const doubled = "\x00"
	ps := strings.Split(strings.ReplaceAll(value, ",,", doubled), ",")
	for i := range ps {
		ps[i] = strings.ReplaceAll(ps[i], doubled, ",")
	}
	return ps
}
