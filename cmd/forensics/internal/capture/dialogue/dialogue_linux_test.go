package dialogue

import (
	"context"
	"testing"
	"time"
)

// patience is far more than any case needs: a busy machine is no failure.
const patience = 3 * time.Minute

func TestRunPlain(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m := terminal(t, nil, "bash", "--norc", "-i")
	d := New(m)
	a, err := d.Login(ctx, Options{})
	if err != nil {
		t.Fatal(a, err, d.Last())
	}
	if err := d.Quiet(ctx); err != nil {
		data, _ := d.tape.since(0)
		t.Fatalf("%v\n%q", err, data)
	}
	t.Log(d.levels)
	b, err := d.Run(ctx, "echo out; echo err >&2; exit 3", RunOptions{Label: "first"})
	data, _ := d.tape.since(0)
	t.Logf("%+v %v %s", b, err, data)
	h, err := d.Root(ctx)
	t.Log(h, err)
	if err := d.Leave(ctx); err != nil {
		t.Fatal(err)
	}
}
