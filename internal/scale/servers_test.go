package scale

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// serversEnv makes this test binary a process of NATS servers: COUNT,DIRECTORY. So the memory of the daemon is its own.
const serversEnv = "POSTHOUSE_SCALE_SERVERS"

// serve runs the servers, writes their addresses in one line, and lives until its standard input ends, with its parent.
func serve(what string) error {
	n, dir, _ := strings.Cut(what, ",")
	count, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	var at []string
	for i := range count {
		addr, err := serveOne(fmt.Sprintf("b%02d", i), fmt.Sprintf("%s/%02d", dir, i))
		if err != nil {
			return err
		}
		at = append(at, addr)
	}
	fmt.Println(strings.Join(at, " "))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// serveOne starts a server with two streams in memory: of what routes take, and of what they bring.
func serveOne(name, dir string) (addr string, err error) {
	s, err := server.NewServer(&server.Options{ServerName: name, Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true,
		JetStreamMaxMemory: 1 << 30, StoreDir: dir, NoSigs: true})
	if err != nil {
		return "", err
	}
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return "", fmt.Errorf("server %s does not get ready", name)
	}
	addr = s.Addr().(*net.TCPAddr).String()
	nc, err := nats.Connect("nats://" + addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, stream := range []string{"in", "out"} {
		c := jetstream.StreamConfig{Name: stream, Subjects: []string{stream + ".>"}, Storage: jetstream.MemoryStorage, Duplicates: 2 * time.Minute}
		if _, err := js.CreateStream(ctx, c); err != nil {
			return "", err
		}
	}
	return addr, nil
}

// servers starts that process and returns the addresses of its servers.
func servers(t *testing.T, count int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d,%s", serversEnv, count, t.TempDir()))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // it ends with its input
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	at := strings.Fields(line)
	if err != nil || len(at) != count {
		t.Fatalf("the servers do not start: %q %v", line, err)
	}
	return at
}
