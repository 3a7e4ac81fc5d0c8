//go:build !race

package apply_test

// stride is the distance between two kills or failures.
const stride = 1
