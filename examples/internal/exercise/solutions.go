//go:build lessonstest

package exercise

const checkSolutions = true
