/*
 * Connections: a socket each, found by the number that the application holds as MQHCONN.
 */
#ifndef STANDIN_CONN_H
#define STANDIN_CONN_H

#include "wire.h"

typedef struct connection connection;

/* Opens a socket to the first address of CONNAME ("host(port),host(port)") that takes it. Returns NULL if none does. */
connection *dial(const char *conname);

/* Gives a new connection its number, and says how long to wait for an answer: twice the heartbeat, in seconds. */
MQHCONN keep(connection *, MQLONG heartbeat);

/* Takes a connection for one call. Returns NULL, with the reason, if there is none with that number or if another call is
 * using it: handles are shared without blocking. */
connection *borrow(MQHCONN, PMQLONG cc, PMQLONG rc);
void give_back(connection *);

/* Closes the socket and forgets the connection. */
void hang_up(connection *);

/* The frame to fill before ask. */
writer *request(connection *);

/* Sends the request and reads completion code and reason. wait is how many milliseconds longer than usual the answer may
 * take, negative for any time. What follows in the answer is left in r. If the connection breaks, that is reason 2009 for
 * this and every later call, and r is empty and bad. */
reader ask(connection *, MQLONG wait, PMQLONG cc, PMQLONG rc);

#endif
