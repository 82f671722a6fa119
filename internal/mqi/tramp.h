/*
 * Loading of IBM's client library at run time. The 22 calls of cmqc.h are defined in tramp.c and go to it.
 */
#ifndef POSTHOUSE_TRAMP_H
#define POSTHOUSE_TRAMP_H

#include "include/cmqc.h"

/* Where the library came from, or why there is none. */
typedef struct {
	MQLONG reason;      /* MQRC_NONE if it is loaded */
	char path[1024];    /* what was loaded */
	char tried[4096];   /* what was tried, and what the loader said to each */
} mqi_status;

/* Loads the library if it is not loaded, and says how that went. The first success is final; a failure is tried again by
 * the next call. */
void mqi_load(mqi_status *status);

/* Says how the last load went, without another try. */
void mqi_last(mqi_status *status);

/* Names the library instead of the usual places; NULL or "" for those. Returns 0, or 1 if another one is loaded already. */
int mqi_set_library(const char *path);

#endif
