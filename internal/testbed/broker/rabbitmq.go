package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// adminUser may do everything; User is kept out of DeniedPrefix.
const adminUser = "admin"

// installRoot makes a Debian system below the directory in $1, from suite $2. It runs as the first
// process of its own process and mount namespaces: what debootstrap mounts and starts meanwhile
// is gone with it, also when it is killed.
const installRoot = `set -e
mount --make-rprivate /
mount -t proc proc /proc
debootstrap --variant=minbase --include=rabbitmq-server "$2" "$1"
printf '127.0.0.1 localhost\n' >"$1/etc/hosts"
rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
`

// runRabbit starts the server with the system below $1 as its root and the data directory $2 as
// /mnt. The mounts are seen by nobody else and end with the process.
const runRabbit = `set -e
mount --make-rprivate /
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$2" "$1/mnt"
exec chroot "$1" /usr/lib/rabbitmq/bin/rabbitmq-server
`

// rabbitConf listens on loopback only. Statistics are refreshed ten times as often as by default,
// as tests wait for message counts.
const rabbitConf = `listeners.tcp.1 = %s
management.tcp.ip = 127.0.0.1
management.tcp.port = %d
default_user = %s
default_pass = %s
loopback_users = none
collect_statistics_interval = 500
log.console = true
log.console.level = info
log.file = false
disk_free_limit.absolute = 50MB
`

// rabbitSuite is the Debian release whose package has this major version.
func rabbitSuite(major int) (string, error) {
	switch major {
	case 3:
		return "bookworm", nil
	case 4:
		return "trixie", nil
	}
	return "", fmt.Errorf("RabbitMQ %d is in no known Debian release (known: 3, 4)", major)
}

// rabbitRoot returns a Debian system with RabbitMQ, made by debootstrap on first use.
func rabbitRoot(ctx context.Context, o Options, major int) (string, error) {
	suite, err := rabbitSuite(major)
	if err != nil {
		return "", err
	}
	if os.Geteuid() != 0 {
		return "", errors.New("RabbitMQ from Debian packages needs root (for chroot and mounts of its own)")
	}
	return cached(ctx, o.Cache, "rabbitmq-"+suite, o.Log, func(dir string) error {
		if err := needTools(ctx, o.Log, "debootstrap"); err != nil {
			return err
		}
		fmt.Fprintf(o.Log, "fetching RabbitMQ %d with debootstrap (%s) ...\n", major, suite)
		start := time.Now()
		ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
		defer cancel()
		cmd := exec.Command("/bin/sh", "-c", installRoot, "sh", dir, suite)
		cmd.SysProcAttr = sysProcAttr(false, true)
		if err := runCommand(ctx, cmd); err != nil {
			return fmt.Errorf("fetch RabbitMQ %d: %w", major, err)
		}
		fmt.Fprintf(o.Log, "fetched RabbitMQ %d in %.0f s\n", major, time.Since(start).Seconds())
		return nil
	})
}

// StartRabbitMQ starts RabbitMQ 3 or 4 (major) with its data in dir and waits until it serves
// clients. It needs root. Queues must be declared before use, with a RabbitAdmin at the address in
// the variable with the suffix _ADMIN.
func StartRabbitMQ(ctx context.Context, dir string, major int, o Options) (*Broker, error) {
	o, dir, err := o.withDefaults(dir, fmt.Sprintf("rabbitmq%d", major))
	if err != nil {
		return nil, err
	}
	root, err := rabbitRoot(ctx, o, major)
	if err != nil {
		return nil, err
	}
	version, err := rabbitVersion(root)
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(4) // AMQP, management, Erlang distribution, epmd
	if err != nil {
		return nil, err
	}
	if err := configureRabbit(dir, major, ports); err != nil {
		return nil, err
	}
	admin := fmt.Sprintf("http://%s:%s@%s", adminUser, Password, addr(ports[1]))
	b := &Broker{name: o.Name, version: version, launch: launchRabbit(root, dir, ports),
		env: map[string]string{Variable(o.Name): amqpURL(ports[0]), Variable(o.Name) + "_ADMIN": admin}}
	b.launch.detached = o.Detached
	b.ready = rabbitReady(amqpURL(ports[0]), admin)
	return b, b.start(ctx)
}

// rabbitVersion is in the name of the library directory.
func rabbitVersion(root string) (string, error) {
	found, err := filepath.Glob(filepath.Join(root, "usr/lib/rabbitmq/lib/rabbitmq_server-*"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("find RabbitMQ in %s: not there; remove the directory to fetch it again", root)
	}
	return strings.TrimPrefix(filepath.Base(found[0]), "rabbitmq_server-"), nil
}

func configureRabbit(dir string, major int, ports []int) error {
	plugins := "[rabbitmq_management].\n"
	if major == 3 {
		plugins = "[rabbitmq_management,rabbitmq_amqp1_0].\n"
	}
	return writeFiles(dir, map[string]string{
		"rabbitmq.conf":   fmt.Sprintf(rabbitConf, addr(ports[0]), ports[1], adminUser, Password),
		"enabled_plugins": plugins,
	})
}

func launchRabbit(root, dir string, ports []int) launch {
	return launch{
		path: "/bin/sh", args: []string{"-c", runRabbit, "sh", root, dir}, isolated: true,
		dir: dir, log: filepath.Join(dir, "broker.log"),
		env: []string{
			"HOME=/mnt", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
			"RABBITMQ_NODENAME=testbed@localhost",
			"RABBITMQ_MNESIA_BASE=/mnt/data", "RABBITMQ_LOG_BASE=/mnt/log",
			"RABBITMQ_CONFIG_FILE=/mnt/rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE=/mnt/enabled_plugins",
			"RABBITMQ_CONF_ENV_FILE=/mnt/none", "RABBITMQ_ADVANCED_CONFIG_FILE=/mnt/none.config",
			fmt.Sprintf("RABBITMQ_DIST_PORT=%d", ports[2]),
			"ERL_EPMD_ADDRESS=127.0.0.1", fmt.Sprintf("ERL_EPMD_PORT=%d", ports[3]),
			"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-kernel inet_dist_use_interface {127,0,0,1}",
		},
	}
}

// rabbitReady makes the account of the tests on the first start, and then logs in with it.
func rabbitReady(amqpAddr, admin string) probe {
	login := amqpReady(amqpAddr)
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		a, err := NewRabbitAdmin(admin)
		if err != nil {
			return err
		}
		if err := a.makeTestUser(ctx); err != nil {
			return err
		}
		return login(ctx)
	}
}
