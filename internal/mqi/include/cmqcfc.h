/*
 * Administration messages (PCF). The binding needs their constants only, which are in cmqconst.h.
 */
#ifndef POSTHOUSE_CMQCFC_H
#define POSTHOUSE_CMQCFC_H

#include "cmqc.h"

#endif
