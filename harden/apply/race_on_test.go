//go:build race

package apply_test

// stride is the distance between two kills or failures: the race detector makes everything slow.
const stride = 7
