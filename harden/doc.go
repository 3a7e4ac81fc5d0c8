// Package harden holds the domain of kubectl-harden: facts, controls, findings, intents, plans, and the pure functions that
// lead from one to the next. Nothing here reads or writes anything; preview and apply share what it makes.
package harden
