package dialogue

import (
	"flag"
	"os"
	"testing"
)

// TestMain lets many guests run side by side: they mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f != nil {
		_ = f.Value.Set("16")
	}
	os.Exit(m.Run())
}
