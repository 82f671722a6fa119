package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peerOf asks the kernel who has opened the other end of c.
func peerOf(c *net.UnixConn) (p peer) {
	raw, err := c.SyscallConn()
	if err != nil {
		return peer{uid: -1, known: true}
	}
	p = peer{uid: -1, known: true} // nobody, if it does not say
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			p.uid = int(cred.Uid)
		}
	})
	return p
}
