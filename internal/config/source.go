package config

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/pflag"
)

const (
	envPrefix  = "MIRRORD_"
	configEnv  = envPrefix + "CONFIG"
	configFlag = "config"
)

// AddFlags defines --config and one flag a field. They keep what was written;
// Load reads it.
func AddFlags(fs *pflag.FlagSet) {
	fs.Var(&raw{placeholder: "FILE"}, configFlag, "the YAML file to read settings from (environment "+configEnv+")")
	for _, f := range fields {
		fs.Var(&raw{placeholder: f.placeholder}, f.flag(),
			fmt.Sprintf("%s (default %s; environment %s)", f.help, f.fallback, f.env()))
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
	for i := range fields {
		f := &fields[i]
		flag := fs.Lookup(f.flag())
		if !flag.Changed {
			continue
		}
		at := place{name: "--" + flag.Name}
		if f.parse == nil {
			l.upstreamTexts(at, flag.Value.(*raw).values)
		} else {
			l.set(f, at, flag.Value.String())
		}
	}
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
		switch f := fieldByEnv(name); {
		case f == nil:
			l.problem(at, "unknown variable; %s", suggestEnv(name))
		case value == "":
		case f.parse == nil:
			l.upstreamTexts(at, strings.Fields(value))
		default:
			l.set(f, at, value)
		}
	}
}

// fieldByEnv returns the field that the variable sets, or nil.
func fieldByEnv(name string) *field {
	for i := range fields {
		if fields[i].env() == name {
			return &fields[i]
		}
	}
	return nil
}

// suggestEnv compares without the prefix, which all names share.
func suggestEnv(name string) string {
	known := []string{strings.TrimPrefix(configEnv, envPrefix)}
	for _, f := range fields {
		known = append(known, strings.TrimPrefix(f.env(), envPrefix))
	}
	return suggest(strings.TrimPrefix(name, envPrefix), known, func(s string) string { return envPrefix + s })
}
