// Package rules owns which rules are in force: it reads them from their files, keeps the
// last versions in the store, puts another one into force while messages flow, and follows
// what other hubs on the same database put into force. What a rule is and does is package
// lua's.
//
// The store holds one small record, which names the versions that were in force, the
// newest first, and a row with the files of each. Every change is a swap of the record, so
// that changes that are made on several hubs at once have one order.
package rules
