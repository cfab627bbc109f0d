package masvtest

import (
	"crypto/rand"
	"strings"
	"time"
)

// crockford is the alphabet of ULIDs: base32 without I, L, O and U.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	ulidLength  = 26
	indexDigits = 7 // of a file's ID: 35 bits, enough for 34 thousand million files
)

// newULID returns a fresh ULID: 48 bits of time in milliseconds, 80 random bits.
func newULID(at time.Time) string {
	id := make([]byte, ulidLength)
	putDigits(id[:10], uint64(at.UnixMilli())&(1<<48-1))
	rand.Read(id[10:])
	for i := 10; i < ulidLength; i++ {
		id[i] = crockford[id[i]&31]
	}
	return string(id)
}

// fileID returns the ID of file i of a package: the package's own ID with the
// index in its last digits. So an ID leads back to its file without a table,
// however many files there are.
func fileID(packageID string, i int) string {
	id := []byte(packageID)
	putDigits(id[ulidLength-indexDigits:], uint64(i))
	return string(id)
}

// fileIndex is the inverse of fileID; it is -1 for an ID of another form or package.
func fileIndex(packageID, id string) int {
	const stem = ulidLength - indexDigits
	if len(id) != ulidLength || id[:stem] != packageID[:stem] {
		return -1
	}
	index := 0
	for _, digit := range []byte(id[stem:]) {
		value := strings.IndexByte(crockford, digit)
		if value < 0 {
			return -1
		}
		index = index<<5 | value
	}
	return index
}

// putDigits writes v in base32, the last digit last.
func putDigits(p []byte, v uint64) {
	for i := len(p) - 1; i >= 0; i-- {
		p[i] = crockford[v&31]
		v >>= 5
	}
}

// newSecret returns 16 random letters, as a link carries them.
func newSecret() string {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	secret := make([]byte, 16)
	rand.Read(secret)
	for i := range secret {
		secret[i] = letters[secret[i]&63]
	}
	return string(secret)
}
