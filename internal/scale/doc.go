// Package scale starts the real daemon with ten thousand routes over twenty brokers and measures what that takes. There
// is nothing here but tests.
package scale
