// Package failpoint ends the process at a named place, for the fault suite: the crash points C01 to C24 of the design. The
// calls stand in the program as single lines. Without the build tag failpoints they are empty and cost nothing; no
// release has them.
//
// With the tag the environment says what happens. POSTHOUSE_FAILPOINT is a list of
//
//	C03:7            the process dies by SIGKILL when it comes to C03 for the 7th time
//	sync=EIO:5       the 5th call that asks for the fault "sync" gets that error instead
//	write=ENOSPC:9-40  and so do the 9th to 40th
//
// separated by commas. POSTHOUSE_FAILPOINT_CLOCK is a duration by which the wall clock is wrong. Before it dies the process
// writes the line "failpoint C03" to standard error.
package failpoint
