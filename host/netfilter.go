package host

// Hook is a chain of nftables that sees packets for the host itself.
type Hook struct {
	Family   string
	Table    string
	Chain    string
	Priority int
	Drops    bool // by its policy
}
