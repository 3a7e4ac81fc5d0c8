// Package tui is the walk for people: the terminal UI and, where there is no capable terminal, the same walk in plain lines.
//
// It looks only: whatever it does to the world goes through [Engine], and nothing is applied before the exact diff was
// shown and the node's name was typed. [Decide] says which of the two walks a terminal gets; [Run] and [Plain] return a
// [Summary] that the command line prints when the screen is gone.
//
// There is one tea.Model. It holds a stack of screens, which are plain values that draw themselves as lines and answer keys.
// All waiting is done in commands; what comes back late is known by its number and dropped. Every string that came from a
// file, a process, the API or a journal goes through [Inert] before it is drawn.
package tui
