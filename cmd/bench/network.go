package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// taps measures a card on a tap, users one on the network without privilege.
func (l *lab) taps() []trial {
	return l.networks("tap", tapGuest+" "+tapHost+" 128M", l.tap, devices{tap: tapName})
}

func (l *lab) users() []trial {
	return l.networks("user", userGuest+" "+userHost+" 32M", "", devices{user: true}) // QEMU takes long
}

// networks measures one kind of network by guest/net with these arguments. missing says why there is none.
func (l *lab) networks(name, arguments, missing string, d devices) []trial {
	subjects := []subject{
		{"ping", "a ping and its answer", l.report.Host.kind()},
		{"send", "TCP from the guest", kindThroughput},
		{"receive", "TCP to the guest", kindThroughput},
	}
	var list []trial
	for _, c := range cells {
		if c.diskOnly {
			continue
		}
		k := l.kernel(c.kernel)
		why := cmp.Or(k.missing, missing)
		list = append(list, l.trials(name+"/"+cellName(c.kernel, c.cpus), cellTitle(c.kernel, c.cpus), why,
			l.guestOf(k, c.cpus, "net "+arguments), d, subjects, networkOnce)...)
	}
	return list
}

func networkOnce(command, env []string) (map[string]float64, error) {
	console, err := runGuest(command, env)
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for name, parse := range map[string]func(string) (float64, error){"ping": parsePings, "send": parseIperf, "receive": parseIperf} {
		out, err := section(console, name)
		if err != nil {
			return nil, err
		}
		if values[name], err = parse(out); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return values, nil
}

var pingTime = regexp.MustCompile(`(?m) time=([0-9.]+) ms\s*$`)

// parsePings gives the median of ping's times, in nanoseconds.
func parsePings(out string) (float64, error) {
	var ns []float64
	for _, m := range pingTime.FindAllStringSubmatch(out, -1) {
		ms, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, err
		}
		ns = append(ns, ms*1e6)
	}
	if len(ns) == 0 {
		return 0, errors.New("no answers")
	}
	return summarize(ns).Median, nil
}

// parseIperf gives what the receiver got, in bytes a second, from iperf3's JSON.
func parseIperf(out string) (float64, error) {
	var result struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(out), &result); err != nil {
		return 0, err
	}
	if result.Error != "" {
		return 0, errors.New(result.Error)
	}
	if result.End.Received.BitsPerSecond <= 0 {
		return 0, errors.New("iperf3 received nothing")
	}
	return result.End.Received.BitsPerSecond / 8, nil
}
