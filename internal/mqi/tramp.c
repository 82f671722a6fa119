//go:build cgo && ibmmq

/*
 * The 22 calls of the MQI, passed on to the client library of IBM that is installed here. It is opened by the first
 * MQCONNX, and by each later one until that succeeds, so a client that is installed later is found without a restart. All
 * calls are looked up when the library is opened, under one lock and into one table; after that nothing is written
 * anymore, so the table needs no lock to be read.
 */
#include "tramp.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALLS(X) \
	X(MQBACK) X(MQBEGIN) X(MQCB) X(MQCLOSE) X(MQCMIT) X(MQCONNX) X(MQCRTMH) X(MQCTL) X(MQDISC) X(MQDLTMH) X(MQDLTMP) \
	X(MQGET) X(MQINQ) X(MQINQMP) X(MQOPEN) X(MQPUT) X(MQPUT1) X(MQSET) X(MQSETMP) X(MQSTAT) X(MQSUB) X(MQSUBRQ)

#define POINTER(call) __typeof__(call) *call;

typedef struct {
	CALLS(POINTER)
} table;

static const char *const usual[] = {"libmqm_r.so", "/opt/mqm/lib64/libmqm_r.so"};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of everything below but loaded */
static char chosen[sizeof(((mqi_status *)0)->path)];
static mqi_status last = {MQRC_ENVIRONMENT_ERROR, "", ""};
static table calls;
static _Atomic(const table *) loaded; /* &calls when that is complete, else NULL */

/* The environment is read before main, while nobody can change it: getenv beside a setenv elsewhere is a race. */
__attribute__((constructor)) static void read_environment(void) {
	const char *path = getenv("POSTHOUSE_MQ_LIB");
	if (path != NULL) {
		snprintf(chosen, sizeof chosen, "%s", path);
	}
}

/* Adds a line of what was tried; what does not fit is cut off. */
static void note(const char *path, const char *what) {
	size_t n = strlen(last.tried);
	snprintf(last.tried + n, sizeof last.tried - n, "%s%s (%s)", n == 0 ? "" : "; ", path, what);
}

/* Looks up every call in lib. Returns NULL, or the name of the first that is missing. */
static const char *look_up(void *lib, table *t) {
#define LOOK_UP(call) \
	*(void **)&t->call = dlsym(lib, #call); \
	if (t->call == NULL) { \
		return #call; \
	}
	CALLS(LOOK_UP)
#undef LOOK_UP
	return NULL;
}

/* Opens one library. Returns whether it is the one to use. */
static int try_library(const char *path) {
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (lib == NULL) {
		note(path, dlerror());
		return 0;
	}
	const char *missing = look_up(lib, &calls);
	if (missing != NULL) {
		char what[64];
		snprintf(what, sizeof what, "too old: it has no %s", missing);
		note(path, what);
		last.reason = MQRC_FUNCTION_NOT_SUPPORTED;
		dlclose(lib);
		return 0;
	}
	snprintf(last.path, sizeof last.path, "%s", path);
	last.reason = MQRC_NONE;
	atomic_store(&loaded, &calls);
	return 1;
}

/* Tries the chosen library, or the usual ones until one will do. The lock is held. */
static void try_all(void) {
	last = (mqi_status){MQRC_ENVIRONMENT_ERROR, "", ""};
	if (chosen[0] == '/') {
		try_library(chosen);
	} else if (chosen[0] != '\0') {
		note(chosen, "not an absolute path"); /* the loader would search where others may write */
	} else {
		for (size_t i = 0; i < sizeof usual / sizeof usual[0] && !try_library(usual[i]); i++) {
		}
	}
}

void mqi_load(mqi_status *status) {
	pthread_mutex_lock(&lock);
	if (atomic_load(&loaded) == NULL) {
		try_all();
	}
	*status = last;
	pthread_mutex_unlock(&lock);
}

void mqi_last(mqi_status *status) {
	pthread_mutex_lock(&lock);
	*status = last;
	pthread_mutex_unlock(&lock);
}

int mqi_set_library(const char *path) {
	pthread_mutex_lock(&lock);
	int other = atomic_load(&loaded) != NULL && strcmp(path, last.path) != 0;
	if (!other) {
		snprintf(chosen, sizeof chosen, "%s", path);
	}
	pthread_mutex_unlock(&lock);
	return other;
}

/* Completes a call that there is no library for. */
static void fail(MQLONG reason, PMQLONG cc, PMQLONG rc) {
	*cc = MQCC_FAILED;
	*rc = reason;
}

void MQENTRY MQCONNX(PMQCHAR name, PMQCNO options, PMQHCONN conn, PMQLONG cc, PMQLONG rc) {
	const table *t = atomic_load(&loaded);
	if (t == NULL) {
		mqi_status status;
		mqi_load(&status);
		if (status.reason != MQRC_NONE) {
			*conn = MQHC_UNUSABLE_HCONN;
			fail(status.reason, cc, rc);
			return;
		}
		t = atomic_load(&loaded);
	}
	t->MQCONNX(name, options, conn, cc, rc);
}

/* Every other call needs a connection, and without a library there is none. */
#define PASS(call, parameters, arguments) \
	void MQENTRY call parameters { \
		const table *t = atomic_load(&loaded); \
		if (t == NULL) { \
			fail(MQRC_HCONN_ERROR, cc, rc); \
		} else { \
			t->call arguments; \
		} \
	}

PASS(MQBACK, (MQHCONN conn, PMQLONG cc, PMQLONG rc), (conn, cc, rc))
PASS(MQBEGIN, (MQHCONN conn, PMQVOID bo, PMQLONG cc, PMQLONG rc), (conn, bo, cc, rc))
PASS(MQCB, (MQHCONN conn, MQLONG operation, PMQVOID cbd, MQHOBJ obj, PMQVOID md, PMQVOID gmo, PMQLONG cc, PMQLONG rc),
	(conn, operation, cbd, obj, md, gmo, cc, rc))
PASS(MQCLOSE, (MQHCONN conn, PMQHOBJ obj, MQLONG options, PMQLONG cc, PMQLONG rc), (conn, obj, options, cc, rc))
PASS(MQCMIT, (MQHCONN conn, PMQLONG cc, PMQLONG rc), (conn, cc, rc))
PASS(MQCRTMH, (MQHCONN conn, PMQVOID cmho, PMQHMSG msg, PMQLONG cc, PMQLONG rc), (conn, cmho, msg, cc, rc))
PASS(MQCTL, (MQHCONN conn, MQLONG operation, PMQVOID ctlo, PMQLONG cc, PMQLONG rc), (conn, operation, ctlo, cc, rc))
PASS(MQDISC, (PMQHCONN conn, PMQLONG cc, PMQLONG rc), (conn, cc, rc))
PASS(MQDLTMH, (MQHCONN conn, PMQHMSG msg, PMQVOID dmho, PMQLONG cc, PMQLONG rc), (conn, msg, dmho, cc, rc))
PASS(MQDLTMP, (MQHCONN conn, MQHMSG msg, PMQVOID dmpo, PMQVOID name, PMQLONG cc, PMQLONG rc), (conn, msg, dmpo, name, cc, rc))
PASS(MQGET, (MQHCONN conn, MQHOBJ obj, PMQVOID md, PMQVOID gmo, MQLONG size, PMQVOID buf, PMQLONG length, PMQLONG cc, PMQLONG rc),
	(conn, obj, md, gmo, size, buf, length, cc, rc))
PASS(MQINQ, (MQHCONN conn, MQHOBJ obj, MQLONG n, PMQLONG selectors, MQLONG ni, PMQLONG ints, MQLONG nc, PMQCHAR chars,
	PMQLONG cc, PMQLONG rc), (conn, obj, n, selectors, ni, ints, nc, chars, cc, rc))
PASS(MQINQMP, (MQHCONN conn, MQHMSG msg, PMQVOID impo, PMQVOID name, PMQVOID pd, PMQLONG type, MQLONG size, PMQVOID value,
	PMQLONG length, PMQLONG cc, PMQLONG rc), (conn, msg, impo, name, pd, type, size, value, length, cc, rc))
PASS(MQOPEN, (MQHCONN conn, PMQVOID od, MQLONG options, PMQHOBJ obj, PMQLONG cc, PMQLONG rc), (conn, od, options, obj, cc, rc))
PASS(MQPUT, (MQHCONN conn, MQHOBJ obj, PMQVOID md, PMQVOID pmo, MQLONG size, PMQVOID buf, PMQLONG cc, PMQLONG rc),
	(conn, obj, md, pmo, size, buf, cc, rc))
PASS(MQPUT1, (MQHCONN conn, PMQVOID od, PMQVOID md, PMQVOID pmo, MQLONG size, PMQVOID buf, PMQLONG cc, PMQLONG rc),
	(conn, od, md, pmo, size, buf, cc, rc))
PASS(MQSET, (MQHCONN conn, MQHOBJ obj, MQLONG n, PMQLONG selectors, MQLONG ni, PMQLONG ints, MQLONG nc, PMQCHAR chars,
	PMQLONG cc, PMQLONG rc), (conn, obj, n, selectors, ni, ints, nc, chars, cc, rc))
PASS(MQSETMP, (MQHCONN conn, MQHMSG msg, PMQVOID smpo, PMQVOID name, PMQVOID pd, MQLONG type, MQLONG size, PMQVOID value,
	PMQLONG cc, PMQLONG rc), (conn, msg, smpo, name, pd, type, size, value, cc, rc))
PASS(MQSTAT, (MQHCONN conn, MQLONG type, PMQVOID sts, PMQLONG cc, PMQLONG rc), (conn, type, sts, cc, rc))
PASS(MQSUB, (MQHCONN conn, PMQVOID sd, PMQHOBJ obj, PMQHOBJ sub, PMQLONG cc, PMQLONG rc), (conn, sd, obj, sub, cc, rc))
PASS(MQSUBRQ, (MQHCONN conn, MQHOBJ sub, MQLONG action, PMQVOID sro, PMQLONG cc, PMQLONG rc), (conn, sub, action, sro, cc, rc))
