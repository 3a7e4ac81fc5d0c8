//go:build !race

package cli

// kills is how many runs are killed on each node.
const kills = 7
