// Package backupstest holds file systems for tests of transactions: the real one below a directory, one in memory that
// knows what a loss of power may take, and one that stops, fails or dies at any chosen operation of another.
package backupstest
