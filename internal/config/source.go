package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

const (
	envPrefix  = "MIRRORD_"
	configEnv  = envPrefix + "CONFIG"
	configFlag = "config"
)

// AddFlags defines --config and the flag of each setting, or of these keys
// alone. They keep what was written; Load reads it.
func AddFlags(fs *pflag.FlagSet, keys ...string) {
	fs.Var(&raw{placeholder: "FILE"}, configFlag, "the YAML file to read settings from (environment "+configEnv+")")
	for _, s := range settings {
		if len(keys) == 0 || slices.Contains(keys, s.key) {
			fs.Var(&raw{placeholder: s.placeholder}, s.flag(),
				fmt.Sprintf("%s (default %s; environment %s)", s.help, s.standard(), s.env()))
		}
	}
}

// raw is a flag's value as written, once for each time it was.
type raw struct {
	placeholder string
	values      []string
}

func (r *raw) Set(s string) error {
	r.values = append(r.values, s)
	return nil
}

// String is the last value: it wins where only one is wanted.
func (r *raw) String() string {
	if len(r.values) == 0 {
		return ""
	}
	return r.values[len(r.values)-1]
}

// Type is what help shows in the value's place.
func (r *raw) Type() string { return r.placeholder }

// flags applies the flags that were given.
func (l *loader) flags(fs *pflag.FlagSet) {
	for i := range settings {
		flag := fs.Lookup(settings[i].flag())
		if flag != nil && flag.Changed {
			at := place{name: "--" + flag.Name}
			l.set(&settings[i], texts{text{l, at, flag.Value.String()}, flag.Value.(*raw).values})
		}
	}
}

// variable is the value of an environment variable. Spaces separate the entries
// of a list.
func (l *loader) variable(at place, s string) value {
	return texts{text{l, at, s}, strings.Fields(s)}
}

// serviceLinkRE matches the variables that Kubernetes gives every container
// for a Service whose name starts with mirrord; they are no settings of ours.
var serviceLinkRE = regexp.MustCompile(`^MIRRORD(_[A-Z0-9_]+)?_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// environment applies the variables that start with MIRRORD_.
func (l *loader) environment(environ []string) {
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || name == configEnv || serviceLinkRE.MatchString(name) {
			continue
		}
		at := place{name: name}
		switch s := settingByEnv(name); {
		case s == nil:
			l.problem(at, "unknown variable; %s", suggestEnv(name))
		case value == "":
		default:
			l.set(s, l.variable(at, value))
		}
	}
}

// settingByEnv returns the setting of that variable, or nil.
func settingByEnv(name string) *setting {
	for i := range settings {
		if settings[i].env() == name {
			return &settings[i]
		}
	}
	return nil
}

// suggestEnv compares without the prefix, which all names share.
func suggestEnv(name string) string {
	known := []string{strings.TrimPrefix(configEnv, envPrefix)}
	for _, s := range settings {
		known = append(known, strings.TrimPrefix(s.env(), envPrefix))
	}
	return suggest(strings.TrimPrefix(name, envPrefix), known, func(s string) string { return envPrefix + s })
}
