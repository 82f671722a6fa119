package broker

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"text/template"
)

// artemisXML is a broker with two acceptors and the fixtures of this package. The credit it gives a sender (the default is
// 1000, renewed at 300) is what a link of 50 ms needs to be filled. The journal's buffer
// timeout of 0.2 ms replaces a default of 3.3 ms for NIO, which would bound every durable send.
const artemisXML = `<configuration xmlns="urn:activemq"><core xmlns="urn:activemq:core">
<name>{{.Name}}</name>
<persistence-enabled>true</persistence-enabled>
<security-enabled>true</security-enabled>
<journal-type>NIO</journal-type>
<journal-directory>{{.Dir}}/data/journal</journal-directory>
<bindings-directory>{{.Dir}}/data/bindings</bindings-directory>
<large-messages-directory>{{.Dir}}/data/large</large-messages-directory>
<paging-directory>{{.Dir}}/data/paging</paging-directory>
<journal-buffer-timeout>200000</journal-buffer-timeout>
<journal-min-files>2</journal-min-files>
<journal-pool-files>4</journal-pool-files>
<max-disk-usage>100</max-disk-usage>
<critical-analyzer>false</critical-analyzer>
<global-max-size>128M</global-max-size>
<acceptors>
<acceptor name="amqp">tcp://{{.Plain}}?protocols=AMQP;useEpoll=true;amqpCredits=8000;amqpLowCredits=6000;saslMechanisms=PLAIN;securityDomain=activemq</acceptor>
<acceptor name="amqps">tcp://{{.TLS}}?protocols=AMQP;useEpoll=true;amqpCredits=8000;amqpLowCredits=6000;saslMechanisms=EXTERNAL,PLAIN;securityDomain=activemq;sslEnabled=true;needClientAuth=true;enabledProtocols=TLSv1.2,TLSv1.3;keyStoreType=PEM;keyStorePath={{.Dir}}/server-and-key.pem;trustStoreType=PEMCA;trustStorePath={{.Dir}}/ca.pem</acceptor>
</acceptors>
<security-settings>
<security-setting match="#">
{{range .Permissions}}<permission type="{{.}}" roles="test"/>
{{end}}</security-setting>
<security-setting match="{{.Denied}}#">
{{range .Permissions}}<permission type="{{.}}" roles="nobody"/>
{{end}}</security-setting>
</security-settings>
<address-settings>
<address-setting match="#">
<dead-letter-address>{{.DeadLetter}}</dead-letter-address>
<expiry-address>{{.Expiry}}</expiry-address>
<max-delivery-attempts>-1</max-delivery-attempts>
<redelivery-delay>0</redelivery-delay>
<address-full-policy>PAGE</address-full-policy>
<auto-create-queues>true</auto-create-queues>
<auto-create-addresses>true</auto-create-addresses>
<auto-delete-queues>false</auto-delete-queues>
<auto-delete-addresses>false</auto-delete-addresses>
<default-address-routing-type>ANYCAST</default-address-routing-type>
<default-queue-routing-type>ANYCAST</default-queue-routing-type>
</address-setting>
<address-setting match="{{.Limited}}#">
<max-size-bytes>{{.LimitedBytes}}</max-size-bytes>
<address-full-policy>FAIL</address-full-policy>
</address-setting>
<address-setting match="{{.Topic}}#">
<default-address-routing-type>MULTICAST</default-address-routing-type>
<default-queue-routing-type>MULTICAST</default-queue-routing-type>
</address-setting>
</address-settings>
<addresses>
<address name="{{.DeadLetter}}"><anycast><queue name="{{.DeadLetter}}"/></anycast></address>
<address name="{{.Expiry}}"><anycast><queue name="{{.Expiry}}"/></anycast></address>
<address name="{{.DeniedQueue}}"><anycast><queue name="{{.DeniedQueue}}"/></anycast></address>
</addresses>
</core></configuration>
`

// artemisLogin knows User by password and by client certificate.
const artemisLogin = `activemq {
  org.apache.activemq.artemis.spi.core.security.jaas.TextFileCertificateLoginModule sufficient
    baseDir="%[1]s" org.apache.activemq.jaas.textfiledn.user="certificates.properties" org.apache.activemq.jaas.textfiledn.role="roles.properties";
  org.apache.activemq.artemis.spi.core.security.jaas.PropertiesLoginModule sufficient
    baseDir="%[1]s" org.apache.activemq.jaas.properties.user="users.properties" org.apache.activemq.jaas.properties.role="roles.properties";
};
`

// StartArtemis starts an ActiveMQ Artemis with its data in dir and waits until it serves clients.
// Its heap is 768 MiB. The acceptor with TLS takes SASL EXTERNAL for the client certificate of
// WriteTLS, and SASL PLAIN.
func StartArtemis(ctx context.Context, dir string, o Options) (*Broker, error) {
	o, dir, err := o.withDefaults(dir, Artemis)
	if err != nil {
		return nil, err
	}
	libs, err := artemisLibraries(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := needTools(ctx, o.Log, "java"); err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	if err := configureArtemis(dir, o, ports[0], ports[1]); err != nil {
		return nil, err
	}
	variable := "POSTHOUSE_TEST_" + strings.ToUpper(o.Name)
	b := &Broker{name: o.Name, version: ArtemisVersion, ready: amqpReady(amqpURL(ports[0])),
		env: map[string]string{variable: amqpURL(ports[0]), variable + "_TLS": "amqps://" + addr(ports[1])},
		launch: javaCommand(dir, libs, "768m", "-Djava.security.auth.login.config="+filepath.Join(dir, "login.config"),
			"org.apache.activemq.artemis.core.server.embedded.Main", dir)}
	b.launch.detached = o.Detached
	if o.Name == Artemis {
		name, value := jmsEnv(ctx, o)
		b.env[name] = value
	}
	return b, b.start(ctx)
}

func artemisLibraries(ctx context.Context, o Options) (string, error) {
	const group, log4j = "org.apache.artemis", "org.apache.logging.log4j"
	return javaLibraries(ctx, o, "Artemis "+ArtemisVersion,
		artifact{group, "artemis-server", ArtemisVersion},
		artifact{group, "artemis-amqp-protocol", ArtemisVersion},
		artifact{log4j, "log4j-slf4j2-impl", log4jVersion},
		artifact{log4j, "log4j-core", log4jVersion})
}

func configureArtemis(dir string, o Options, plain, tls int) error {
	var xml bytes.Buffer
	err := template.Must(template.New("xml").Parse(artemisXML)).Execute(&xml, map[string]any{
		"Name": o.Name, "Dir": dir, "Plain": addr(plain), "TLS": addr(tls),
		"Permissions": []string{"createNonDurableQueue", "deleteNonDurableQueue", "createDurableQueue",
			"deleteDurableQueue", "createAddress", "deleteAddress", "consume", "browse", "send", "manage"},
		"Denied": DeniedPrefix, "DeniedQueue": DeniedQueue, "Limited": ArtemisLimitedPrefix, "LimitedBytes": ArtemisLimitedBytes,
		"Topic": ArtemisTopicPrefix, "DeadLetter": ArtemisDeadLetter, "Expiry": ArtemisExpiry,
	})
	if err != nil {
		return fmt.Errorf("write broker.xml: %w", err)
	}
	// Files in etc are read as broker properties too, so the accounts have a directory of their own.
	accounts := filepath.Join(dir, "accounts")
	err = writeFiles(dir, map[string]string{
		"etc/broker.xml":                   xml.String(),
		"log4j2.properties":                log4jProperties,
		"login.config":                     fmt.Sprintf(artemisLogin, accounts),
		"accounts/users.properties":        User + "=" + Password + "\n",
		"accounts/certificates.properties": User + "=CN=" + User + "\n",
		"accounts/roles.properties":        "test=" + User + "\n",
	})
	if err != nil {
		return err
	}
	if err := concat(filepath.Join(dir, "server-and-key.pem"), o.TLSDir, FileServerKey, FileServer); err != nil {
		return err
	}
	return concat(filepath.Join(dir, "ca.pem"), o.TLSDir, FileCA)
}
