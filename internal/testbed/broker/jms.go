package broker

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// JMS is the name under which a missing JMS client is counted and required. It is no broker: it comes with Artemis.
const JMS = "jms"

// EnvJMS names a directory with the jars of Qpid JMS: the client of people who use AMQP 1.0 from Java.
const EnvJMS = "POSTHOUSE_TEST_JMS"

// jmsVersion of org.apache.qpid:qpid-jms-client: Jakarta Messaging 3.1 over AMQP 1.0.
const jmsVersion = "2.7.0"

func jmsLibraries(ctx context.Context, o Options) (string, error) {
	return javaLibraries(ctx, o, "Qpid JMS "+jmsVersion,
		artifact{"org.apache.qpid", "qpid-jms-client", jmsVersion}, artifact{"org.slf4j", "slf4j-nop", "2.0.16"})
}

// jmsEnv is the variable that tells tests of the client, or why there is none: a broker without it is still a broker.
func jmsEnv(ctx context.Context, o Options) (name, value string) {
	dir, err := jmsLibraries(ctx, o)
	if err == nil {
		err = needTools(ctx, o.Log, "javac")
	}
	if err != nil {
		line, _, _ := strings.Cut(err.Error(), "\n")
		return EnvSkipPrefix + strings.ToUpper(JMS), line
	}
	return EnvJMS, dir
}

// RunJMS runs a Java program of one source file against the JMS client and returns what it prints. It skips the test, or
// fails it, as Need does where there is no client.
func RunJMS(tb testing.TB, source string, args ...string) string {
	tb.Helper()
	libs := os.Getenv(EnvJMS)
	if libs == "" {
		giveUp(tb, JMS, whyMissing(JMS, EnvJMS))
	}
	if _, err := exec.LookPath("javac"); err != nil {
		giveUp(tb, JMS, err.Error())
	}
	cmd := exec.CommandContext(tb.Context(), "java", append([]string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8",
		"-Dstdout.encoding=UTF-8", "-Djava.net.preferIPv4Stack=true", "-cp", filepath.Join(libs, "*"), source}, args...)...)
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s %v: %v\n%s%s", filepath.Base(source), args, err, out, problems.String())
	}
	return string(out)
}
