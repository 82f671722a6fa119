// Package broker fetches, configures, starts, kills and stops real message brokers for tests:
// ActiveMQ Artemis, Apache Kafka in KRaft mode and RabbitMQ 3 and 4. Every broker is a real
// process bound to 127.0.0.1; nothing here imitates one.
//
// # Shared brokers
//
// The program internal/testbed starts brokers and tells tests about them by environment
// variables (the Env constants). A test asks for one with [Need], which skips the test, or fails
// it when POSTHOUSE_REQUIRE names the broker, if it is not there.
//
// # Private brokers
//
// A test that kills or restarts a broker starts its own with [StartArtemis], [StartKafka] or
// [StartRabbitMQ], and ends it with [Broker.Stop].
//
// # What is left behind
//
// A broker that was not started with Options.Detached dies with the process that started it, even
// when that process is killed by SIGKILL. RabbitMQ runs in process and mount namespaces of its
// own, so that neither its helpers (epmd among them) nor its mounts can survive it. Downloads stay
// in the cache directory ([CacheDir]).
package broker

// Names of the brokers, as used in POSTHOUSE_REQUIRE, in state files and in the summary.
const (
	Artemis   = "artemis"   // ActiveMQ Artemis
	Artemis2  = "artemis2"  // a second, unconnected Artemis: the other site
	Kafka     = "kafka"     // Apache Kafka, one node, KRaft
	RabbitMQ4 = "rabbitmq4" // RabbitMQ 4 with native AMQP 1.0
	RabbitMQ3 = "rabbitmq3" // RabbitMQ 3 with the plugin rabbitmq_amqp1_0
)

// Versions that are fetched. RabbitMQ's are those of the Debian suites, known once installed.
const (
	ArtemisVersion = "2.55.0"
	KafkaVersion   = "4.1.1"
)

// Environment variables by which tests learn where brokers are.
const (
	EnvArtemis        = "POSTHOUSE_TEST_ARTEMIS"         // amqp://user:password@127.0.0.1:port
	EnvArtemisTLS     = "POSTHOUSE_TEST_ARTEMIS_TLS"     // amqps://127.0.0.1:port, client certificate required
	EnvArtemis2       = "POSTHOUSE_TEST_ARTEMIS2"        // as EnvArtemis, the second broker
	EnvArtemis2TLS    = "POSTHOUSE_TEST_ARTEMIS2_TLS"    // as EnvArtemisTLS, the second broker
	EnvKafka          = "POSTHOUSE_TEST_KAFKA"           // 127.0.0.1:port, no TLS, no SASL; may do everything
	EnvKafkaSASL      = "POSTHOUSE_TEST_KAFKA_SASL"      // 127.0.0.1:port, SASL PLAIN, SCRAM-SHA-256, SCRAM-SHA-512
	EnvKafkaTLS       = "POSTHOUSE_TEST_KAFKA_TLS"       // 127.0.0.1:port, TLS, client certificate required
	EnvKafkaOAuth     = "POSTHOUSE_TEST_KAFKA_OAUTH"     // 127.0.0.1:port, SASL OAUTHBEARER, takes unsigned tokens
	EnvKafkaVia       = "POSTHOUSE_TEST_KAFKA_VIA"       // as EnvKafka, by way of Options.Via
	EnvRabbitMQ4      = "POSTHOUSE_TEST_RABBITMQ4"       // amqp://user:password@127.0.0.1:port
	EnvRabbitMQ4Admin = "POSTHOUSE_TEST_RABBITMQ4_ADMIN" // http://user:password@127.0.0.1:port, for NewRabbitAdmin
	EnvRabbitMQ3      = "POSTHOUSE_TEST_RABBITMQ3"       // as EnvRabbitMQ4
	EnvRabbitMQ3Admin = "POSTHOUSE_TEST_RABBITMQ3_ADMIN" // as EnvRabbitMQ4Admin
	EnvTLSDir         = "POSTHOUSE_TEST_TLS_DIR"         // directory of the files named by the File constants
	EnvUser           = "POSTHOUSE_TEST_USER"            // user of every broker
	EnvPassword       = "POSTHOUSE_TEST_PASSWORD"        // and its password
	EnvRequire        = "POSTHOUSE_REQUIRE"              // "all" or names: a missing broker fails the run
	EnvSkipPrefix     = "POSTHOUSE_TEST_SKIP_"           // plus the upper-case name: why a broker is missing
	EnvCache          = "POSTHOUSE_TESTBED_CACHE"        // overrides CacheDir
)

// The account that every broker knows.
const (
	User     = "posthouse"
	Password = "posthouse-test"
)

// Fixtures that are the same on Artemis and RabbitMQ.
const (
	// DeniedPrefix begins the names of queues that User may neither send to nor receive from. RabbitMQ
	// answers amqp:unauthorized-access once the queue is there; Artemis does so for DeniedQueue, and
	// for other names, which it would have to create first, amqp:internal-error with a
	// description that begins with AMQ229032.
	DeniedPrefix = "denied."
	// DeniedQueue is there on Artemis from the start; a test declares it on RabbitMQ.
	DeniedQueue = DeniedPrefix + "queue"
)

// Fixtures of Artemis. Queues are created on first use, as durable anycast queues, and are never
// deleted by the broker.
const (
	// ArtemisLimitedPrefix begins the names of addresses that take ArtemisLimitedBytes and then
	// refuse further messages (address-full-policy FAIL) until some are consumed: on a link that
	// has credit by amqp:resource-limit-exceeded, to a new link by giving no credit.
	ArtemisLimitedPrefix = "limited."
	// ArtemisLimitedBytes is that limit: the estimated memory size of the waiting messages.
	ArtemisLimitedBytes = 256 << 10
	// ArtemisDeadLetter is the queue for messages rejected.
	ArtemisDeadLetter = "DLQ"
	// ArtemisExpiry is the queue for messages whose time to live ran out.
	ArtemisExpiry = "ExpiryQueue"
	// ArtemisTopicPrefix begins the names of multicast addresses: each subscriber gets a copy.
	ArtemisTopicPrefix = "topic."
)

// Files below the directory named by EnvTLSDir, all PEM; keys are PKCS #8 without password.
const (
	FileCA          = "ca.pem"       // certificate authority of all others
	FileServer      = "server.pem"   // server certificate for 127.0.0.1, ::1 and localhost
	FileServerKey   = "server.key"   //
	FileClient      = "client.pem"   // client certificate, CN = User
	FileClientKey   = "client.key"   //
	FileExpired     = "expired.pem"  // client and server certificate that ended an hour before it was made
	FileExpiredKey  = "expired.key"  //
	FileStranger    = "stranger.pem" // client certificate of an authority that no broker trusts
	FileStrangerKey = "stranger.key" //
)
