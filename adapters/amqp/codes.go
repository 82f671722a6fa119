package amqp

// Format codes of AMQP 1.0 part 1, section 1.6.
const (
	codeDescribed = 0x00
	codeNull      = 0x40
	codeTrue      = 0x41
	codeFalse     = 0x42
	codeUint0     = 0x43
	codeUlong0    = 0x44
	codeList0     = 0x45
	codeUbyte     = 0x50
	codeByte      = 0x51
	codeUint8     = 0x52
	codeUlong8    = 0x53
	codeInt8      = 0x54
	codeLong8     = 0x55
	codeBool      = 0x56
	codeUshort    = 0x60
	codeShort     = 0x61
	codeUint      = 0x70
	codeInt       = 0x71
	codeFloat     = 0x72
	codeChar      = 0x73
	codeDec32     = 0x74
	codeUlong     = 0x80
	codeLong      = 0x81
	codeDouble    = 0x82
	codeTime      = 0x83
	codeDec64     = 0x84
	codeDec128    = 0x94
	codeUUID      = 0x98
	codeBin8      = 0xa0
	codeStr8      = 0xa1
	codeSym8      = 0xa3
	codeBin32     = 0xb0
	codeStr32     = 0xb1
	codeSym32     = 0xb3
	codeList8     = 0xc0
	codeMap8      = 0xc1
	codeList32    = 0xd0
	codeMap32     = 0xd1
	codeArray8    = 0xe0
	codeArray32   = 0xf0
)

// width is the number of bytes after a fixed-width code: the class is in its upper half (part 1, section 1.2).
func width(c byte) uint64 {
	switch c >> 4 {
	case 0x5:
		return 1
	case 0x6:
		return 2
	case 0x7:
		return 4
	case 0x8:
		return 8
	case 0x9:
		return 16
	}
	return 0
}

// sizeWidth is the width of the size field of a variable-width, compound or array code.
func sizeWidth(c byte) uint64 {
	if c>>4&1 == 0 { // 0xa, 0xc, 0xe
		return 1
	}
	return 4
}
