//go:build !cgo || !ibmmq

package examples

// mqTags: these tests are built without IBM MQ, and so is the program.
var mqTags []string
