package release

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const unitFile = "packaging/systemd/posthouse.service"

// unit reads the unit as sections of KEY=VALUE lines.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, unitFile))
	if err != nil {
		t.Fatal(err)
	}
	sections, in := map[string][]string{}, ""
	for line := range strings.SplitSeq(string(src), "\n") {
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			in = strings.Trim(line, "[]")
		case regexp.MustCompile(`^[A-Z][A-Za-z]+=`).MatchString(line):
			sections[in] = append(sections[in], line)
		default:
			t.Errorf("%s: %q is no line of a unit", unitFile, line)
		}
	}
	return sections
}

// TestUnit: the lines that a promise hangs on. systemd does not know # behind a value, so a comment there would be part of it.
func TestUnit(t *testing.T) {
	service := strings.Join(unit(t)["Service"], "\n") + "\n"
	for _, want := range []string{
		"Type=notify", "User=posthouse", "StateDirectory=posthouse", "StateDirectoryMode=0700", "RuntimeDirectory=posthouse",
		"ExecStartPre=/usr/bin/posthouse check /etc/posthouse/topology.yaml", "ExecStart=/usr/bin/posthouse run -c /etc/posthouse/topology.yaml",
		"ExecReload=/usr/bin/posthouse reload -c /etc/posthouse/topology.yaml", "LoadCredential=secret:/etc/posthouse/secrets",
		"Restart=on-failure", "RestartPreventExitStatus=2", "Environment=GOTRACEBACK=crash", "WatchdogSec=30", "TimeoutStartSec=infinity",
		"TimeoutStopSec=90", "LimitNOFILE=65536", "LimitCORE=0", "UMask=0077", "ProtectSystem=strict", "ProtectHome=yes", "PrivateTmp=yes",
		"NoNewPrivileges=yes", "CapabilityBoundingSet=", "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6", "SystemCallFilter=@system-service",
	} {
		if !strings.Contains("\n"+service, "\n"+want+"\n") {
			t.Errorf("%s: no line %s", unitFile, want)
		}
	}
	if strings.Contains(service, "#") {
		t.Errorf("%s: a comment behind a value", unitFile)
	}
}

// TestUnitVerify has systemd read the unit, with our program in the place of the one that a package brings.
func TestUnitVerify(t *testing.T) {
	need(t, "systemd-analyze")
	src, err := os.ReadFile(filepath.Join(root, unitFile))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "posthouse.service")
	text := strings.ReplaceAll(string(src), "/usr/bin/posthouse", program(t))
	text = regexp.MustCompile(`(?m)^Documentation=.*\n`).ReplaceAllString(text, "") // its page is not installed here
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out := strings.TrimSpace(run(t, "", nil, "systemd-analyze", "verify", "--man=no", file)); out != "" {
		t.Errorf("systemd-analyze: %s", out)
	}
	if out := run(t, "", nil, "systemd-analyze", "security", "--offline=true", "--threshold=35", file); !strings.Contains(out, "OK") {
		t.Errorf("systemd-analyze security: %s", out)
	}
}

// TestCredential: a secret that systemd hands over can be read by its owner and, where an access list gives that right, as
// group; check must not warn of it.
func TestCredential(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret_artemis-paris")
	if err := os.WriteFile(secret, []byte("canary\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "topology.yaml")
	text := `version: 1
brokers:
  paris: { type: amqp, dialect: artemis, addresses: ["amqp://127.0.0.1:1"], credentials: { user: posthouse, password: { file: ` + secret + ` } } }
  berlin: { type: nats, embedded: { dir: js, listen: "127.0.0.1:0" } }
spool: { dir: spool, max_size: 1GiB }
routes:
  - { name: orders, from: { broker: paris, queue: orders }, to: { broker: berlin, subject: x, create: true }, losses: accept }
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run(t, dir, nil, program(t), "check", "--strict", file); strings.Contains(out, "X002") {
		t.Error(out)
	}
}
