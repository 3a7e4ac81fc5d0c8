package cli

import "testing"

func TestLifelinesAreAYearWide(t *testing.T) {
	for days, want := range map[int]string{
		-3:   "|                        |",
		0:    "|                        |",
		30:   "|=                       |",
		182:  "|===========             |",
		365:  "|========================|",
		3650: "|=======================+|",
	} {
		if got := lifeline(days); got != want {
			t.Errorf("%d days: %s, want %s", days, got, want)
		}
	}
}
