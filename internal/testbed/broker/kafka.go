package broker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kafkaProperties is a node that is broker and controller. Without an access rule everyone may do
// everything; a test makes a rule against User through the listener without SASL, whose
// principal (ANONYMOUS) may always do everything. The listener OAUTH takes tokens that nobody has
// signed (RFC 7519, section 6), but looks at the times in them.
const kafkaProperties = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://%[1]s,CONTROLLER://%[2]s,SASL://%[3]s,TLS://%[4]s,OAUTH://%[8]s,VIA://%[9]s
advertised.listeners=PLAINTEXT://%[1]s,SASL://%[3]s,TLS://%[4]s,OAUTH://%[8]s,VIA://%[10]s
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL,OAUTH:SASL_PLAINTEXT,VIA:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=%[5]s/data
auto.create.topics.enable=false
num.partitions=1
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=8388608
log.segment.bytes=67108864
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:ANONYMOUS
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%[6]s="%[7]s";
listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.oauth.sasl.enabled.mechanisms=OAUTHBEARER
listener.name.oauth.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";
listener.name.tls.ssl.client.auth=required
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location=%[5]s/server-and-key.pem
listener.name.tls.ssl.truststore.type=PEM
listener.name.tls.ssl.truststore.location=%[5]s/ca.pem
`

// StartKafka starts one Apache Kafka node in KRaft mode with its data in dir and waits until it
// serves clients. Its heap is 512 MiB; topics are not created by themselves; a record batch may
// have 1 MiB (message.max.bytes at its default); the first rebalance of a group does not wait.
func StartKafka(ctx context.Context, dir string, o Options) (*Broker, error) {
	o, dir, err := o.withDefaults(dir, Kafka)
	if err != nil {
		return nil, err
	}
	libs, err := kafkaLibraries(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := needTools(ctx, o.Log, "java"); err != nil {
		return nil, err
	}
	ports, err := freePorts(6)
	if err != nil {
		return nil, err
	}
	via := addr(ports[5])
	if o.Via != nil {
		if via, err = o.Via(via); err != nil {
			return nil, err
		}
	}
	if err := configureKafka(dir, o, ports, via); err != nil {
		return nil, err
	}
	if err := formatKafka(ctx, dir, libs); err != nil {
		return nil, err
	}
	variable := "POSTHOUSE_TEST_" + strings.ToUpper(o.Name)
	b := &Broker{name: o.Name, version: KafkaVersion, ready: kafkaReady(addr(ports[0])),
		env: map[string]string{variable: addr(ports[0]), variable + "_SASL": addr(ports[2]), variable + "_TLS": addr(ports[3]),
			variable + "_OAUTH": addr(ports[4]), variable + "_VIA": via},
		launch: javaCommand(dir, libs, "512m", "kafka.Kafka", filepath.Join(dir, "server.properties"))}
	b.launch.detached = o.Detached
	return b, b.start(ctx)
}

func kafkaLibraries(ctx context.Context, o Options) (string, error) {
	const log4j = "org.apache.logging.log4j"
	return javaLibraries(ctx, o, "Kafka "+KafkaVersion,
		artifact{"org.apache.kafka", "kafka_2.13", KafkaVersion},
		artifact{log4j, "log4j-slf4j-impl", log4jVersion},
		artifact{log4j, "log4j-core", log4jVersion})
}

func configureKafka(dir string, o Options, ports []int, via string) error {
	err := writeFiles(dir, map[string]string{
		"log4j2.properties": log4jProperties,
		"server.properties": fmt.Sprintf(kafkaProperties, addr(ports[0]), addr(ports[1]), addr(ports[2]),
			addr(ports[3]), dir, User, Password, addr(ports[4]), addr(ports[5]), via),
	})
	if err != nil {
		return err
	}
	if err := concat(filepath.Join(dir, "server-and-key.pem"), o.TLSDir, FileServerKey, FileServer); err != nil {
		return err
	}
	return concat(filepath.Join(dir, "ca.pem"), o.TLSDir, FileCA)
}

// formatKafka writes the cluster's id and the SCRAM accounts to the data directory. One that is
// formatted already stays as it is.
func formatKafka(ctx context.Context, dir, libs string) error {
	if _, err := os.Stat(filepath.Join(dir, "data", "meta.properties")); err == nil {
		return nil
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("make a cluster id: %w", err)
	}
	id[0] &= 0x3f // the text then never begins with "-", which the tool would take for an option
	scram := fmt.Sprintf("=[name=%s,password=%s]", User, Password)
	l := javaCommand(dir, libs, "128m", "kafka.tools.StorageTool", "format",
		"-t", base64.RawURLEncoding.EncodeToString(id[:]), "-c", filepath.Join(dir, "server.properties"),
		"--add-scram", "SCRAM-SHA-256"+scram, "--add-scram", "SCRAM-SHA-512"+scram)
	cmd := exec.Command(l.path, l.args...)
	cmd.Dir = l.dir
	if err := runCommand(ctx, cmd); err != nil {
		return fmt.Errorf("format Kafka's data directory: %w", err)
	}
	return nil
}
