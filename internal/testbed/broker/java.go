package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// fetchTimeout bounds one download.
const fetchTimeout = 15 * time.Minute

// log4jVersion is fetched with every Java broker.
const log4jVersion = "2.25.1"

// log4jProperties sends a Java broker's warnings and its start-up lines to its standard output.
const log4jProperties = `status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss.SSS} %-5p %c{1} %m%n%throwable
rootLogger.level=WARN
rootLogger.appenderRef.out.ref=out
logger.artemis.name=org.apache.activemq.artemis.core.server
logger.artemis.level=INFO
logger.kafka.name=kafka.server.KafkaRaftServer
logger.kafka.level=INFO
`

// pom asks Maven for artifacts and all they need at run time.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>posthouse.testbed</groupId><artifactId>libraries</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
{{range .}}<dependency><groupId>{{.Group}}</groupId><artifactId>{{.Artifact}}</artifactId><version>{{.Version}}</version></dependency>
{{end}}</dependencies>
</project>
`

// artifact is a Maven coordinate.
type artifact struct{ Group, Artifact, Version string }

// javaLibraries returns a directory with the jars of the artifacts and of all that they need,
// fetched by Maven on first use. title names the whole in progress lines and, with spaces
// replaced, in the cache.
func javaLibraries(ctx context.Context, o Options, title string, wanted ...artifact) (string, error) {
	name := strings.ToLower(strings.ReplaceAll(title, " ", "-"))
	return cached(ctx, o.Cache, name, o.Log, func(dir string) error {
		if err := needTools(ctx, o.Log, "mvn"); err != nil {
			return err
		}
		fmt.Fprintf(o.Log, "fetching %s with Maven ...\n", title)
		start := time.Now()
		if err := copyDependencies(ctx, o.Log, dir, wanted); err != nil {
			return fmt.Errorf("fetch %s: %w", title, err)
		}
		fmt.Fprintf(o.Log, "fetched %s in %.0f s\n", title, time.Since(start).Seconds())
		return nil
	})
}

// copyDependencies lets Maven put the jars into dir. It tries twice: -U makes Maven forget a
// failure that it remembers from the first time.
func copyDependencies(ctx context.Context, log io.Writer, dir string, wanted []artifact) error {
	var text bytes.Buffer
	if err := template.Must(template.New("pom").Parse(pom)).Execute(&text, wanted); err != nil {
		return fmt.Errorf("write the POM: %w", err)
	}
	work, err := os.MkdirTemp("", "posthouse-pom-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	file := filepath.Join(work, "pom.xml")
	if err := os.WriteFile(file, text.Bytes(), 0o644); err != nil {
		return err
	}
	args := []string{"-B", "-q", "-U", "-f", file,
		"org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory=" + dir}
	if err = runTool(ctx, nil, "mvn", args...); err != nil && ctx.Err() == nil {
		fmt.Fprintf(log, "Maven failed, trying once more ...\n")
		err = runTool(ctx, nil, "mvn", args...)
	}
	return err
}

// needTools makes sure that the programs are there, by installing Debian packages if this process
// may do that.
func needTools(ctx context.Context, log io.Writer, tools ...string) error {
	for _, tool := range tools {
		if err := needTool(ctx, log, tool); err != nil {
			return err
		}
	}
	return nil
}

func needTool(ctx context.Context, log io.Writer, tool string) error {
	if _, err := exec.LookPath(tool); err == nil {
		return nil
	}
	pkg := map[string]string{"java": "default-jre-headless", "javac": "default-jdk-headless", "mvn": "maven", "debootstrap": "debootstrap", Chromium: "chromium"}[tool]
	if err := aptInstall(ctx, log, pkg); err != nil {
		return fmt.Errorf("%s is not in PATH: %w (install it: on Debian, apt-get install %s)", tool, err, pkg)
	}
	return nil
}

// aptInstall installs a Debian package, one process at a time.
func aptInstall(ctx context.Context, log io.Writer, pkg string) error {
	if os.Geteuid() != 0 {
		return errors.New("not root, so it is not installed by itself")
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return errors.New("no apt-get here, so it is not installed by itself")
	}
	unlock, err := Lock(ctx, filepath.Join(os.TempDir(), "posthouse-testbed-apt.lock"), log)
	if err != nil {
		return err
	}
	defer unlock()
	fmt.Fprintf(log, "installing the Debian package %s ...\n", pkg)
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	if err := runTool(ctx, env, "apt-get", "-qq", "update"); err != nil {
		return err
	}
	return runTool(ctx, env, "apt-get", "-qq", "install", "-y", "--no-install-recommends", pkg)
}

// runTool runs a program to its end; the error carries the last lines of its output.
func runTool(ctx context.Context, env []string, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	return runCommand(ctx, cmd)
}

// runCommand runs cmd to its end, or kills it when ctx ends; nor does it outlive this process.
func runCommand(ctx context.Context, cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = sysProcAttr(false, false)
	}
	p, err := startChild(cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
		err = p.err
	case <-ctx.Done():
		p.SignalGroup(syscall.SIGKILL)
		<-p.done
		err = context.Cause(ctx)
	}
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) > 8 {
		lines = lines[:8] // Maven and debootstrap say what is wrong first
	}
	return fmt.Errorf("run %s: %w\n%s", filepath.Base(cmd.Path), err, strings.Join(lines, "\n"))
}

// javaCommand is the launch of a Java program with a small heap.
func javaCommand(dir, libs, heap string, args ...string) launch {
	base := []string{"-Xms64m", "-Xmx" + heap, "-XX:+UseSerialGC", "-XX:-UsePerfData",
		"-Djava.net.preferIPv4Stack=true", "-Djava.io.tmpdir=" + dir,
		"-Dlog4j2.configurationFile=" + filepath.Join(dir, "log4j2.properties"), "-Dlog4j2.disableJmx=true",
		"-cp", filepath.Join(libs, "*")}
	return launch{path: "java", args: append(base, args...), dir: dir, log: filepath.Join(dir, "broker.log")}
}
