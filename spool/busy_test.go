package spool_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/posthouse/posthouse/spool"
	"github.com/posthouse/posthouse/spool/spooltest"
	"github.com/posthouse/posthouse/spool/vfs"
)

// A hanging disk syncs a file only while there is a token in the channel.
type hanging struct {
	*spooltest.Disk
	token chan struct{}
}

type hangingFile struct {
	vfs.File
	token chan struct{}
}

func (d hanging) Create(name string) (vfs.File, error) {
	f, err := d.Disk.Create(name)
	return hangingFile{f, d.token}, err
}

func (f hangingFile) Sync() error {
	<-f.token
	f.token <- struct{}{}
	return f.File.Sync()
}

// TestBusy: the writer says for how long it has been at a batch that its disk does not take, and nothing while it rests.
func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token := make(chan struct{}, 1)
		token <- struct{}{}
		s, _ := open(t, hanging{spooltest.NewDisk(), token}, spool.Options{})
		l := lane(t, s, "a")
		after := func(d, want time.Duration) {
			t.Helper()
			timer := time.NewTimer(d)
			<-timer.C
			synctest.Wait()
			if got := s.Stats().Busy; got != want {
				t.Errorf("busy for %v, want %v", got, want)
			}
		}
		after(time.Hour, 0)
		<-token
		done := make(chan error, 1)
		if err := l.AppendAsync(t.Context(), []spool.Record{rec("a", 1, 60)}, func(_ uint64, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		after(7*time.Second, 7*time.Second)
		after(time.Minute, 67*time.Second)
		token <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
		after(time.Second, 0)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := s.Stats().Busy; got != 0 {
			t.Errorf("closed, and busy for %v", got)
		}
	})
}
