package backupstest

import (
	"bytes"
	"io/fs"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
)

// choice is one thing that a loss decides: which of several states, the first being the last durable one and the last
// the one that the running system saw.
type choice struct {
	states int
	take   func(d *Disk, state int)
}

// choices lists what a loss of power now decides, in a fixed order.
func (d *Disk) choices() []choice {
	named := map[int]bool{1: true}
	for _, n := range d.nodes {
		for _, id := range n.durable {
			named[id] = true
		}
		for _, op := range n.pending {
			named[op.node] = true
		}
	}
	var list []choice
	for _, id := range slices.Sorted(maps.Keys(d.nodes)) {
		n := d.nodes[id]
		if !named[id] {
			continue
		}
		if versions := lossVersions(n); len(versions) > 1 {
			list = append(list, choice{len(versions), func(d *Disk, s int) { d.nodes[id].inode = versions[s] }})
		}
		for i := range n.pending {
			list = append(list, choice{2, func(d *Disk, s int) {
				if s == 0 {
					d.nodes[id].pending[i] = entryOp{}
				}
			}})
		}
	}
	return list
}

// lossVersions are the contents of a file that a loss may leave: those it had, and torn ones in between.
func lossVersions(n *node) []inode {
	if n.kind == fs.ModeDir {
		return n.versions
	}
	list := n.versions[:1:1]
	for i, v := range n.versions[1:] {
		was := n.versions[i]
		if added := len(v.data) - len(was.data); added > 0 && bytes.HasPrefix(v.data, was.data) {
			for _, part := range []int{1, added / 2, added - 1} {
				torn := v
				torn.data = v.data[:len(was.data)+part]
				list = append(list, torn)
			}
			// The size is there before the data: blocks read as zeros, at the end or before it.
			zeros, head := v, v
			zeros.data = append(was.data[:len(was.data):len(was.data)], make([]byte, added)...)
			head.data = bytes.Clone(v.data)
			clear(head.data[len(was.data) : len(was.data)+added/2])
			list = append(list, zeros, head)
		}
		list = append(list, v)
	}
	return list
}

// lose returns the disk after a loss of power that decided as state says.
func (d *Disk) lose(list []choice, state []int) *Disk {
	c := d.Clone()
	for i, ch := range list {
		ch.take(c, state[i])
	}
	for _, n := range c.nodes {
		for _, op := range n.pending {
			op.apply(n.durable)
		}
		n.versions, n.pending = []inode{n.inode}, nil
		n.entries = maps.Clone(n.durable)
	}
	return c
}

// Losses yields the disks that a loss of power now may leave: every one where there are at most limit, else the
// extremes, each single thing lost or kept alone, and limit more by chance, of a fixed seed. exhaustive tells which.
func (d *Disk) Losses(limit int) (all iter.Seq[*Disk], exhaustive bool) {
	list := d.Clone().choices()
	total := 1
	for _, c := range list {
		if total *= c.states; total > limit {
			return func(yield func(*Disk) bool) { d.sample(list, limit, yield) }, false
		}
	}
	return func(yield func(*Disk) bool) {
		state := make([]int, len(list))
		for {
			if !yield(d.lose(list, state)) {
				return
			}
			i := 0
			for ; i < len(list); i++ {
				if state[i]++; state[i] < list[i].states {
					break
				}
				state[i] = 0
			}
			if i == len(list) {
				return
			}
		}
	}, true
}

func (d *Disk) sample(list []choice, limit int, yield func(*Disk) bool) {
	lost, kept := make([]int, len(list)), make([]int, len(list))
	for i, c := range list {
		kept[i] = c.states - 1
	}
	states := [][]int{lost, kept}
	for i, c := range list {
		for s := range c.states {
			alone, but := slices.Clone(lost), slices.Clone(kept)
			alone[i], but[i] = s, s
			states = append(states, alone, but)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range limit {
		state := make([]int, len(list))
		for i, c := range list {
			state[i] = rnd.IntN(c.states)
		}
		states = append(states, state)
	}
	for _, state := range states {
		if !yield(d.lose(list, state)) {
			return
		}
	}
}

// Settle makes everything durable.
func (d *Disk) Settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.nodes {
		n.sync()
		n.durable, n.pending = maps.Clone(n.entries), nil
	}
}
