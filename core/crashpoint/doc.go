// Package crashpoint names the places at which a test kills the program, so that a
// crash story can stop exactly between two steps of a protocol instead of hoping
// that a random kill hits the gap.
//
// In a normal build Hit is empty and inlined away. Built with the tag `crashpoints`
// it reads the environment once: WILDCAT_CRASH_AT="name:n" kills the process with
// SIGKILL at the n-th Hit of that name (":n" may be left out and means the first),
// after it has appended the name to the file in WILDCAT_CRASH_LOG and synced it, so
// that the story can tell a kill at the point from any other death.
//
// The package owns the mechanism only; the names belong to the code that calls Hit.
package crashpoint
