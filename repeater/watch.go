package repeater

import (
	"context"
	"io/fs"
	"os"
	"time"
)

// How the file is watched. It is looked at, not subscribed to: that works on any file system, with editors that rename and
// with mounts that exchange a link, and costs one look at the file's attributes a second.
const (
	watchEvery  = time.Second
	watchHashes = 15 // after so many looks the contents are compared even if the attributes are the same
)

// Watch looks at the file until ctx ends, so that the status says whether it differs. With reload a file that differs, and has
// been the same for two looks, is applied: once, whether it is accepted or not.
func (k *Keeper) Watch(ctx context.Context, reload bool) {
	var seen os.FileInfo
	last, tried := "", ""
	for n := 0; wait(ctx, watchEvery); n++ {
		now, err := os.Stat(k.opts.File)
		if err == nil && seen != nil && sameFile(seen, now) && n%watchHashes != 0 && (last == tried || !reload) {
			continue
		}
		seen = now
		if err != nil {
			seen = nil
		}
		hash := k.Look()
		settled := hash == last
		last = hash
		if reload && settled && hash != "" && hash != tried {
			tried = hash
			if hash != k.Status().Hash {
				_, _ = k.Apply(Ask{}) // logged, and in the status
			}
		}
	}
}

// sameFile reports whether a file is most likely the same, and unchanged.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
