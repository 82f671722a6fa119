package amqp

import (
	"encoding/binary"
	"math/big"
	"strconv"
	"strings"
)

// The decimal types of AMQP 1.0 part 1, section 1.6 are IEEE 754-2008 numbers in binary integer encoding: a sign, a
// biased exponent, and a coefficient that is a plain binary number. Where the two bits after the sign are set, the
// exponent sits two bits lower and the coefficient begins with 100.

// bidForm is the layout of one width.
type bidForm struct {
	expBits, coefBits uint // coefBits without the implied ones
	bias, digits      int
}

func bidFormOf(bytes int) bidForm {
	switch bytes {
	case 4:
		return bidForm{expBits: 8, coefBits: 23, bias: 101, digits: 7}
	case 8:
		return bidForm{expBits: 10, coefBits: 53, bias: 398, digits: 16}
	}
	return bidForm{expBits: 14, coefBits: 113, bias: 6176, digits: 34}
}

// decimalText is the number in b, 4, 8 or 16 bytes, as text: the scientific notation that keeps coefficient and
// exponent apart, so that 1.50 stays 1.50.
func decimalText(b []byte) string {
	f := bidFormOf(len(b))
	all := new(big.Int).SetBytes(b)
	sign := ""
	if len(b) > 0 && b[0]&0x80 != 0 {
		sign = "-"
	}
	if len(b) > 0 && b[0]&0x78 == 0x78 {
		if b[0]&0x7c == 0x7c {
			return "NaN"
		}
		return sign + "Infinity"
	}
	shift, top := f.coefBits, int64(0)
	if len(b) > 0 && b[0]&0x60 == 0x60 {
		shift, top = f.coefBits-2, 4
	}
	mask := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), shift), big.NewInt(1))
	coef := new(big.Int).And(all, mask)
	coef.Or(coef, new(big.Int).Lsh(big.NewInt(top), shift))
	exp := new(big.Int).Rsh(all, shift).Int64()&(1<<f.expBits-1) - int64(f.bias)
	digits := coef.String()
	if len(digits) > f.digits { // not canonical: it stands for zero
		digits = "0"
	}
	return sign + scientific(digits, int(exp))
}

// scientific writes digits × 10^exp as the General Decimal Arithmetic specification's to-scientific-string does.
func scientific(digits string, exp int) string {
	adjusted := exp + len(digits) - 1
	if exp <= 0 && adjusted >= -6 {
		if exp == 0 {
			return digits
		}
		if point := len(digits) + exp; point > 0 {
			return digits[:point] + "." + digits[point:]
		}
		return "0." + strings.Repeat("0", -exp-len(digits)) + digits
	}
	mantissa := digits[:1]
	if len(digits) > 1 {
		mantissa += "." + digits[1:]
	}
	if adjusted >= 0 {
		return mantissa + "E+" + strconv.Itoa(adjusted)
	}
	return mantissa + "E" + strconv.Itoa(adjusted)
}

// parseDecimal is the reverse of scientific; ok is false for everything that would not come back as it is.
func parseDecimal(text string) (neg bool, coef *big.Int, exp int, ok bool) {
	digits, neg := strings.CutPrefix(text, "-")
	if m, e, found := strings.Cut(digits, "E"); found {
		n, err := strconv.Atoi(e)
		if err != nil {
			return false, nil, 0, false
		}
		digits, exp = m, n
	}
	if whole, frac, found := strings.Cut(digits, "."); found {
		digits = whole + frac
		exp -= len(frac)
	}
	coef, ok = new(big.Int).SetString(digits, 10)
	if !ok || coef.Sign() < 0 {
		return false, nil, 0, false
	}
	back := scientific(coef.String(), exp)
	if neg {
		back = "-" + back
	}
	return neg, coef, exp, back == text
}

// appendDecimal writes text as decimal128, or as a string where it is no such number.
func appendDecimal(b []byte, text string) []byte {
	f := bidFormOf(16)
	neg, coef, exp, ok := parseDecimal(text)
	biased := exp + f.bias
	if !ok || len(coef.String()) > f.digits || biased < 0 || biased >= 3<<(f.expBits-2) {
		return appendString(b, text)
	}
	coef.Or(coef, new(big.Int).Lsh(big.NewInt(int64(biased)), f.coefBits))
	if neg {
		coef.SetBit(coef, 127, 1)
	}
	var raw [16]byte
	coef.FillBytes(raw[:])
	b = append(b, codeDec128)
	b = binary.BigEndian.AppendUint64(b, binary.BigEndian.Uint64(raw[:8]))
	return binary.BigEndian.AppendUint64(b, binary.BigEndian.Uint64(raw[8:]))
}
