package routes

// operating is the release in which a daemon could be steered from elsewhere.
const operating = "0.5"

func adminShape() *Shape {
	return &Shape{Name: "admin", Doc: "Health, metrics and logs.", Fields: []*Field{
		{Name: "listen", Type: Text, Default: "127.0.0.1:7421", Since: since, Reload: RestartProcess,
			Doc: "Address of /livez, /readyz, /metrics and the API. Beyond loopback it needs tls and users (X004)."},
		{Name: "socket", Type: Path, Since: operating, Reload: RestartProcess,
			Doc: "A Unix socket for the API, mode 0600: who runs the daemon, and root, may do everything there. With one, listen without users shows and changes nothing."},
		{Name: "tls", Type: Object, Since: operating, Reload: RestartProcess, Doc: "TLS for listen.",
			Of: &Shape{Name: "admin.tls", Doc: "TLS for listen. TLS 1.2 is the least that is ever used.", Fields: []*Field{
				{Name: "cert_file", Type: Path, Required: true, Since: operating, Reload: RestartProcess, Example: "cert_file: PATH", Doc: "PEM with the certificate. Read again at every handshake."},
				{Name: "key_file", Type: Path, Required: true, Since: operating, Reload: RestartProcess, Example: "key_file: PATH", Doc: "PEM with its private key."},
				{Name: "client_ca_file", Type: Path, Since: operating, Reload: RestartProcess, Doc: "PEM with the authorities of the certificates of users."},
			}}},
		{Name: "users", Type: Named, Since: operating, Reload: RestartProcess, Doc: "Who may use listen, by name.",
			Of: &Shape{Name: "user", Doc: "Somebody, or a program, that uses the API. It needs a token or a certificate.", Fields: []*Field{
				{Name: "role", Type: Word, Words: []string{"viewer", "operator", "admin"}, Default: "viewer", Since: operating, Reload: RestartProcess,
					Doc: "viewer looks; operator also steers routes, spool and dead letters; admin also changes the configuration and gives messages up."},
				{Name: "bodies", Type: Flag, Default: "false", Since: operating, Reload: RestartProcess, Doc: "May also see bodies, and headers that are secrets by their name."},
				{Name: "token", Type: SecretValue, Since: operating, Reload: RestartProcess, Doc: "Where the bearer token is. A file is read again when it is asked for."},
				{Name: "certificate", Type: Text, Since: operating, Reload: RestartProcess, Doc: "The common name of the client certificate; needs tls.client_ca_file."},
			}}},
		{Name: "hosts", Type: TextList, Since: operating, Reload: RestartProcess, Doc: "Names under which the API is reached, besides loopback: requests for others are refused."},
		{Name: "audit_file", Type: Path, Since: operating, Reload: RestartProcess,
			Doc: "Where every change by the API is noted, one line of JSON each. Left out: audit.log beside the journal, if there is one."},
		{Name: "log", Type: Object, Since: since, Doc: "The log on standard error.",
			Of: &Shape{Name: "log", Doc: "The log on standard error.", Fields: []*Field{
				{Name: "level", Type: Word, Words: []string{"info", "debug", "warn", "error"}, Default: "info", Since: since,
					Doc: "The least important lines that are written."},
				{Name: "format", Type: Word, Words: []string{"auto", "text", "json"}, Default: "auto", Since: since, Reload: RestartProcess,
					Doc: "auto is text on a terminal, else JSON."},
			}}},
		tracingField(),
	}}
}
