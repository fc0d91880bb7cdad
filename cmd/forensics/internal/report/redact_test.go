package report

import (
	"strings"
	"testing"
)

// Each rule has a text that it changes and one that nearly matches. The
// secrets are made up, and put together here so that no scanner of
// repositories takes them for real ones.
var redactTests = []struct{ rule, in, want string }{
	{"private key", "-----BEGIN RSA PRIVATE KEY----- MIIEow -----END RSA PRIVATE KEY----- ok", "-----BEGIN RSA PRIVATE KEY----- [redacted] -----END RSA PRIVATE KEY----- ok"},
	{"private key", "-----BEGIN OPENSSH PRIVATE KEY----- abcd", "-----BEGIN OPENSSH PRIVATE KEY----- [redacted] "},
	{"private key", "-----BEGIN PUBLIC KEY----- MIIEow", ""},
	{"private key body", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU", "[redacted]"},
	{"private key body", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx user@host", ""},
	{"key line", strings.Repeat("Ab3/", 16), "[redacted]"},
	{"key line", strings.Repeat("Ab3/x", 14), "[redacted]"},
	{"key line", strings.Repeat("Ab3/", 15), ""},
	{"key line", strings.Repeat("ab34", 16), ""}, // SHA-256
	{"age key", "AGE-SECRET-KEY-1" + strings.Repeat("QP", 20), "[redacted]"},
	{"age key", "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p", ""},
	{"nix signing key", "cache.example.org-1:" + strings.Repeat("a", 86) + "==", "cache.example.org-1:[redacted]"},
	{"nix signing key", "cache.example.org-1:" + strings.Repeat("a", 43) + "=", ""},
	{"nix access tokens", "access-tokens = github.com=abc gitlab.com=def", "access-tokens = [redacted]"},
	{"nix access tokens", `--option access-tokens "github.com=abc"`, "--option access-tokens [redacted]"},
	{"nix access tokens", "warning: unknown setting access-tokens in nix.conf", ""},
	{"password hash", "root:$6$salt$abcdefghijk.lmn/op:19000::::", "root:[redacted]:19000::::"},
	{"password hash", "root:$y$j9T$abcdefghijklmnop:19000", "root:[redacted]:19000"},
	{"password hash", "awk '{print $1$2}' and $6$7", ""},
	{"URL credentials", "fetching https://me:hunter2@example.org/x", "fetching https://me:[redacted]@example.org/x"},
	{"URL credentials", "http://example.org:8080/x and git@example.org:repo", ""},
	{"URL token", "https://" + strings.Repeat("a1", 12) + "@example.org/r.git", "https://[redacted]@example.org/r.git"},
	{"URL token", "ssh://git@example.org/r.git", ""},
	{"token", "using ghp_" + strings.Repeat("aB3", 12) + " now", "using [redacted] now"},
	{"token", "ghp_short and disk-by-id sk-learn", ""},
	{"cloud key", "AKIA" + strings.Repeat("AB12", 4), "[redacted]"},
	{"cloud key", "AKIA is a prefix", ""},
	{"JSON web token", "netrc eyJ" + strings.Repeat("a", 20) + "." + strings.Repeat("b", 20) + ".c", "netrc [redacted]"},
	{"JSON web token", "eyJust a word.", ""},
	{"authorization", "authorization: Bearer abc.def", "authorization: Bearer [redacted]"},
	{"authorization", "authorization: none of your business", ""},
	{"assignment", "export ROOT_PASSWORD=hunter2 LANG=C", "export ROOT_PASSWORD=[redacted] LANG=C"},
	{"assignment", `{"password": "hunter 2", "user": "x"}`, `{"password": [redacted], "user": "x"}`},
	{"assignment", "PrivateKey = YWJjZGVm", "PrivateKey = [redacted]"},
	{"assignment", "PasswordAuthentication=no", ""},
	{"assignment", "passwordFile=/run/keys/x", ""},
	{"assignment", "Password: ", ""},
	{"assignment", "systemd-ask-password-console.path", ""},
	{"option", "tool --password hunter2 --quiet", "tool --password [redacted] --quiet"},
	{"option", "tool --password --quiet", ""},
	{"qemu secret", "-object secret,id=s0,data=hunter2", "-object secret,id=s0,data=[redacted]"},
	{"qemu secret", "-object rng-random,id=rng0,filename=/dev/urandom", ""},
	{"chpasswd", "echo root:hunter2 | chpasswd", "echo root:[redacted] | chpasswd"},
	{"chpasswd", "echo root:hunter | cat", ""},
	{"sshpass", "sshpass -p hunter2 ssh root@vm", "sshpass -p [redacted] ssh root@vm"},
	{"sshpass", "sshpass -e ssh root@vm", ""},
	{"curl user", "curl -fsS -u me:hunter2 https://example.org", "curl -fsS -u me:[redacted] https://example.org"},
	{"curl user", "curl -u me https://example.org:8080", ""},
	{"netrc", "machine cache login me password hunter2", "machine cache login me password [redacted]"},
	{"netrc", "login as root, password required", ""},
	// What logs of boots are full of and nobody may lose.
	{"none", "nixos login: nixos (automatic login)", ""},
	{"none", "narHash sha256-bpNhLUEZQ4VJ6cXXlTSKDD7VQxYzLtlxBJjcTLcQWjA= of /nix/store/0k4lys1zrrg0v0bs0ry9wdxqkvd3qvyh-nixos.iso", ""},
	{"none", "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQ host", ""},
	{"none", "Started Dispatch Password Requests to Console Directory Watch.", ""},
	{"none", "[    0.000000] Command line: init=/nix/store/x/init console=ttyS0,115200n8 root=LABEL=nixos", ""},
	{"none", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 iso", ""},
}

func TestRedact(t *testing.T) {
	tested := map[string]int{}
	for _, tt := range redactTests {
		want := tt.want
		if want == "" {
			want = tt.in
		}
		if got := Redact(tt.in); got != want {
			t.Errorf("%s: Redact(%q)\n got %q\nwant %q", tt.rule, tt.in, got, want)
		}
		if tt.want != "" {
			tested[tt.rule] |= 1
		} else {
			tested[tt.rule] |= 2
		}
	}
	for _, s := range secrets {
		if tested[s.name] != 3 {
			t.Errorf("rule %q lacks a text that matches or one that nearly does", s.name)
		}
	}
}

func FuzzRedact(f *testing.F) {
	for _, tt := range redactTests {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		// What was redacted once holds nothing more to redact.
		once := Redact(s)
		if twice := Redact(once); strings.Count(twice, redacted) > strings.Count(once, redacted) {
			t.Errorf("Redact(%q) = %q, again %q", s, once, twice)
		}
	})
}
