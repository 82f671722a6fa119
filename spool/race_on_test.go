//go:build race

package spool_test

const raceDetector = true // which makes everything ten times as slow
