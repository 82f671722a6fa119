//go:build cgo && ibmmq

/*
 * The layout of every structure, compared when this is compiled: the length of each version as published (the constants
 * MQ*_LENGTH_n), and the offset at which version n+1 starts, which is the length of version n except where that was
 * padded. The numbers are written out, so that neither a change of the header nor of the constants passes unnoticed.
 */
#include <stddef.h>

#include "include/cmqc.h"
#include "include/cmqxc.h"

#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "size of " #type)
#define AT(type, field, bytes) _Static_assert(offsetof(type, field) == (bytes), "offset of " #type "." #field)

SIZE(MQLONG, 4);
SIZE(MQHMSG, 8);
SIZE(MQPTR, 8);

SIZE(MQCHARV, 24);
AT(MQCHARV, VSCCSID, 20);

SIZE(MQMD, 364);
AT(MQMD, Format, 32);
AT(MQMD, MsgId, 48);
AT(MQMD, CorrelId, 72);
AT(MQMD, BackoutCount, 96);
AT(MQMD, ReplyToQ, 100);
AT(MQMD, UserIdentifier, 196);
AT(MQMD, PutApplType, 272);
AT(MQMD, PutDate, 304);
AT(MQMD, GroupId, 324);
AT(MQMD, MsgSeqNumber, 348);
AT(MQMD, OriginalLength, 360);

SIZE(MQOD, 424);
AT(MQOD, ObjectName, 12);
AT(MQOD, AlternateUserId, 156);
AT(MQOD, RecsPresent, 168);
AT(MQOD, ObjectRecPtr, 192);
AT(MQOD, AlternateSecurityId, 208);
AT(MQOD, ResolvedQName, 248);
AT(MQOD, ObjectString, 344);
AT(MQOD, ResolvedType, 416);

SIZE(MQGMO, 112);
AT(MQGMO, WaitInterval, 12);
AT(MQGMO, MatchOptions, 72);
AT(MQGMO, MsgToken, 80);
AT(MQGMO, ReturnedLength, 96);
AT(MQGMO, Reserved2, 100);
AT(MQGMO, MsgHandle, 104);

SIZE(MQPMO, 184);
AT(MQPMO, Context, 16);
AT(MQPMO, ResolvedQName, 32);
AT(MQPMO, RecsPresent, 128);
AT(MQPMO, OriginalMsgHandle, 160);
AT(MQPMO, Action, 176);

SIZE(MQCNO, 272);
AT(MQCNO, ClientConnOffset, 12);
AT(MQCNO, ClientConnPtr, 16);
AT(MQCNO, ConnTag, 24);
AT(MQCNO, SSLConfigPtr, 152);
AT(MQCNO, ConnectionId, 164);
AT(MQCNO, SecurityParmsPtr, 192);
AT(MQCNO, CCDTUrlPtr, 200);
AT(MQCNO, ApplName, 224);
AT(MQCNO, BalanceParmsPtr, 256);

SIZE(MQCSP, 104);
AT(MQCSP, CSPUserIdPtr, 16);
AT(MQCSP, CSPPasswordPtr, 40);
AT(MQCSP, Reserved3, 56);
AT(MQCSP, Reserved4, 80);
AT(MQCSP, TokenLength, 100);

SIZE(MQBNO, 20);

SIZE(MQSCO, 672);
AT(MQSCO, AuthInfoRecPtr, 528);
AT(MQSCO, KeyResetCount, 536);
AT(MQSCO, EncryptionPolicySuiteB, 544);
AT(MQSCO, CertificateValPolicy, 560);
AT(MQSCO, CertificateLabel, 564);
AT(MQSCO, KeyRepoPasswordPtr, 632);
AT(MQSCO, HTTPSCertValidation, 648);
AT(MQSCO, HTTPSKeyStoreLength, 668);

SIZE(MQCD, 1992);
AT(MQCD, Version, 20);
AT(MQCD, MaxMsgLength, 844);
AT(MQCD, UserIdentifier, 984);
AT(MQCD, ConnectionName, 1024);
AT(MQCD, MsgRetryExit, 1312);
AT(MQCD, HeartbeatInterval, 1480);
AT(MQCD, StrucLength, 1492);
AT(MQCD, MsgExitPtr, 1520);
AT(MQCD, ClusterPtr, 1568);
AT(MQCD, LongMCAUserIdLength, 1584);
AT(MQCD, SSLCipherSpec, 1688);
AT(MQCD, SSLPeerNamePtr, 1720);
AT(MQCD, HdrCompList, 1792);
AT(MQCD, SharingConversations, 1884);
AT(MQCD, BatchDataLimit, 1908);
AT(MQCD, DefReconnect, 1916);
AT(MQCD, CertificateLabel, 1920);
AT(MQCD, SPLProtection, 1984);

SIZE(MQSD, 344);
AT(MQSD, ObjectString, 120);
AT(MQSD, SubName, 144);
AT(MQSD, SubCorrelId, 192);
AT(MQSD, SelectionString, 288);
AT(MQSD, ResObjectString, 320);

SIZE(MQSTS, 280);
AT(MQSTS, ObjectString, 224);
SIZE(MQCBD, 168);
AT(MQCBD, MaxMsgLength, 160);
SIZE(MQCBC, 64);
AT(MQCBC, ReconnectDelay, 56);
SIZE(MQCTLO, 24);
SIZE(MQSRO, 16);
SIZE(MQBO, 12);
SIZE(MQSMPO, 20);
SIZE(MQIMPO, 64);
AT(MQIMPO, ReturnedName, 32);
AT(MQIMPO, TypeString, 56);
SIZE(MQPD, 24);
