/*
 * A client library for tests, with the 22 calls of the MQI. It knows nothing about queues: it hands each call to the
 * stand-in's queue manager, over a socket to the CONNAME of the channel, and the answer back. Written from IBM's public
 * reference; it has no part of IBM's.
 */
#include <string.h>

#include "cmqxc.h"
#include "conn.h"

#define EXPORT __attribute__((visibility("default")))

/* How long each structure is, by its version. */
static MQLONG size_md(const MQMD *md) {
	return md->Version >= MQMD_VERSION_2 ? MQMD_LENGTH_2 : MQMD_LENGTH_1;
}

static MQLONG size_od(const MQOD *od) {
	static const MQLONG sizes[] = {MQOD_LENGTH_1, MQOD_LENGTH_2, MQOD_LENGTH_3, MQOD_LENGTH_4};
	return od->Version >= 1 && od->Version <= 4 ? sizes[od->Version - 1] : MQOD_LENGTH_1;
}

static MQLONG size_gmo(const MQGMO *gmo) {
	static const MQLONG sizes[] = {MQGMO_LENGTH_1, MQGMO_LENGTH_2, MQGMO_LENGTH_3, MQGMO_LENGTH_4};
	return gmo->Version >= 1 && gmo->Version <= 4 ? sizes[gmo->Version - 1] : MQGMO_LENGTH_1;
}

static MQLONG size_pmo(const MQPMO *pmo) {
	static const MQLONG sizes[] = {MQPMO_LENGTH_1, MQPMO_LENGTH_2, MQPMO_LENGTH_3};
	return pmo->Version >= 1 && pmo->Version <= 3 ? sizes[pmo->Version - 1] : MQPMO_LENGTH_1;
}

static void put_od(writer *w, const MQOD *od) {
	put_bytes(w, od, size_od(od));
	if (od->Version >= MQOD_VERSION_4) {
		put_charv(w, od, &od->ObjectString);
	} else {
		put_text(w, NULL);
	}
}

/* Takes a string of the queue manager into one that the application gave room for. */
static void take_charv(reader *r, void *base, MQCHARV *s) {
	char *at = s->VSPtr != NULL ? s->VSPtr : (char *)base + s->VSOffset;
	size_t n = take_into(r, at, (size_t)(s->VSBufSize > 0 ? s->VSBufSize : 0));
	if (s->VSBufSize > 0) {
		s->VSLength = (MQLONG)n;
	}
}

static void take_od(reader *r, MQOD *od) {
	size_t n;
	take_into(r, od, (size_t)size_od(od));
	if (od->Version >= MQOD_VERSION_4) {
		take_charv(r, od, &od->ResObjectString);
	} else {
		take_bytes(r, &n);
	}
}

/* A string of MQCSP, which has its pointer, offset and length in three fields. */
static void put_secret(writer *w, const MQCSP *csp, const void *p, MQLONG offset, MQLONG n) {
	put_bytes(w, p != NULL ? p : (const char *)csp + offset, n);
}

static void put_credentials(writer *w, const MQCSP *csp) {
	if (csp == NULL) {
		for (int i = 0; i < 3; i++) {
			put_text(w, NULL);
		}
		return;
	}
	put_secret(w, csp, csp->CSPUserIdPtr, csp->CSPUserIdOffset, csp->CSPUserIdLength);
	put_secret(w, csp, csp->CSPPasswordPtr, csp->CSPPasswordOffset, csp->CSPPasswordLength);
	if (csp->Version >= MQCSP_VERSION_3) {
		put_secret(w, csp, csp->TokenPtr, csp->TokenOffset, csp->TokenLength);
	} else {
		put_text(w, NULL);
	}
}

/* The channel: its name, cipher, largest message and heartbeat. */
static void put_channel(writer *w, const MQCD *cd) {
	if (cd == NULL) {
		put_text(w, "SYSTEM.DEF.SVRCONN");
		put_text(w, NULL);
		put_long(w, 4 << 20);
		put_long(w, 0);
		return;
	}
	put_field(w, cd->ChannelName, sizeof cd->ChannelName);
	put_field(w, cd->SSLCipherSpec, sizeof cd->SSLCipherSpec);
	put_long(w, cd->MaxMsgLength);
	put_long(w, cd->HeartbeatInterval);
}

static void put_tls(writer *w, const MQSCO *sco) {
	if (sco == NULL) {
		put_text(w, NULL);
		put_text(w, NULL);
		return;
	}
	put_field(w, sco->KeyRepository, sizeof sco->KeyRepository);
	put_field(w, sco->CertificateLabel, sco->Version >= MQSCO_VERSION_5 ? sizeof sco->CertificateLabel : 0);
}

static void put_connect(writer *w, const MQCHAR *name, const MQCNO *cno) {
	const MQCD *cd = cno->Version >= MQCNO_VERSION_2 ? cno->ClientConnPtr : NULL;
	start(w, VERB_CONNX);
	put_field(w, name, MQ_Q_MGR_NAME_LENGTH);
	put_long(w, cno->Options);
	put_channel(w, cd);
	put_tls(w, cno->Version >= MQCNO_VERSION_4 ? cno->SSLConfigPtr : NULL);
	put_credentials(w, cno->Version >= MQCNO_VERSION_5 ? cno->SecurityParmsPtr : NULL);
	put_bytes(w, cno->CCDTUrlPtr, cno->Version >= MQCNO_VERSION_6 && cno->CCDTUrlPtr != NULL ? cno->CCDTUrlLength : 0);
	put_field(w, cno->ApplName, cno->Version >= MQCNO_VERSION_7 ? sizeof cno->ApplName : 0);
}

/* Where the queue manager is: the channel's CONNAME, or this machine. */
static connection *dial_for(const MQCNO *cno) {
	char conname[sizeof(MQCHAR264) + 1] = "localhost(1414)";
	const MQCD *cd = cno->Version >= MQCNO_VERSION_2 ? cno->ClientConnPtr : NULL;
	if (cd != NULL) {
		memcpy(conname, cd->ConnectionName, sizeof cd->ConnectionName);
		conname[sizeof cd->ConnectionName] = '\0';
	}
	return dial(conname);
}

EXPORT void MQENTRY MQCONNX(PMQCHAR name, PMQCNO cno, PMQHCONN conn, PMQLONG cc, PMQLONG rc) {
	*conn = MQHC_UNUSABLE_HCONN;
	connection *c = dial_for(cno);
	if (c == NULL) {
		*cc = MQCC_FAILED;
		*rc = MQRC_HOST_NOT_AVAILABLE;
		return;
	}
	put_connect(request(c), name, cno);
	reader r = ask(c, 0, cc, rc);
	MQLONG heartbeat = take_long(&r);
	if (*cc == MQCC_FAILED) {
		hang_up(c);
		return;
	}
	*conn = keep(c, heartbeat);
	give_back(c);
}

EXPORT void MQENTRY MQDISC(PMQHCONN conn, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(*conn, cc, rc);
	if (c != NULL) {
		start(request(c), VERB_DISC);
		ask(c, 0, cc, rc);
		hang_up(c);
		*conn = MQHC_UNUSABLE_HCONN;
	}
}

EXPORT void MQENTRY MQOPEN(MQHCONN conn, PMQVOID od, MQLONG options, PMQHOBJ obj, PMQLONG cc, PMQLONG rc) {
	*obj = MQHO_UNUSABLE_HOBJ;
	connection *c = borrow(conn, cc, rc);
	if (c == NULL) {
		return;
	}
	writer *w = request(c);
	start(w, VERB_OPEN);
	put_od(w, od);
	put_long(w, options);
	reader r = ask(c, 0, cc, rc);
	if (!r.bad) {
		take_od(&r, od);
		*obj = take_long(&r);
	}
	give_back(c);
}

EXPORT void MQENTRY MQCLOSE(MQHCONN conn, PMQHOBJ obj, MQLONG options, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	if (c == NULL) {
		return;
	}
	writer *w = request(c);
	start(w, VERB_CLOSE);
	put_long(w, *obj);
	put_long(w, options);
	ask(c, 0, cc, rc);
	if (*cc != MQCC_FAILED) {
		*obj = MQHO_UNUSABLE_HOBJ;
	}
	give_back(c);
}

/* What MQPUT and MQPUT1 have in common: descriptor, options and body. */
static void put_message(writer *w, const MQMD *md, const MQPMO *pmo, const void *body, MQLONG n) {
	put_bytes(w, md, size_md(md));
	put_bytes(w, pmo, size_pmo(pmo));
	put_bytes(w, body, n);
}

static void take_message(reader *r, MQMD *md, MQPMO *pmo) {
	take_into(r, md, (size_t)size_md(md));
	take_into(r, pmo, (size_t)size_pmo(pmo));
}

EXPORT void MQENTRY MQPUT(MQHCONN conn, MQHOBJ obj, PMQVOID md, PMQVOID pmo, MQLONG n, PMQVOID body, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	if (c == NULL) {
		return;
	}
	writer *w = request(c);
	start(w, VERB_PUT);
	put_long(w, obj);
	put_message(w, md, pmo, body, n);
	reader r = ask(c, 0, cc, rc);
	if (!r.bad) {
		take_message(&r, md, pmo);
	}
	give_back(c);
}

EXPORT void MQENTRY MQPUT1(MQHCONN conn, PMQVOID od, PMQVOID md, PMQVOID pmo, MQLONG n, PMQVOID body, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	if (c == NULL) {
		return;
	}
	writer *w = request(c);
	start(w, VERB_PUT1);
	put_od(w, od);
	put_message(w, md, pmo, body, n);
	reader r = ask(c, 0, cc, rc);
	if (!r.bad) {
		take_od(&r, od);
		take_message(&r, md, pmo);
	}
	give_back(c);
}

EXPORT void MQENTRY MQGET(MQHCONN conn, MQHOBJ obj, PMQVOID md, PMQVOID options, MQLONG size, PMQVOID buf, PMQLONG length,
	PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	if (c == NULL) {
		return;
	}
	MQGMO *gmo = options;
	writer *w = request(c);
	start(w, VERB_GET);
	put_long(w, obj);
	put_bytes(w, md, size_md(md));
	put_bytes(w, gmo, size_gmo(gmo));
	put_long(w, size);
	reader r = ask(c, gmo->Options & MQGMO_WAIT ? gmo->WaitInterval : 0, cc, rc);
	if (!r.bad) {
		take_into(&r, md, (size_t)size_md(md));
		take_into(&r, gmo, (size_t)size_gmo(gmo));
		take_into(&r, buf, (size_t)size);
		*length = take_long(&r);
	}
	give_back(c);
}

EXPORT void MQENTRY MQINQ(MQHCONN conn, MQHOBJ obj, MQLONG n, PMQLONG selectors, MQLONG n_ints, PMQLONG ints, MQLONG n_chars,
	PMQCHAR chars, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	if (c == NULL) {
		return;
	}
	writer *w = request(c);
	start(w, VERB_INQ);
	put_long(w, obj);
	put_bytes(w, selectors, n * (MQLONG)sizeof *selectors);
	put_long(w, n_ints);
	put_long(w, n_chars);
	reader r = ask(c, 0, cc, rc);
	if (!r.bad) {
		take_into(&r, ints, (size_t)n_ints * sizeof *ints);
		take_into(&r, chars, (size_t)n_chars);
	}
	give_back(c);
}

/* A call without anything but the connection. */
static void plain(MQHCONN conn, enum verb v, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	if (c != NULL) {
		start(request(c), v);
		ask(c, 0, cc, rc);
		give_back(c);
	}
}

EXPORT void MQENTRY MQCMIT(MQHCONN conn, PMQLONG cc, PMQLONG rc) {
	plain(conn, VERB_CMIT, cc, rc);
}

EXPORT void MQENTRY MQBACK(MQHCONN conn, PMQLONG cc, PMQLONG rc) {
	plain(conn, VERB_BACK, cc, rc);
}

EXPORT void MQENTRY MQSUB(MQHCONN conn, PMQVOID desc, PMQHOBJ obj, PMQHOBJ sub, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	if (c == NULL) {
		return;
	}
	MQSD *sd = desc;
	writer *w = request(c);
	start(w, VERB_SUB);
	put_bytes(w, sd, MQSD_LENGTH_1);
	put_charv(w, sd, &sd->ObjectString);
	put_charv(w, sd, &sd->SubName);
	put_long(w, *obj);
	reader r = ask(c, 0, cc, rc);
	if (!r.bad) {
		take_into(&r, sd, MQSD_LENGTH_1);
		take_charv(&r, sd, &sd->ResObjectString);
		*obj = take_long(&r);
		*sub = take_long(&r);
	}
	give_back(c);
}

/* A message handle is 64 bits: two longs. */
static void put_handle(writer *w, MQHMSG h) {
	put_long(w, (MQLONG)h);
	put_long(w, (MQLONG)(h >> 32));
}

EXPORT void MQENTRY MQCRTMH(MQHCONN conn, PMQVOID cmho, PMQHMSG msg, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	(void)cmho;
	if (c == NULL) {
		return;
	}
	start(request(c), VERB_CRTMH);
	reader r = ask(c, 0, cc, rc);
	MQLONG low = take_long(&r), high = take_long(&r);
	*msg = r.bad ? MQHM_UNUSABLE_HMSG : (MQHMSG)((uint64_t)(uint32_t)high << 32 | (uint32_t)low);
	give_back(c);
}

EXPORT void MQENTRY MQDLTMH(MQHCONN conn, PMQHMSG msg, PMQVOID dmho, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	(void)dmho;
	if (c == NULL) {
		return;
	}
	start(request(c), VERB_DLTMH);
	put_handle(request(c), *msg);
	ask(c, 0, cc, rc);
	if (*cc == MQCC_OK) {
		*msg = MQHM_UNUSABLE_HMSG;
	}
	give_back(c);
}

EXPORT void MQENTRY MQSETMP(MQHCONN conn, MQHMSG msg, PMQVOID smpo, PMQVOID name, PMQVOID pd, MQLONG type, MQLONG size,
	PMQVOID value, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	if (c == NULL) {
		return;
	}
	writer *w = request(c);
	start(w, VERB_SETMP);
	put_handle(w, msg);
	put_bytes(w, smpo, sizeof(MQSMPO));
	put_charv(w, name, name);
	put_bytes(w, pd, sizeof(MQPD));
	put_long(w, type);
	put_bytes(w, value, size);
	ask(c, 0, cc, rc);
	give_back(c);
}

EXPORT void MQENTRY MQDLTMP(MQHCONN conn, MQHMSG msg, PMQVOID dmpo, PMQVOID name, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	(void)dmpo;
	if (c == NULL) {
		return;
	}
	writer *w = request(c);
	start(w, VERB_DLTMP);
	put_handle(w, msg);
	put_charv(w, name, name);
	ask(c, 0, cc, rc);
	give_back(c);
}

EXPORT void MQENTRY MQINQMP(MQHCONN conn, MQHMSG msg, PMQVOID options, PMQVOID name, PMQVOID pd, PMQLONG type, MQLONG size,
	PMQVOID value, PMQLONG length, PMQLONG cc, PMQLONG rc) {
	connection *c = borrow(conn, cc, rc);
	if (c == NULL) {
		return;
	}
	MQIMPO *impo = options;
	writer *w = request(c);
	start(w, VERB_INQMP);
	put_handle(w, msg);
	put_bytes(w, impo, sizeof *impo);
	put_charv(w, name, name);
	put_long(w, size);
	reader r = ask(c, 0, cc, rc);
	if (!r.bad) {
		take_into(&r, impo, sizeof *impo);
		take_charv(&r, impo, &impo->ReturnedName);
		take_into(&r, pd, sizeof(MQPD));
		*type = take_long(&r);
		take_into(&r, value, (size_t)size);
		*length = take_long(&r);
	}
	give_back(c);
}

/* What the stand-in does not do. */
static void unsupported(PMQLONG cc, PMQLONG rc) {
	*cc = MQCC_FAILED;
	*rc = MQRC_FUNCTION_NOT_SUPPORTED;
}

#define UNUSED(x) (void)(x)

EXPORT void MQENTRY MQBEGIN(MQHCONN conn, PMQVOID bo, PMQLONG cc, PMQLONG rc) {
	UNUSED(conn), UNUSED(bo);
	unsupported(cc, rc);
}

EXPORT void MQENTRY MQCB(MQHCONN conn, MQLONG operation, PMQVOID cbd, MQHOBJ obj, PMQVOID md, PMQVOID gmo, PMQLONG cc, PMQLONG rc) {
	UNUSED(conn), UNUSED(operation), UNUSED(cbd), UNUSED(obj), UNUSED(md), UNUSED(gmo);
	unsupported(cc, rc);
}

EXPORT void MQENTRY MQCTL(MQHCONN conn, MQLONG operation, PMQVOID ctlo, PMQLONG cc, PMQLONG rc) {
	UNUSED(conn), UNUSED(operation), UNUSED(ctlo);
	unsupported(cc, rc);
}

EXPORT void MQENTRY MQSET(MQHCONN conn, MQHOBJ obj, MQLONG n, PMQLONG selectors, MQLONG n_ints, PMQLONG ints, MQLONG n_chars,
	PMQCHAR chars, PMQLONG cc, PMQLONG rc) {
	UNUSED(conn), UNUSED(obj), UNUSED(n), UNUSED(selectors), UNUSED(n_ints), UNUSED(ints), UNUSED(n_chars), UNUSED(chars);
	unsupported(cc, rc);
}

EXPORT void MQENTRY MQSTAT(MQHCONN conn, MQLONG type, PMQVOID sts, PMQLONG cc, PMQLONG rc) {
	UNUSED(conn), UNUSED(type), UNUSED(sts);
	unsupported(cc, rc);
}

EXPORT void MQENTRY MQSUBRQ(MQHCONN conn, MQHOBJ sub, MQLONG action, PMQVOID sro, PMQLONG cc, PMQLONG rc) {
	UNUSED(conn), UNUSED(sub), UNUSED(action), UNUSED(sro);
	unsupported(cc, rc);
}
