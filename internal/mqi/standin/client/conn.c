#define _GNU_SOURCE
#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096, DIAL_MS = 5000, DEFAULT_HEARTBEAT = 5 };

struct connection {
	int fd; /* -1 once it is broken */
	int busy;
	MQHCONN number; /* 0 before keep */
	MQLONG patience; /* milliseconds */
	writer out;
	unsigned char *in;
	size_t in_cap;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the table, and of busy in each connection */
static connection *table[MOST];                          /* number n is at n-1 */

static long now_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000L + t.tv_nsec / 1000000L;
}

/* Waits until fd is ready or the clock shows until (negative: for ever). Signals, which a Go program gets all the time,
 * do not count. */
static int ready(int fd, short what, long until) {
	for (;;) {
		long left = until < 0 ? -1 : until - now_ms();
		if (until >= 0 && left < 0) {
			return 0;
		}
		struct pollfd p = {.fd = fd, .events = what};
		int n = poll(&p, 1, (int)left);
		if (n > 0) {
			return 1;
		}
		if (n < 0 && errno != EINTR) {
			return 0;
		}
	}
}

static int dial_one(const struct addrinfo *a) {
	int fd = socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		return -1;
	}
	int failed = 0, one = 1;
	socklen_t size = sizeof failed;
	if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
		failed = errno != EINPROGRESS || !ready(fd, POLLOUT, now_ms() + DIAL_MS) ||
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &size) != 0 || failed;
	}
	if (failed) {
		close(fd);
		return -1;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

static int dial_host(const char *host, const char *port) {
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	int fd = -1;
	if (getaddrinfo(host, port, &hints, &found) != 0) {
		return -1;
	}
	for (struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
		fd = dial_one(a);
	}
	freeaddrinfo(found);
	return fd;
}

connection *dial(const char *conname) {
	char list[512], *rest = NULL;
	int fd = -1;
	snprintf(list, sizeof list, "%s", conname);
	for (char *one = strtok_r(list, ",", &rest); one != NULL && fd < 0; one = strtok_r(NULL, ",", &rest)) {
		char host[300], port[16] = "1414";
		if (sscanf(one, " %299[^( ] ( %15[0-9]", host, port) >= 1) {
			fd = dial_host(host, port);
		}
	}
	if (fd < 0) {
		return NULL;
	}
	connection *c = calloc(1, sizeof *c);
	c->fd = fd;
	c->busy = 1;
	c->patience = 2000 * DEFAULT_HEARTBEAT;
	return c;
}

MQHCONN keep(connection *c, MQLONG heartbeat) {
	c->patience = 2000 * heartbeat;
	pthread_mutex_lock(&lock);
	MQHCONN n = 0;
	while (n < MOST && table[n] != NULL) {
		n++;
	}
	if (n < MOST) {
		table[n] = c;
		c->number = n + 1;
	}
	pthread_mutex_unlock(&lock);
	return n < MOST ? n + 1 : MQHC_UNUSABLE_HCONN;
}

connection *borrow(MQHCONN number, PMQLONG cc, PMQLONG rc) {
	pthread_mutex_lock(&lock);
	connection *c = number > 0 && number <= MOST ? table[number - 1] : NULL;
	int taken = c != NULL && c->busy;
	if (c != NULL && !taken) {
		c->busy = 1;
	}
	pthread_mutex_unlock(&lock);
	if (c == NULL || taken) {
		*cc = MQCC_FAILED;
		*rc = taken ? MQRC_CALL_IN_PROGRESS : MQRC_HCONN_ERROR;
		return NULL;
	}
	return c;
}

void give_back(connection *c) {
	pthread_mutex_lock(&lock);
	c->busy = 0;
	pthread_mutex_unlock(&lock);
}

static void break_off(connection *c) {
	if (c->fd >= 0) {
		close(c->fd);
	}
	c->fd = -1;
}

void hang_up(connection *c) {
	break_off(c);
	pthread_mutex_lock(&lock);
	if (c->number > 0) {
		table[c->number - 1] = NULL;
	}
	pthread_mutex_unlock(&lock);
	free(c->out.p);
	free(c->in);
	free(c);
}

writer *request(connection *c) {
	return &c->out;
}

static int send_all(connection *c, long until) {
	MQLONG n = (MQLONG)(c->out.n - 4);
	memcpy(c->out.p, &n, sizeof n);
	for (size_t done = 0; done < c->out.n;) {
		ssize_t k = send(c->fd, c->out.p + done, c->out.n - done, MSG_NOSIGNAL);
		if (k > 0) {
			done += (size_t)k;
		} else if (k < 0 && errno == EAGAIN) {
			if (!ready(c->fd, POLLOUT, until)) {
				return 0;
			}
		} else if (errno != EINTR) {
			return 0;
		}
	}
	return 1;
}

static int read_all(connection *c, void *to, size_t n, long until) {
	for (size_t done = 0; done < n;) {
		ssize_t k = recv(c->fd, (char *)to + done, n - done, 0);
		if (k > 0) {
			done += (size_t)k;
		} else if (k < 0 && errno == EAGAIN) {
			if (!ready(c->fd, POLLIN, until)) {
				return 0;
			}
		} else if (k == 0 || errno != EINTR) {
			return 0;
		}
	}
	return 1;
}

/* Reads one frame into c->in. Returns its length, or -1. */
static long read_frame(connection *c, long until) {
	uint32_t n;
	if (!read_all(c, &n, sizeof n, until)) {
		return -1;
	}
	if (n > c->in_cap) {
		c->in_cap = 2 * (size_t)n;
		c->in = realloc(c->in, c->in_cap);
	}
	return c->in != NULL && read_all(c, c->in, n, until) ? (long)n : -1;
}

reader ask(connection *c, MQLONG wait, PMQLONG cc, PMQLONG rc) {
	long until = wait < 0 ? -1 : now_ms() + wait + c->patience;
	long n = -1;
	if (c->fd >= 0 && send_all(c, until)) {
		n = read_frame(c, until);
	}
	if (n < 0) {
		break_off(c);
		*cc = MQCC_FAILED;
		*rc = MQRC_CONNECTION_BROKEN;
		return (reader){.bad = 1};
	}
	reader r = {c->in, (size_t)n, 0};
	*cc = take_long(&r);
	*rc = take_long(&r);
	return r;
}
