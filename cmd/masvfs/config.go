package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/urfave/cli/v3"
)

// A flag's value comes from the command line, else from the environment, else
// from the configuration file, else it is the default. configFile is read
// once, when the first flag asks for it.
type configFile struct {
	path   string
	given  bool // by flag or environment: it has to be there
	values map[string]any
	err    error
	read   bool
}

// key is one key of the configuration file, as a source of a flag's value.
type key struct {
	file *configFile
	name string
}

func (k key) String() string   { return fmt.Sprintf("key %q of %s", k.name, k.file.path) }
func (k key) GoString() string { return k.String() }

// Lookup implements cli.ValueSource.
func (k key) Lookup() (string, bool) {
	switch v := k.file.load()[k.name].(type) {
	case nil:
		return "", false
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, fmt.Sprint(e))
		}
		return strings.Join(all, listSeparator), true
	default:
		return fmt.Sprint(v), true
	}
}

// listSeparator stands between the values of a list that comes as one text
// from a source. No path can hold it.
const listSeparator = "\x00"

// pathList is an environment variable that holds a list of paths, as PATH does.
type pathList struct{ name string }

func (p pathList) String() string   { return fmt.Sprintf("environment variable %q", p.name) }
func (p pathList) GoString() string { return p.String() }
func (p pathList) IsFromEnv() bool  { return true }
func (p pathList) Key() string      { return p.name }

// Lookup implements cli.ValueSource.
func (p pathList) Lookup() (string, bool) {
	v, ok := os.LookupEnv(p.name)
	return strings.ReplaceAll(v, string(os.PathListSeparator), listSeparator), ok && v != ""
}

// newConfigFile finds the file before any flag is parsed, since flags take
// their values from it: --config, MASVFS_CONFIG, or the default place.
func newConfigFile(args []string) *configFile {
	for i, a := range args {
		if a == "--" {
			break
		}
		for _, name := range []string{"--config", "-config"} {
			if v, ok := strings.CutPrefix(a, name+"="); ok {
				return &configFile{path: v, given: true}
			}
			if a == name && i+1 < len(args) {
				return &configFile{path: args[i+1], given: true}
			}
		}
	}
	if v := os.Getenv("MASVFS_CONFIG"); v != "" {
		return &configFile{path: v, given: true}
	}
	return &configFile{path: filepath.Join(xdg("XDG_CONFIG_HOME", ".config"), "masvfs", "config.toml")}
}

func (f *configFile) load() map[string]any {
	if f.read {
		return f.values
	}
	f.read = true
	_, err := toml.DecodeFile(f.path, &f.values)
	if errors.Is(err, fs.ErrNotExist) && !f.given {
		err = nil
	}
	var parse toml.ParseError
	if errors.As(err, &parse) {
		err = fmt.Errorf("configuration file %s, line %d: %s", f.path, parse.Position.Line, parse.Message)
	} else if err != nil {
		err = fmt.Errorf("configuration file: %w", err)
	}
	f.err = err
	return f.values
}

// check returns what is wrong with the file: unreadable, or a key that no flag has.
func (f *configFile) check(flags []cli.Flag) error {
	f.load()
	if f.err != nil {
		return usageError{f.err}
	}
	var known []string
	for _, flag := range flags {
		known = append(known, flag.Names()[0])
	}
	for name, value := range f.values {
		if !slices.Contains(known, name) {
			return usagef("configuration file %s: there is no key %q; the keys are those that `masvfs run --help` shows as flags", f.path, name)
		}
		if _, table := value.(map[string]any); table {
			return usagef("configuration file %s: key %q must be a value, not a table", f.path, name)
		}
	}
	return nil
}

// from says where a flag's value may come from besides the command line.
func (f *configFile) from(name string) cli.ValueSourceChain {
	chain := cli.EnvVars(envName(name))
	chain.Append(cli.NewValueSourceChain(key{f, name}))
	return chain
}

// fromList is from for a flag that may be repeated.
func (f *configFile) fromList(name string) cli.ValueSourceChain {
	return cli.NewValueSourceChain(pathList{envName(name)}, key{f, name})
}

func envName(flag string) string {
	return "MASVFS_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// xdg returns one of the base folders of the XDG Base Directory Specification.
func xdg(env, below string) string {
	// The specification has relative paths ignored.
	if v := os.Getenv(env); filepath.IsAbs(v) {
		return v
	}
	return filepath.Join(home(), below)
}

func home() string {
	h, err := os.UserHomeDir()
	if err != nil {
		return "/"
	}
	return h
}

// withConfig makes a command refuse a configuration file that is wrong before it acts.
func withConfig(f *configFile, c *cli.Command, known func() []cli.Flag) *cli.Command {
	c.Before = func(ctx context.Context, _ *cli.Command) (context.Context, error) {
		return ctx, f.check(known())
	}
	return c
}
