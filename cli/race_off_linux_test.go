//go:build !race

package cli

// kills is how many runs are killed.
const kills = 20
