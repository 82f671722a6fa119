/*
 * What the stand-in's client library and its queue manager say to each other. A frame is its length without these four
 * bytes, then a body. A request's body starts with the verb, a reply's with completion code and reason. What follows are
 * longs and byte strings, which have their length before them; all numbers are little-endian. Structures of the MQI travel
 * as they lie in memory, as long as their version says.
 */
#ifndef STANDIN_WIRE_H
#define STANDIN_WIRE_H

#include <stddef.h>

#include "cmqc.h"

enum verb {
	VERB_CONNX = 1, VERB_DISC, VERB_OPEN, VERB_CLOSE, VERB_PUT, VERB_PUT1, VERB_GET, VERB_INQ, VERB_CMIT, VERB_BACK, VERB_SUB,
	VERB_CRTMH, VERB_DLTMH, VERB_SETMP, VERB_DLTMP, VERB_INQMP
};

/* A frame that is being written; the bytes are reused by the next one. */
typedef struct {
	unsigned char *p;
	size_t n, cap;
} writer;

void start(writer *, enum verb);
void put_long(writer *, MQLONG);
void put_bytes(writer *, const void *, MQLONG);
void put_text(writer *, const char *);                 /* a C string, NULL as an empty one */
void put_field(writer *, const MQCHAR *, size_t size); /* a field that ends with its size, a null or blanks */
void put_charv(writer *, const void *base, const MQCHARV *);

/* A frame that is being read. Behind its end everything is zero and empty, and bad is set. */
typedef struct {
	const unsigned char *p;
	size_t n;
	int bad;
} reader;

MQLONG take_long(reader *);
const unsigned char *take_bytes(reader *, size_t *n);
size_t take_into(reader *, void *to, size_t max); /* returns how many bytes there were */

#endif
