package harden

import (
	"fmt"
	"slices"
	"strconv"
)

// OptionError is an option, or a value of one, that a remedy does not take.
type OptionError struct {
	Control, Option, Why string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("setting an option: %s.%s: %s", e.Control, e.Option, e.Why)
}

// Fill checks the given values against the remedy's options and adds the defaults, except of options that keep what is in force.
func (r Remedy) Fill(control string, given Values) (Values, error) {
	out := Values{}
	for _, o := range r.Options {
		if !o.Keeps {
			out[o.Name] = o.Default
		}
	}
	for name, v := range given {
		i := slices.IndexFunc(r.Options, func(o Option) bool { return o.Name == name })
		if i < 0 {
			return nil, &OptionError{control, name, fmt.Sprintf("remedy %s has no such option", r.ID)}
		}
		if err := r.Options[i].Accepts(v); err != nil {
			return nil, &OptionError{control, name, err.Error()}
		}
		out[name] = v
	}
	return out, nil
}

// find adds what the facts say of options that are not set.
func (r Remedy) find(f *Facts, v Values) Values {
	for _, o := range r.Options {
		if _, set := v[o.Name]; !set && o.Found != nil {
			v[o.Name] = o.Found(f, v)
		}
	}
	return v
}

// Accepts checks a value: its kind first, then the option's own rule.
func (o Option) Accepts(v string) error {
	switch o.Kind {
	case OptionNumber:
		if _, err := strconv.Atoi(v); err != nil {
			return fmt.Errorf("%q is not a whole number", v)
		}
	case OptionSwitch:
		if v != "true" && v != "false" {
			return fmt.Errorf("%q is neither true nor false", v)
		}
	case OptionOneOf:
		if !slices.Contains(o.Choices, v) {
			return fmt.Errorf("%q is none of %v", v, o.Choices)
		}
	}
	if o.Check != nil {
		return o.Check(v)
	}
	return nil
}
