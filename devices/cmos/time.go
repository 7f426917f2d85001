package cmos

import (
	"slices"
	"time"
)

// timeRegisters are the registers that show the time.
var timeRegisters = [...]byte{
	regSeconds, regMinutes, regHours,
	regDayOfWeek, regDayOfMonth, regMonth, regYear, regCentury,
}

func isTime(reg byte) bool { return slices.Contains(timeRegisters[:], reg) }

// encode returns what a register shows at t, in the format that status
// register B chooses.
func encode(t time.Time, reg, b byte) byte {
	switch reg {
	case regSeconds:
		return number(t.Second(), b)
	case regMinutes:
		return number(t.Minute(), b)
	case regHours:
		return encodeHour(t.Hour(), b)
	case regDayOfWeek:
		return number(int(t.Weekday())+1, b)
	case regDayOfMonth:
		return number(t.Day(), b)
	case regMonth:
		return number(int(t.Month()), b)
	case regYear:
		return number(twoDigits(t.Year()), b)
	default: // regCentury
		return number(twoDigits(t.Year()/100), b)
	}
}

// twoDigits returns the last two digits of n. Years before 0, which a host's
// clock could have, count like those after.
func twoDigits(n int) int {
	if n < 0 {
		n = -n
	}
	return n % 100
}

// encodeHour encodes an hour from 0 to 23. With 12 hours, midnight and noon
// are 12.
func encodeHour(h int, b byte) byte {
	if b&b24Hour != 0 {
		return number(h, b)
	}
	var pm byte
	if h >= 12 {
		pm = hourPM
	}
	return number((h+11)%12+1, b) | pm
}

// number encodes n, from 0 to 99.
func number(n int, b byte) byte {
	if b&bBinary != 0 {
		return byte(n)
	}
	return byte(n/10<<4 | n%10)
}

// decode returns the time that the registers show. It is not ok if a register
// holds no number, or one that is out of its range. The day of the week
// follows from the date and is not looked at.
func decode(ram *[ramSize]byte) (t time.Time, ok bool) {
	b := ram[regB]
	ok = true
	field := func(reg byte, lo, hi int) int {
		n, valid := parse(ram[reg], b)
		ok = ok && valid && lo <= n && n <= hi
		return n
	}
	var (
		century = field(regCentury, 0, 99)
		year    = field(regYear, 0, 99)
		month   = field(regMonth, 1, 12)
		day     = field(regDayOfMonth, 1, 31)
		minute  = field(regMinutes, 0, 59)
		second  = field(regSeconds, 0, 59)
	)
	hour, valid := parseHour(ram[regHours], b)
	if !ok || !valid {
		return time.Time{}, false
	}
	t = time.Date(century*100+year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	// time.Date makes the 31st of February a day in March.
	return t, t.Day() == day
}

// parseHour decodes an hour to 0 to 23.
func parseHour(v, b byte) (hour int, ok bool) {
	if b&b24Hour != 0 {
		n, ok := parse(v, b)
		return n, ok && n <= 23
	}
	n, ok := parse(v&^hourPM, b)
	if !ok || n < 1 || n > 12 {
		return 0, false
	}
	n %= 12
	if v&hourPM != 0 {
		n += 12
	}
	return n, true
}

// parse decodes a number, which in BCD has two decimal digits.
func parse(v, b byte) (n int, ok bool) {
	if b&bBinary != 0 {
		return int(v), true
	}
	hi, lo := int(v>>4), int(v&0x0f)
	return hi*10 + lo, hi <= 9 && lo <= 9
}
