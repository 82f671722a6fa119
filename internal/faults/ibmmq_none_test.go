//go:build !cgo || !ibmmq

package faults

// mqTags: these tests are built without IBM MQ, and so is the program.
var mqTags []string
