// Package objects knows API objects as the cluster and its sandbox both need them, without talking to anything: the normal
// form in which objects are compared and shown, the facts in them, and the errors of asking for them.
package objects
