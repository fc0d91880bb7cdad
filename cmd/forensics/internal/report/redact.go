package report

import "regexp"

// redacted stands where a secret was.
const redacted = "[redacted]"

// secrets are the shapes of secrets that turn up in boot logs and captures:
// each replaces the secret and leaves what names it. Public keys stay, and so
// do words that merely speak of passwords. Bounds are short of what tokens
// have in full, since a quote may end inside one.
var secrets = []struct {
	name string
	re   *regexp.Regexp
	with string
}{
	// PEM and OpenSSH keys; a quote may hold the head alone, or head and body.
	{"private key", regexp.MustCompile(`(-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|$)`), "$1 " + redacted + " $2"},
	// The first line of an OpenSSH key's body is "openssh-key-v1\0" in base64;
	// a public key never has it.
	{"private key body", regexp.MustCompile(`b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/= ]*`), redacted},
	// age-keygen and agenix identities.
	{"age key", regexp.MustCompile(`AGE-SECRET-KEY-1[0-9A-Za-z]{16,}`), redacted},
	// nix-store --generate-binary-cache-key: 64 bytes; the public half has 32.
	{"nix signing key", regexp.MustCompile(`\b([\w.-]+):[A-Za-z0-9+/]{86}(?:==|…|$)`), "$1:" + redacted},
	// nix.conf, --option and NIX_CONFIG: access-tokens = github.com=… gitlab.com=…
	{"nix access tokens", regexp.MustCompile(`(\baccess-tokens["']?(?:\s*[=:]\s*|\s+))["']?[\w.-]+=\S.*`), "${1}" + redacted},
	// crypt(3) hashes as in /etc/shadow and hashedPassword.
	{"password hash", regexp.MustCompile(`\$(?:1|2[abxy]?|5|6|7|y|gy|sha1|md5|argon2(?:id?|d))\$[./A-Za-z0-9$=,+-]{8,}`), redacted},
	// user:password@ of any URL: git, curl, proxies, substituters.
	{"URL credentials", regexp.MustCompile(`(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@`), "$1:" + redacted + "@"},
	{"URL token", regexp.MustCompile(`(\b[A-Za-z][A-Za-z0-9+.-]*://)[A-Za-z0-9_-]{20,}@`), "${1}" + redacted + "@"},
	// Forges, clouds, registries: tokens that carry their prefix.
	{"token", regexp.MustCompile(`\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|npm_|pypi-|dckr_pat_|hf_|tskey-|sk-(?:proj-|ant-)?)[A-Za-z0-9_-]{16,}`), redacted},
	{"cloud key", regexp.MustCompile(`\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|AIza[0-9A-Za-z_-]{30,})`), redacted},
	{"JSON web token", regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?`), redacted},
	{"authorization", regexp.MustCompile(`(?i)(\bauthorization["']?\s*[:=]\s*["']?(?:bearer|basic|token)\s+)[^\s"']+`), "${1}" + redacted},
	// Assignments in shells, units, configuration, JSON and option lists. The
	// name ends in the word: PasswordAuthentication=no and password-file= stay.
	{"assignment", regexp.MustCompile(`(?i)((?:\b|_)(?:password|passwd|passphrase|passwort|secret|secret[-_]?key|secret[-_]?access[-_]?key|token|api[-_]?key|private[-_]?key|preshared[-_]?key|psk)["']?\s*[=:]\s*)(?:"[^"]+"?|'[^']+'?|[^\s"',;&|]{2,}[^\s"',;&]*)`), "${1}" + redacted},
	{"option", regexp.MustCompile(`(?i)(--(?:password|passwd|passphrase|token|secret|api-key)\s+)(?:"[^"]+"?|'[^']+'?|[^\s"'-][^\s"']*)`), "${1}" + redacted},
	// QEMU: -object secret,id=…,data=…
	{"qemu secret", regexp.MustCompile(`(\bsecret,(?:[^\s,]+,)*data=)[^\s,]+`), "${1}" + redacted},
	// echo user:password | chpasswd
	{"chpasswd", regexp.MustCompile(`([\w.-]+:)[^\s"'|]+(["']?\s*\|\s*(?:sudo\s+)?chpasswd)`), "${1}" + redacted + "$2"},
	{"sshpass", regexp.MustCompile(`(\bsshpass\s+-p\s*)(?:"[^"]+"?|'[^']+'?|\S+)`), "${1}" + redacted},
	{"curl user", regexp.MustCompile(`(\bcurl\b[^|;]*\s(?:-u|--user)[\s=]*["']?[^\s:"']+:)[^\s"']+`), "${1}" + redacted},
	// netrc: machine … login … password …
	{"netrc", regexp.MustCompile(`(\blogin\s+\S+\s+password\s+)\S+`), "${1}" + redacted},
}

var (
	// keyLineRe is a full line of a PEM (64) or OpenSSH (70) key's body and
	// nothing else; hexRe is what has that length and is a digest.
	keyLineRe = regexp.MustCompile(`^(?:[A-Za-z0-9+/]{64}|[A-Za-z0-9+/]{70})$`)
	hexRe     = regexp.MustCompile(`^[0-9a-f]+$`)
)

// Redact replaces the secrets in s that have a known shape.
func Redact(s string) string {
	if keyLineRe.MatchString(s) && !hexRe.MatchString(s) {
		return redacted
	}
	for i := range secrets {
		s = secrets[i].re.ReplaceAllString(s, secrets[i].with)
	}
	return s
}
