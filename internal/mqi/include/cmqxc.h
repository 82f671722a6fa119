/*
 * Channel definition (MQCD) of client connections, written by hand from IBM's public reference as cmqc.h is.
 */
#ifndef POSTHOUSE_CMQXC_H
#define POSTHOUSE_CMQXC_H

#include "cmqc.h"

typedef struct tagMQCD {
	MQCHAR20 ChannelName;
	MQLONG Version;
	MQLONG ChannelType;
	MQLONG TransportType;
	MQCHAR64 Desc;
	MQCHAR48 QMgrName;
	MQCHAR48 XmitQName;
	MQCHAR20 ShortConnectionName;
	MQCHAR20 MCAName;
	MQCHAR8 ModeName;
	MQCHAR64 TpName;
	MQLONG BatchSize;
	MQLONG DiscInterval;
	MQLONG ShortRetryCount;
	MQLONG ShortRetryInterval;
	MQLONG LongRetryCount;
	MQLONG LongRetryInterval;
	MQCHAR128 SecurityExit;
	MQCHAR128 MsgExit;
	MQCHAR128 SendExit;
	MQCHAR128 ReceiveExit;
	MQLONG SeqNumberWrap;
	MQLONG MaxMsgLength;
	MQLONG PutAuthority;
	MQLONG DataConversion;
	MQCHAR32 SecurityUserData;
	MQCHAR32 MsgUserData;
	MQCHAR32 SendUserData;
	MQCHAR32 ReceiveUserData;
	MQCHAR12 UserIdentifier; /* v2: */
	MQCHAR12 Password;
	MQCHAR12 MCAUserIdentifier;
	MQLONG MCAType;
	MQCHAR264 ConnectionName;
	MQCHAR12 RemoteUserIdentifier;
	MQCHAR12 RemotePassword;
	MQCHAR128 MsgRetryExit; /* v3: */
	MQCHAR32 MsgRetryUserData;
	MQLONG MsgRetryCount;
	MQLONG MsgRetryInterval;
	MQLONG HeartbeatInterval; /* v4: */
	MQLONG BatchInterval;
	MQLONG NonPersistentMsgSpeed;
	MQLONG StrucLength;
	MQLONG ExitNameLength;
	MQLONG ExitDataLength;
	MQLONG MsgExitsDefined;
	MQLONG SendExitsDefined;
	MQLONG ReceiveExitsDefined;
	MQPTR MsgExitPtr;
	MQPTR MsgUserDataPtr;
	MQPTR SendExitPtr;
	MQPTR SendUserDataPtr;
	MQPTR ReceiveExitPtr;
	MQPTR ReceiveUserDataPtr;
	MQPTR ClusterPtr; /* v5: */
	MQLONG ClustersDefined;
	MQLONG NetworkPriority;
	MQLONG LongMCAUserIdLength; /* v6: */
	MQLONG LongRemoteUserIdLength;
	MQPTR LongMCAUserIdPtr;
	MQPTR LongRemoteUserIdPtr;
	MQBYTE40 MCASecurityId;
	MQBYTE40 RemoteSecurityId;
	MQCHAR32 SSLCipherSpec; /* v7: */
	MQPTR SSLPeerNamePtr;
	MQLONG SSLPeerNameLength;
	MQLONG SSLClientAuth;
	MQLONG KeepAliveInterval;
	MQCHAR48 LocalAddress;
	MQLONG BatchHeartbeat;
	MQLONG HdrCompList[2]; /* v8: */
	MQLONG MsgCompList[16];
	MQLONG CLWLChannelRank;
	MQLONG CLWLChannelPriority;
	MQLONG CLWLChannelWeight;
	MQLONG ChannelMonitoring;
	MQLONG ChannelStatistics;
	MQLONG SharingConversations; /* v9: */
	MQLONG PropertyControl;
	MQLONG MaxInstances;
	MQLONG MaxInstancesPerClient;
	MQLONG ClientChannelWeight;
	MQLONG ConnectionAffinity;
	MQLONG BatchDataLimit; /* v10: */
	MQLONG UseDLQ;
	MQLONG DefReconnect;
	MQCHAR64 CertificateLabel; /* v11: */
	MQLONG SPLProtection;      /* v12: */
} MQCD, *PMQCD;

#endif
