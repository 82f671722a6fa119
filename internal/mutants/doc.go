// Package mutants proves that the tests of the journal and of the engine have teeth: with one planted bug at a time, each
// behind a build tag, they go red, and by the finding that this bug must show as.
package mutants
