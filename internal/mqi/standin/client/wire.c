#include "wire.h"

#include <stdlib.h>
#include <string.h>

static unsigned char *room(writer *w, size_t n) {
	if (w->n + n > w->cap) {
		w->cap = 2 * (w->n + n);
		w->p = realloc(w->p, w->cap);
		if (w->p == NULL) {
			abort(); /* a test's library: nothing to save */
		}
	}
	unsigned char *at = w->p + w->n;
	w->n += n;
	return at;
}

void start(writer *w, enum verb v) {
	w->n = 0;
	put_long(w, 0); /* the length, known when the frame is sent */
	put_long(w, v);
}

void put_long(writer *w, MQLONG v) {
	memcpy(room(w, sizeof v), &v, sizeof v);
}

void put_bytes(writer *w, const void *p, MQLONG n) {
	put_long(w, n);
	if (n > 0) {
		memcpy(room(w, (size_t)n), p, (size_t)n);
	}
}

void put_text(writer *w, const char *s) {
	put_bytes(w, s, s == NULL ? 0 : (MQLONG)strlen(s));
}

void put_field(writer *w, const MQCHAR *s, size_t size) {
	size_t n = strnlen(s, size);
	while (n > 0 && s[n - 1] == ' ') {
		n--;
	}
	put_bytes(w, s, (MQLONG)n);
}

void put_charv(writer *w, const void *base, const MQCHARV *s) {
	const char *at = s->VSPtr != NULL ? s->VSPtr : (const char *)base + s->VSOffset;
	if (s->VSLength == MQVS_NULL_TERMINATED) {
		put_text(w, at);
	} else {
		put_bytes(w, at, s->VSLength);
	}
}

MQLONG take_long(reader *r) {
	MQLONG v = 0;
	if (r->n < sizeof v) {
		r->bad = 1;
		r->n = 0;
		return 0;
	}
	memcpy(&v, r->p, sizeof v);
	r->p += sizeof v;
	r->n -= sizeof v;
	return v;
}

const unsigned char *take_bytes(reader *r, size_t *n) {
	*n = (size_t)take_long(r);
	if (r->bad || *n > r->n) {
		r->bad = 1;
		r->n = *n = 0;
	}
	const unsigned char *at = r->p;
	r->p += *n;
	r->n -= *n;
	return at;
}

size_t take_into(reader *r, void *to, size_t max) {
	size_t n;
	const unsigned char *at = take_bytes(r, &n);
	if (n > 0 && to != NULL) {
		memcpy(to, at, n < max ? n : max);
	}
	return n;
}
