package admin

import "strings"

// codes are the explanations of what the API refuses, besides codes of the file.
var codes = map[string]string{
	"A002": "Who asks is not known.\nThe file names users (admin.users): send Authorization: Bearer TOKEN (POSTHOUSE_TOKEN_FILE=PATH), or a client certificate. On the daemon's own machine, its user and root can use the socket, if there is one, without either.",
	"A003": "The right is missing.\nviewer looks, operator steers routes, spool and dead letters, admin also changes the configuration and gives messages up. Where the daemon has a socket and no users, its address shows everything and changes nothing.",
	"A004": "The request is for another Host.\nA web page could reach the daemon under a name of its own otherwise. Names besides loopback ones stand in admin.hosts.",
	"A005": "A web page of another origin asks.\nBrowsers send requests of any page to this machine; only pages of Posthouse itself may change something here.",
	"A006": "The body of the request is too large.\nNames and reasons are short, and a list of ids has at most some ten thousand: use a filter, or several requests.",
	"A007": "There are not as many messages as was said.\nSome came or went since they were counted. Nothing was done: count again with --dry-run, and look whether it is still what you mean.",
	"A008": "The order is not one for this route or lane alone.\nRoutes with an equal source share one reader: it stops only when all of them are paused or drain. Pause works for one of them: what comes for it waits in its spool. A lane can be paused and resumed; drain and restart are for routes.",
	"A009": "The lane holds nothing that could be resolved so.\nretry and dead-letter are for messages that the target refuses: the lane is held, or has set some aside. sent and resend are for messages of unknown outcome, on a route with delivery: exactly-once. posthouse status shows what is held, and why.",
	"A010": "Dead letters have no place.\nThe file has no spool, and the route no dead_letter. Add one of them and restart, or mend the cause and use posthouse resolve ROUTE/TARGET retry.",
	"A011": "What is given up for good must be counted first.\nAsk with --dry-run (dry_run=1), and send the number that it says as expect_count; commands do so after --yes.",
	"A012": "There is nothing of that name, or not any more.\nIt may have been delivered, purged or renamed since it was listed.",
	"A013": "This cannot be done with these dead letters.\nWhere the file names a place for dead letters they go there, and are no longer Posthouse's. Requests and replies of a bridge are not sent again: whoever asked has had a timeout.",
	"A014": "The request cannot be understood.\nThe message says which value is wrong. GET /openapi.json describes all requests.",
	"A015": "The body of the request must be JSON.\nSend it with Content-Type: application/json. What a form of a web page can send is refused for that reason too.",
	"A016": "The method is not one for this path.\nNothing changes by GET; changes are posted.",
	"A017": "Bodies may not be seen.\nThat is a right of its own: bodies: true of a user. Each look at bodies is in the audit log.",
	"A019": "The socket is that of another user.\nOnly the user of the daemon, and root, may use it: sudo -u USER posthouse ..., or ask over the address with a token.",
	"A018": "The daemon cannot do it now.\nIt is starting, stopping, or waits for something longer than an answer may take. Look at the status, and ask again.",
}

// Explain tells what a code of the API means and what to do; ok is false for others.
func Explain(code string) (text string, ok bool) {
	code = strings.ToUpper(code)
	text, ok = codes[code]
	return code + ": " + text, ok
}
