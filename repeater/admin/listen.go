package admin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/posthouse/posthouse/routes"
)

// Access says who may ask, and where. Its zero value lets everybody who reaches a loopback address do everything.
type Access struct {
	routes.Admin
	AuditBeside string              // where changes are noted if Audit is ""; made when the first is. "" = nowhere but in Log
	Getenv      func(string) string // tokens in the environment; nil = none is set
}

// Listen opens addr, HOST:PORT, and the socket if there is one. Beyond loopback nothing is opened without TLS and users. Its errors
// say which key of the file is at fault.
func Listen(addr string, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Access.Getenv == nil {
		o.Access.Getenv = func(string) string { return "" }
	}
	s := &Server{opts: o, uid: os.Geteuid()}
	var err error
	if s.audit, err = openAudit(&o.Access, o.Log, func() uint64 { return o.Status().Config.Generation }); err != nil {
		return nil, err
	}
	if err := s.listen(addr); err != nil {
		for _, ln := range s.lns {
			_ = ln.Close() // nobody has been let in
		}
		s.audit.close()
		return nil, err
	}
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10, ConnContext: noteConn,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelWarn),
	}
	return s, nil
}

// listen opens both listeners.
func (s *Server) listen(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("admin.listen %q: %w", addr, err)
	}
	a := &s.opts.Access
	if !loopback(host) && (a.TLS == nil || len(a.Users) == 0) {
		return fmt.Errorf("admin.listen %q is not a loopback address, and admin.tls and admin.users are not both there [X004]: use 127.0.0.1 or localhost", addr)
	}
	s.host = host
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("admin.listen: %w", err)
	}
	s.lns = append(s.lns, ln)
	if a.TLS != nil {
		c, err := serverTLS(a.TLS)
		if err != nil {
			return err
		}
		s.lns[0] = tls.NewListener(ln, c)
	}
	if a.Socket == "" {
		return nil
	}
	un, err := listenSocket(a.Socket)
	if err == nil {
		s.lns = append(s.lns, un)
	}
	return err
}

// serverTLS reads the files once, to say what is wrong with them, and the certificate again at every handshake.
func serverTLS(f *routes.AdminTLS) (*tls.Config, error) {
	load := func() (*tls.Certificate, error) {
		c, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		return &c, err
	}
	if _, err := load(); err != nil {
		return nil, fmt.Errorf("admin.tls: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() }}
	if f.ClientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("admin.tls.client_ca_file: %w", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("admin.tls.client_ca_file: no certificate in %s", f.ClientCA)
	}
	return c, nil
}

// listenSocket opens a socket that only its owner may use. What a process has left that died is removed.
func listenSocket(path string) (net.Listener, error) {
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("admin.socket: %s is there, and is no socket: name another path", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			_ = c.Close()
			return nil, fmt.Errorf("admin.socket: another daemon answers at %s: name another path", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("admin.socket: %w", err)
		}
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin.socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil { // who came before is asked for the user
		return nil, errors.Join(fmt.Errorf("admin.socket: %w", err), ln.Close())
	}
	return ln, nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// Addr is where the server listens, with the port that the kernel chose.
func (s *Server) Addr() string { return s.lns[0].Addr().String() }

// Run answers until ctx ends, then lets requests finish for a moment, and returns when none is left.
func (s *Server) Run(ctx context.Context) error {
	defer s.audit.close()
	quiet := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(quiet)
		sctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if s.http.Shutdown(sctx) != nil {
			_ = s.http.Close() // cuts what is still open
		}
	})
	errs := make([]error, len(s.lns))
	var wg sync.WaitGroup
	for i, ln := range s.lns {
		wg.Go(func() {
			if errs[i] = s.http.Serve(ln); !errors.Is(errs[i], http.ErrServerClosed) && stop() {
				_ = s.http.Close() // the others end with it
				close(quiet)
			}
		})
	}
	wg.Wait()
	<-quiet // Serve returns as soon as the shutdown begins
	errs = slices.DeleteFunc(errs, func(err error) bool { return errors.Is(err, http.ErrServerClosed) })
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}

// onlyKnownHost refuses requests whose Host is a name from elsewhere: a web page that rebinds its own name to 127.0.0.1
// could read the answers otherwise. Over the socket no page comes.
func (s *Server) onlyKnownHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		host = strings.Trim(host, "[]")
		_, socket := r.Context().Value(peerKey{}).(peer)
		if !socket && !loopback(host) && host != s.host && !slices.ContainsFunc(s.opts.Access.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
			refuse(w, Problem{Status: http.StatusForbidden, Code: "A004", Detail: "this Host is not served here", Help: "use a loopback name, or add the name to admin.hosts"})
			return
		}
		next.ServeHTTP(w, r)
	})
}
