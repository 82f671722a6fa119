/*
 * Names of constants. The binding uses them in the text of errors only, where an empty name leaves the number;
 * Posthouse prints names from a table of its own.
 */
#ifndef POSTHOUSE_CMQSTRC_H
#define POSTHOUSE_CMQSTRC_H

#include "cmqc.h"

#define NAMES(f) \
	static inline char *f(MQLONG v) { (void)v; return ""; }

NAMES(MQBACF_STR)
NAMES(MQCACF_STR)
NAMES(MQCACH_STR)
NAMES(MQCAMO_STR)
NAMES(MQCA_STR)
NAMES(MQCC_STR)
NAMES(MQCHT_STR)
NAMES(MQCMD_STR)
NAMES(MQIACF_STR)
NAMES(MQIACH_STR)
NAMES(MQIAMO64_STR)
NAMES(MQIAMO_STR)
NAMES(MQIA_STR)
NAMES(MQOT_STR)
NAMES(MQPL_STR)
NAMES(MQRCCF_STR)
NAMES(MQRC_STR)

#undef NAMES

#endif
