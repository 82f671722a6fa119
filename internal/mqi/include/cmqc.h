/*
 * The message queue interface (MQI) as far as github.com/ibm-messaging/mq-golang/v5 v5.7.1 and Posthouse use it: written
 * by hand from IBM's public reference ("Data types used in the MQI", "Function calls"), for 64-bit systems on which
 * pointers are eight bytes long. It is not IBM's header and has what is used here only. Field order and types are IBM's
 * published interface; a comment "vN:" starts the fields that version N of a structure added, and layout.c compares the
 * size and the offsets of each version with the published lengths when it is compiled.
 */
#ifndef POSTHOUSE_CMQC_H
#define POSTHOUSE_CMQC_H

#include <stdint.h>

#define MQENTRY /* a calling convention on Windows */

/* Elementary types. */
typedef char MQCHAR;
typedef unsigned char MQBYTE;
typedef int8_t MQINT8;
typedef int16_t MQINT16;
typedef int32_t MQINT32;
typedef int64_t MQINT64;
typedef float MQFLOAT32;
typedef double MQFLOAT64;
typedef int32_t MQLONG;
typedef void *MQPTR;

typedef MQLONG MQHCONN; /* a connection */
typedef MQLONG MQHOBJ;  /* an open object, or a subscription */
typedef MQINT64 MQHMSG; /* a message handle: holds properties */

typedef MQCHAR MQCHAR4[4], MQCHAR8[8], MQCHAR12[12], MQCHAR20[20], MQCHAR28[28], MQCHAR32[32], MQCHAR48[48], MQCHAR64[64],
	MQCHAR128[128], MQCHAR256[256], MQCHAR264[264];
typedef MQBYTE MQBYTE4[4], MQBYTE8[8], MQBYTE16[16], MQBYTE24[24], MQBYTE32[32], MQBYTE40[40], MQBYTE128[128];

typedef MQCHAR *PMQCHAR;
typedef MQBYTE *PMQBYTE;
typedef MQLONG *PMQLONG;
typedef void *PMQVOID;
typedef MQHCONN *PMQHCONN;
typedef MQHOBJ *PMQHOBJ;
typedef MQHMSG *PMQHMSG;

#include "cmqconst.h"

/* A string whose length is not bounded by its structure. */
typedef struct tagMQCHARV {
	MQPTR VSPtr;      /* where it is, or */
	MQLONG VSOffset;  /* how far from the start of the structure it is in */
	MQLONG VSBufSize; /* bytes that fit, where the queue manager writes */
	MQLONG VSLength;  /* bytes that are there */
	MQLONG VSCCSID;   /* their character set */
} MQCHARV;

/* Message descriptor. */
typedef struct tagMQMD {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Report;
	MQLONG MsgType;
	MQLONG Expiry;
	MQLONG Feedback;
	MQLONG Encoding;
	MQLONG CodedCharSetId;
	MQCHAR8 Format;
	MQLONG Priority;
	MQLONG Persistence;
	MQBYTE24 MsgId;
	MQBYTE24 CorrelId;
	MQLONG BackoutCount;
	MQCHAR48 ReplyToQ;
	MQCHAR48 ReplyToQMgr;
	MQCHAR12 UserIdentifier;
	MQBYTE32 AccountingToken;
	MQCHAR32 ApplIdentityData;
	MQLONG PutApplType;
	MQCHAR28 PutApplName;
	MQCHAR8 PutDate;
	MQCHAR8 PutTime;
	MQCHAR4 ApplOriginData;
	MQBYTE24 GroupId; /* v2: */
	MQLONG MsgSeqNumber;
	MQLONG Offset;
	MQLONG MsgFlags;
	MQLONG OriginalLength;
} MQMD, *PMQMD;

/* Object descriptor. */
typedef struct tagMQOD {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG ObjectType;
	MQCHAR48 ObjectName;
	MQCHAR48 ObjectQMgrName;
	MQCHAR48 DynamicQName;
	MQCHAR12 AlternateUserId;
	MQLONG RecsPresent; /* v2: */
	MQLONG KnownDestCount;
	MQLONG UnknownDestCount;
	MQLONG InvalidDestCount;
	MQLONG ObjectRecOffset;
	MQLONG ResponseRecOffset;
	MQPTR ObjectRecPtr;
	MQPTR ResponseRecPtr;
	MQBYTE40 AlternateSecurityId; /* v3: */
	MQCHAR48 ResolvedQName;
	MQCHAR48 ResolvedQMgrName;
	MQCHARV ObjectString; /* v4: */
	MQCHARV SelectionString;
	MQCHARV ResObjectString;
	MQLONG ResolvedType;
} MQOD, *PMQOD;

/* Get options. */
typedef struct tagMQGMO {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Options;
	MQLONG WaitInterval;
	MQLONG Signal1;
	MQLONG Signal2;
	MQCHAR48 ResolvedQName;
	MQLONG MatchOptions; /* v2: */
	MQCHAR GroupStatus;
	MQCHAR SegmentStatus;
	MQCHAR Segmentation;
	MQCHAR Reserved1;
	MQBYTE16 MsgToken; /* v3: */
	MQLONG ReturnedLength;
	MQLONG Reserved2; /* v4: */
	MQHMSG MsgHandle;
} MQGMO, *PMQGMO;

/* Put options. */
typedef struct tagMQPMO {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Options;
	MQLONG Timeout;
	MQHOBJ Context;
	MQLONG KnownDestCount;
	MQLONG UnknownDestCount;
	MQLONG InvalidDestCount;
	MQCHAR48 ResolvedQName;
	MQCHAR48 ResolvedQMgrName;
	MQLONG RecsPresent; /* v2: */
	MQLONG PutMsgRecFields;
	MQLONG PutMsgRecOffset;
	MQLONG ResponseRecOffset;
	MQPTR PutMsgRecPtr;
	MQPTR ResponseRecPtr;
	MQHMSG OriginalMsgHandle; /* v3: */
	MQHMSG NewMsgHandle;
	MQLONG Action;
	MQLONG PubLevel;
} MQPMO, *PMQPMO;

/* Security parameters. */
typedef struct tagMQCSP {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG AuthenticationType;
	MQBYTE4 Reserved1;
	MQPTR CSPUserIdPtr;
	MQLONG CSPUserIdOffset;
	MQLONG CSPUserIdLength;
	MQBYTE8 Reserved2;
	MQPTR CSPPasswordPtr;
	MQLONG CSPPasswordOffset;
	MQLONG CSPPasswordLength;
	MQBYTE8 Reserved3; /* v2: */
	MQPTR InitialKeyPtr;
	MQLONG InitialKeyOffset;
	MQLONG InitialKeyLength;
	MQBYTE8 Reserved4; /* v3: */
	MQPTR TokenPtr;
	MQLONG TokenOffset;
	MQLONG TokenLength;
} MQCSP, *PMQCSP;

/* TLS options. */
typedef struct tagMQSCO {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQCHAR256 KeyRepository;
	MQCHAR256 CryptoHardware;
	MQLONG AuthInfoRecCount;
	MQLONG AuthInfoRecOffset;
	MQPTR AuthInfoRecPtr;
	MQLONG KeyResetCount; /* v2: */
	MQLONG FipsRequired;
	MQLONG EncryptionPolicySuiteB[4]; /* v3: */
	MQLONG CertificateValPolicy;      /* v4: */
	MQCHAR64 CertificateLabel;        /* v5: */
	MQPTR KeyRepoPasswordPtr;         /* v6: */
	MQLONG KeyRepoPasswordOffset;
	MQLONG KeyRepoPasswordLength;
	MQLONG HTTPSCertValidation; /* v7: */
	MQLONG HTTPSCertRevocation;
	MQPTR HTTPSKeyStorePtr;
	MQLONG HTTPSKeyStoreOffset;
	MQLONG HTTPSKeyStoreLength;
} MQSCO, *PMQSCO;

/* Balancing of uniform clusters. */
typedef struct tagMQBNO {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG ApplType;
	MQLONG Timeout;
	MQLONG Options;
} MQBNO, *PMQBNO;

/* Connection options. */
typedef struct tagMQCNO {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Options;
	MQLONG ClientConnOffset; /* v2: */
	MQPTR ClientConnPtr;
	MQBYTE128 ConnTag;   /* v3: */
	PMQSCO SSLConfigPtr; /* v4: */
	MQLONG SSLConfigOffset;
	MQBYTE24 ConnectionId; /* v5: */
	MQLONG SecurityParmsOffset;
	PMQCSP SecurityParmsPtr;
	PMQCHAR CCDTUrlPtr; /* v6: */
	MQLONG CCDTUrlOffset;
	MQLONG CCDTUrlLength;
	MQBYTE8 Reserved;
	MQCHAR28 ApplName; /* v7: */
	MQBYTE4 Reserved2;
	PMQBNO BalanceParmsPtr; /* v8: */
	MQLONG BalanceParmsOffset;
	MQBYTE4 Reserved3;
} MQCNO, *PMQCNO;

/* Subscription descriptor. */
typedef struct tagMQSD {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Options;
	MQCHAR48 ObjectName;
	MQCHAR12 AlternateUserId;
	MQBYTE40 AlternateSecurityId;
	MQLONG SubExpiry;
	MQCHARV ObjectString;
	MQCHARV SubName;
	MQCHARV SubUserData;
	MQBYTE24 SubCorrelId;
	MQLONG PubPriority;
	MQBYTE32 PubAccountingToken;
	MQCHAR32 PubApplIdentityData;
	MQCHARV SelectionString;
	MQLONG SubLevel;
	MQCHARV ResObjectString;
} MQSD, *PMQSD;

/* Request for retained publications. */
typedef struct tagMQSRO {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Options;
	MQLONG NumPubs;
} MQSRO, *PMQSRO;

/* Status of asynchronous puts. */
typedef struct tagMQSTS {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG CompCode;
	MQLONG Reason;
	MQLONG PutSuccessCount;
	MQLONG PutWarningCount;
	MQLONG PutFailureCount;
	MQLONG ObjectType;
	MQCHAR48 ObjectName;
	MQCHAR48 ObjectQMgrName;
	MQCHAR48 ResolvedObjectName;
	MQCHAR48 ResolvedQMgrName;
	MQCHARV ObjectString; /* v2: */
	MQCHARV SubName;
	MQLONG OpenOptions;
	MQLONG SubOptions;
} MQSTS, *PMQSTS;

/* Callback descriptor. */
typedef struct tagMQCBD {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG CallbackType;
	MQLONG Options;
	MQPTR CallbackArea;
	MQPTR CallbackFunction;
	MQCHAR128 CallbackName;
	MQLONG MaxMsgLength;
} MQCBD, *PMQCBD;

/* What a callback is told. */
typedef struct tagMQCBC {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG CallType;
	MQHOBJ Hobj;
	MQPTR CallbackArea;
	MQPTR ConnectionArea;
	MQLONG CompCode;
	MQLONG Reason;
	MQLONG State;
	MQLONG DataLength;
	MQLONG BufferLength;
	MQLONG Flags;
	MQLONG ReconnectDelay; /* v2: */
} MQCBC, *PMQCBC;

/* Control of callbacks. */
typedef struct tagMQCTLO {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Options;
	MQLONG Reserved;
	MQPTR ConnectionArea;
} MQCTLO, *PMQCTLO;

/* Five structures that have nothing but options: begin, create and delete a message handle, delete a property. */
typedef struct tagMQBO {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Options;
} MQBO, *PMQBO, MQCMHO, *PMQCMHO, MQDMHO, *PMQDMHO, MQDMPO, *PMQDMPO;

/* Set a property. */
typedef struct tagMQSMPO {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Options;
	MQLONG ValueEncoding;
	MQLONG ValueCCSID;
} MQSMPO, *PMQSMPO;

/* Inquire a property. */
typedef struct tagMQIMPO {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Options;
	MQLONG RequestedEncoding;
	MQLONG RequestedCCSID;
	MQLONG ReturnedEncoding;
	MQLONG ReturnedCCSID;
	MQLONG Reserved1;
	MQCHARV ReturnedName;
	MQCHAR8 TypeString;
} MQIMPO, *PMQIMPO;

/* Property descriptor. */
typedef struct tagMQPD {
	MQCHAR4 StrucId;
	MQLONG Version;
	MQLONG Options;
	MQLONG Support;
	MQLONG Context;
	MQLONG CopyOptions;
} MQPD, *PMQPD;

/* The 22 calls. The last two parameters are always the completion code and the reason. */
void MQENTRY MQBACK(MQHCONN, PMQLONG, PMQLONG);
void MQENTRY MQBEGIN(MQHCONN, PMQVOID pBeginOptions, PMQLONG, PMQLONG);
void MQENTRY MQCB(MQHCONN, MQLONG Operation, PMQVOID pCallbackDesc, MQHOBJ, PMQVOID pMsgDesc, PMQVOID pGetMsgOpts, PMQLONG,
	PMQLONG);
void MQENTRY MQCLOSE(MQHCONN, PMQHOBJ, MQLONG Options, PMQLONG, PMQLONG);
void MQENTRY MQCMIT(MQHCONN, PMQLONG, PMQLONG);
void MQENTRY MQCONNX(PMQCHAR pQMgrName, PMQCNO pConnectOpts, PMQHCONN, PMQLONG, PMQLONG);
void MQENTRY MQCRTMH(MQHCONN, PMQVOID pCrtMsgHOpts, PMQHMSG, PMQLONG, PMQLONG);
void MQENTRY MQCTL(MQHCONN, MQLONG Operation, PMQVOID pControlOpts, PMQLONG, PMQLONG);
void MQENTRY MQDISC(PMQHCONN, PMQLONG, PMQLONG);
void MQENTRY MQDLTMH(MQHCONN, PMQHMSG, PMQVOID pDltMsgHOpts, PMQLONG, PMQLONG);
void MQENTRY MQDLTMP(MQHCONN, MQHMSG, PMQVOID pDltPropOpts, PMQVOID pName, PMQLONG, PMQLONG);
void MQENTRY MQGET(MQHCONN, MQHOBJ, PMQVOID pMsgDesc, PMQVOID pGetMsgOpts, MQLONG BufferLength, PMQVOID pBuffer,
	PMQLONG pDataLength, PMQLONG, PMQLONG);
void MQENTRY MQINQ(MQHCONN, MQHOBJ, MQLONG SelectorCount, PMQLONG pSelectors, MQLONG IntAttrCount, PMQLONG pIntAttrs,
	MQLONG CharAttrLength, PMQCHAR pCharAttrs, PMQLONG, PMQLONG);
void MQENTRY MQINQMP(MQHCONN, MQHMSG, PMQVOID pInqPropOpts, PMQVOID pName, PMQVOID pPropDesc, PMQLONG pType,
	MQLONG ValueLength, PMQVOID pValue, PMQLONG pDataLength, PMQLONG, PMQLONG);
void MQENTRY MQOPEN(MQHCONN, PMQVOID pObjDesc, MQLONG Options, PMQHOBJ, PMQLONG, PMQLONG);
void MQENTRY MQPUT(MQHCONN, MQHOBJ, PMQVOID pMsgDesc, PMQVOID pPutMsgOpts, MQLONG BufferLength, PMQVOID pBuffer, PMQLONG,
	PMQLONG);
void MQENTRY MQPUT1(MQHCONN, PMQVOID pObjDesc, PMQVOID pMsgDesc, PMQVOID pPutMsgOpts, MQLONG BufferLength, PMQVOID pBuffer,
	PMQLONG, PMQLONG);
void MQENTRY MQSET(MQHCONN, MQHOBJ, MQLONG SelectorCount, PMQLONG pSelectors, MQLONG IntAttrCount, PMQLONG pIntAttrs,
	MQLONG CharAttrLength, PMQCHAR pCharAttrs, PMQLONG, PMQLONG);
void MQENTRY MQSETMP(MQHCONN, MQHMSG, PMQVOID pSetPropOpts, PMQVOID pName, PMQVOID pPropDesc, MQLONG Type, MQLONG ValueLength,
	PMQVOID pValue, PMQLONG, PMQLONG);
void MQENTRY MQSTAT(MQHCONN, MQLONG Type, PMQVOID pStat, PMQLONG, PMQLONG);
void MQENTRY MQSUB(MQHCONN, PMQVOID pSubDesc, PMQHOBJ, PMQHOBJ pHsub, PMQLONG, PMQLONG);
void MQENTRY MQSUBRQ(MQHCONN, MQHOBJ Hsub, MQLONG Action, PMQVOID pSubRqOpts, PMQLONG, PMQLONG);

#endif
