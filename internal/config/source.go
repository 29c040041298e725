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

// AddFlags defines --config and the flags of all settings, or only those with these
// keys. The flags store their values as text, which Load parses.
func AddFlags(fs *pflag.FlagSet, keys ...string) {
	fs.Var(&rawFlag{placeholder: "FILE"}, configFlag, "the YAML file to read settings from (environment "+configEnv+")")
	for _, s := range settings {
		if len(keys) == 0 || slices.Contains(keys, s.key) {
			fs.Var(&rawFlag{placeholder: s.placeholder}, s.flag(),
				fmt.Sprintf("%s (default %s; environment %s)", s.help, s.standard(), s.env()))
		}
	}
	if flag := fs.Lookup(offlineKey); flag != nil {
		flag.NoOptDefVal = "true"
	}
}

// rawFlag is a pflag.Value that stores the text of each occurrence of the flag.
type rawFlag struct {
	placeholder string
	values      []string
}

func (r *rawFlag) Set(s string) error {
	r.values = append(r.values, s)
	return nil
}

// String returns the last value, which wins where only one is allowed.
func (r *rawFlag) String() string {
	if len(r.values) == 0 {
		return ""
	}
	return r.values[len(r.values)-1]
}

// Type returns the placeholder for the value in the help.
func (r *rawFlag) Type() string { return r.placeholder }

// flags applies the flags that were given.
func (l *loader) flags(fs *pflag.FlagSet) {
	for i := range settings {
		flag := fs.Lookup(settings[i].flag())
		if flag != nil && flag.Changed {
			at := place{name: "--" + flag.Name}
			l.set(&settings[i], textList{textValue{l, at, flag.Value.String()}, flag.Value.(*rawFlag).values})
		}
	}
}

// variable returns the value of an environment variable. Spaces separate the entries
// of a list.
func (l *loader) variable(at place, s string) value {
	return textList{textValue{l, at, s}, strings.Fields(s)}
}

// serviceLinkRE matches the variables that Kubernetes gives every container
// for a Service whose name starts with mirrord; they are not settings.
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

// settingByEnv returns the setting with that variable, or nil if there is none.
func settingByEnv(name string) *setting {
	for i := range settings {
		if settings[i].env() == name {
			return &settings[i]
		}
	}
	return nil
}

// suggestEnv is suggest for variables; it compares them without their common prefix.
func suggestEnv(name string) string {
	known := []string{strings.TrimPrefix(configEnv, envPrefix)}
	for _, s := range settings {
		known = append(known, strings.TrimPrefix(s.env(), envPrefix))
	}
	return suggest(strings.TrimPrefix(name, envPrefix), known, func(s string) string { return envPrefix + s })
}
