package broker

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from below the range from which kernels choose the local ports of outgoing
// connections (from 32768 on Linux): a port from that range may be gone when a broker restarts.
const (
	lowestPort  = 15000
	highestPort = 32000
)

// freePorts returns n different ports of 127.0.0.1 on which nobody listens.
func freePorts(n int) ([]int, error) {
	var open []net.Listener
	defer func() {
		for _, l := range open {
			l.Close()
		}
	}()
	ports := make([]int, 0, n)
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		l, err := net.Listen("tcp4", addr(port))
		if err != nil {
			continue
		}
		open = append(open, l) // kept until all are found, so that they differ
		ports = append(ports, port)
	}
	return nil, errors.New("find free ports on 127.0.0.1: none free in 1000 tries")
}

// FreeAddr returns an HOST:PORT of 127.0.0.1 on which nobody listens, for a server that a test starts, ends and starts
// again in the same place.
func FreeAddr() (string, error) {
	ports, err := freePorts(1)
	if err != nil {
		return "", err
	}
	return addr(ports[0]), nil
}

func addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func amqpURL(port int) string {
	return fmt.Sprintf("amqp://%s:%s@%s", User, Password, addr(port))
}
