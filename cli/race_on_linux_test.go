//go:build race

package cli

// kills is how many runs are killed on each node: the race detector makes each of them slow.
const kills = 2
