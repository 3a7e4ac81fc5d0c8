package tui

import "testing"

func TestDecide(t *testing.T) {
	env := func(pairs ...string) func(string) (string, bool) {
		return func(name string) (string, bool) {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1], true
				}
			}
			return "", false
		}
	}
	utf8 := func(more ...string) func(string) (string, bool) {
		return env(append([]string{"TERM", "xterm-256color", "LANG", "en_US.UTF-8"}, more...)...)
	}
	tests := map[string]struct {
		in   Terminal
		want Decision
	}{
		"a terminal":                  {Terminal{Lookup: utf8()}, Decision{Color: true}},
		"light or dark plays no part": {Terminal{Lookup: utf8("COLORFGBG", "0;15")}, Decision{Color: true}},
		"--plain":                     {Terminal{Lookup: utf8(), Plain: true}, Decision{Plain: true, Color: true, Why: "--plain"}},
		"ACCESSIBLE":                  {Terminal{Lookup: utf8("ACCESSIBLE", "1")}, Decision{Plain: true, Color: true, Why: "ACCESSIBLE is set"}},
		"ACCESSIBLE=0":                {Terminal{Lookup: utf8("ACCESSIBLE", "0")}, Decision{Color: true}},
		"dumb":                        {Terminal{Lookup: env("TERM", "dumb", "LANG", "C.UTF-8")}, Decision{Plain: true, ASCII: true, Why: "TERM says that the terminal cannot move its cursor"}},
		"no TERM":                     {Terminal{Lookup: env("LANG", "C.UTF-8")}, Decision{Plain: true, ASCII: true, Why: "TERM says that the terminal cannot move its cursor"}},
		"no TERM on Windows Terminal": {Terminal{Lookup: env("WT_SESSION", "1"), Windows: true}, Decision{Color: true}},
		"no TERM on an old console":   {Terminal{Lookup: env(), Windows: true}, Decision{Color: true, ASCII: true}},
		"NO_COLOR=1":                  {Terminal{Lookup: utf8("NO_COLOR", "1")}, Decision{}},
		"NO_COLOR=yes counts":         {Terminal{Lookup: utf8("NO_COLOR", "yes")}, Decision{}},
		"NO_COLOR=false counts":       {Terminal{Lookup: utf8("NO_COLOR", "false")}, Decision{}},
		"empty NO_COLOR does not":     {Terminal{Lookup: utf8("NO_COLOR", "")}, Decision{Color: true}},
		"--color always wins":         {Terminal{Lookup: utf8("NO_COLOR", "1"), Color: "always"}, Decision{Color: true}},
		"--color never":               {Terminal{Lookup: utf8(), Color: "never"}, Decision{}},
		"--ascii":                     {Terminal{Lookup: utf8(), ASCII: true}, Decision{Color: true, ASCII: true}},
		"a locale that is not UTF-8":  {Terminal{Lookup: env("TERM", "xterm", "LANG", "de_DE.ISO-8859-1")}, Decision{Color: true, ASCII: true}},
		"no locale":                   {Terminal{Lookup: env("TERM", "xterm")}, Decision{Color: true, ASCII: true}},
		"LC_ALL beats LANG":           {Terminal{Lookup: utf8("LC_ALL", "C")}, Decision{Color: true, ASCII: true}},
		"LC_CTYPE beats LANG":         {Terminal{Lookup: env("TERM", "xterm", "LANG", "C", "LC_CTYPE", "zh_CN.utf8")}, Decision{Color: true}},
		"the Linux console":           {Terminal{Lookup: env("TERM", "linux", "LANG", "en_US.UTF-8")}, Decision{Color: true, ASCII: true}},
		"a VT220":                     {Terminal{Lookup: env("TERM", "vt220", "LANG", "en_US.UTF-8")}, Decision{ASCII: true}},
		"xterm-mono":                  {Terminal{Lookup: env("TERM", "xterm-mono", "LANG", "en_US.UTF-8")}, Decision{}},
		"tmux":                        {Terminal{Lookup: env("TERM", "tmux-256color", "LANG", "en_US.UTF-8", "TMUX", "x")}, Decision{Color: true}},
		"a pipe as input":             {Terminal{Lookup: utf8()}, Decision{Plain: true, Color: true, Why: "the input is not a terminal"}},
		"a file as output":            {Terminal{Lookup: utf8()}, Decision{Plain: true, Why: "the output is not a terminal"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.in.InTTY, tt.in.OutTTY = name != "a pipe as input", name != "a file as output"
			if got := Decide(tt.in); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
