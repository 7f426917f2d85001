// Draw makes the pictures of govmm's documents: for each NAME.dot in a directory it writes NAME.svg beside it.
//
// It is a module of its own, so that what it needs is no dependency of govmm's. Graphviz runs in it as WebAssembly: there is no program to
// install, and the widths of letters are built in, so that a picture does not depend on the fonts of the machine that draws it.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goccy/go-graphviz"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: draw DIRECTORY")
		os.Exit(2)
	}
	if err := drawAll(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "draw:", err)
		os.Exit(1)
	}
}

// drawAll draws all sources in dir.
func drawAll(ctx context.Context, dir string) (err error) {
	sources, err := filepath.Glob(filepath.Join(dir, "*.dot"))
	if err != nil {
		return err
	}
	if len(sources) == 0 {
		return fmt.Errorf("no *.dot in %s", dir)
	}
	g, err := graphviz.New(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	for _, source := range sources {
		if err := draw(ctx, g, source); err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
	}
	return nil
}

func draw(ctx context.Context, g *graphviz.Graphviz, source string) (err error) {
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	graph, err := graphviz.ParseBytes(text)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, graph.Close()) }()
	var drawn bytes.Buffer
	if err := g.Render(ctx, graph, graphviz.SVG, &drawn); err != nil {
		return err
	}
	svg, err := finish(drawn.String(), filepath.Base(source))
	if err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(source, ".dot")+".svg", []byte(svg), 0o644)
}
