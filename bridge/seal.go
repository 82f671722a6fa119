package bridge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/posthouse/posthouse/adapters"
)

// sealOf is what posthouse-seal says of a message: HMAC-SHA-256 over its id, origin and path as they stand in the headers,
// each with its length before it.
func sealOf(key adapters.Secret, id, origin, path string) string {
	mac := hmac.New(sha256.New, []byte(key.Reveal()))
	var n []byte
	for _, s := range [...]string{id, origin, path} {
		n = binary.AppendUvarint(n[:0], uint64(len(s)))
		mac.Write(n)
		mac.Write([]byte(s))
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// sealed reports whether a holder of the key has written id, origin and path. Without a key there is nothing to prove.
func (r *restorer) sealed() bool {
	if r.o.Key.IsZero() {
		return true
	}
	id, _ := r.get(hID)
	origin, _ := r.get(hOrigin)
	path, _ := r.get(hPath)
	seal, ok := r.get(hSeal)
	if ok && hmac.Equal([]byte(seal), []byte(sealOf(r.o.Key, id, origin, path))) {
		return true
	}
	if ok || id != "" || origin != "" || path != "" {
		r.note("seal", Untrusted)
	}
	return false
}
