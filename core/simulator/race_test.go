//go:build race

package simulator_test

// underRace says that the race detector is watching, whatsmeow too.
const underRace = true
