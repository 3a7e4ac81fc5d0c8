//go:build !race

package backups_test

const raced = false
