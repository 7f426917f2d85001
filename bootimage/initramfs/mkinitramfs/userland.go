package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// keptBuilds is how many builds stay in the cache, the most recently used ones.
const keptBuilds = 4

// urootFlags ask for the commands and nothing else. The rest of the archive is for compose to make.
var urootFlags = []string{"-base=/dev/null", "-defaultsh=", "-initcmd=", "-uinitcmd="}

// cachedUserland gives the archive with the compiled commands, which it compiles if need be.
func cachedUserland(ctx context.Context, cfg config) (*os.File, error) {
	env, err := buildEnvironment(ctx, cfg)
	if err != nil {
		return nil, err
	}
	key, err := buildKey(os.DirFS(cfg.uroot), env)
	if err != nil {
		return nil, err
	}
	name := filepath.Join(cfg.cache, key+".cpio")
	if f, err := os.Open(name); err == nil {
		// The time tells which builds are in use. If it cannot be set, a build is lost earlier than it might be.
		now := time.Now()
		_ = os.Chtimes(name, now, now)
		return f, nil
	}
	fmt.Fprintln(cfg.log, "mkinitramfs: compiling the guest's commands")
	err = writeFile(name, func(w io.Writer) error { return buildUserland(ctx, w, cfg, env) })
	if err != nil {
		return nil, err
	}
	if err := pruneCache(cfg.cache); err != nil {
		return nil, err
	}
	return os.Open(name)
}

// buildEnvironment gives the environment for the go command: the caller's, less what would change the result in
// ways that the key does not see.
func buildEnvironment(ctx context.Context, cfg config) ([]string, error) {
	fixed := []string{"CGO_ENABLED=0", "GOOS=linux", "GOFLAGS=-mod=readonly -trimpath", "GOWORK=off", "GOBIN=", "GOEXPERIMENT="}
	env := append(os.Environ(), fixed...)
	settings := []string{"GOVERSION", "GOARCH", "GOAMD64", "GOARM64", "GOTOOLCHAIN"}
	out, err := goOutput(ctx, cfg, env, append([]string{"env"}, settings...)...)
	if err != nil {
		return nil, err
	}
	values := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(values) != len(settings) {
		return nil, fmt.Errorf("go env printed %d lines, not %d", len(values), len(settings))
	}
	for i, value := range values {
		fixed = append(fixed, settings[i]+"="+value)
	}
	return fixed, nil
}

// buildKey hashes all that the compiled commands depend on: env and the module's files. The versions of Go
// and of other modules are in these.
func buildKey(uroot fs.FS, env []string) (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q\n", urootFlags, env)
	err := fs.WalkDir(uroot, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		data, err := fs.ReadFile(uroot, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %d\n", name, len(data))
		h.Write(data)
		return nil
	})
	return fmt.Sprintf("%x", h.Sum(nil)[:16]), err
}

// buildUserland compiles the commands that the module has as tools and in cmds, u-root itself aside, and writes the
// archive that has them.
func buildUserland(ctx context.Context, w io.Writer, cfg config, env []string) error {
	env = append(os.Environ(), env...)
	out, err := goOutput(ctx, cfg, env, "list", "tool", "./cmds/...")
	if err != nil {
		return err
	}
	commands := slices.DeleteFunc(strings.Fields(out), func(s string) bool { return s == "github.com/u-root/u-root" })

	tmp, err := os.MkdirTemp("", "mkinitramfs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	archive := filepath.Join(tmp, "userland.cpio")
	args := slices.Concat([]string{"tool", "u-root", "-o", archive}, urootFlags, commands)
	if _, err := goOutput(ctx, cfg, env, args...); err != nil {
		return err
	}
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

// goOutput runs the go command in the module of the guest's commands.
func goOutput(ctx context.Context, cfg config, env []string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, cfg.goCommand, args...)
	cmd.Dir, cmd.Env = cfg.uroot, env
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go %s in %s: %w\n%s", args[0], cfg.uroot, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.String(), nil
}

// pruneCache removes all but the builds that were used last.
func pruneCache(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.cpio"))
	if err != nil {
		return err
	}
	used := make(map[string]time.Time)
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			continue // removed by another process
		}
		used[name] = info.ModTime()
	}
	slices.SortFunc(names, func(a, b string) int { return used[b].Compare(used[a]) })
	for _, name := range names[min(len(names), keptBuilds):] {
		// Failing to free space is no reason to fail.
		_ = os.Remove(name)
	}
	return nil
}
