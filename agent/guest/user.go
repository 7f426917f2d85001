package guest

import (
	"bufio"
	"errors"
	"os"
	"strconv"
	"strings"
)

// A user is who a command runs as.
type user struct {
	uid, gid uint32
	groups   []uint32
	home     string
}

// userFiles are the paths of passwd(5) and group(5).
type userFiles struct{ passwd, group string }

// look finds NAME|UID[:GROUP|GID]. A number need not be in the files.
func (f userFiles) look(text string) (user, error) {
	if text == "" {
		text = "0"
	}
	name, group, hasGroup := strings.Cut(text, ":")
	u := user{home: "/"}
	fields := find(f.passwd, name, 7)
	if fields != nil {
		name = fields[2]
		u.home = fields[5]
		if gid, err := strconv.ParseUint(fields[3], 10, 32); err == nil {
			u.gid = uint32(gid)
		}
		u.groups = f.groupsOf(fields[0])
	}
	uid, err := strconv.ParseUint(name, 10, 32)
	if err != nil {
		return u, errors.New("user " + strconv.Quote(name) + " is not in the guest's /etc/passwd")
	}
	u.uid = uint32(uid)
	if !hasGroup {
		return u, nil
	}
	if fields := find(f.group, group, 4); fields != nil {
		group = fields[2]
	}
	gid, err := strconv.ParseUint(group, 10, 32)
	if err != nil {
		return u, errors.New("group " + strconv.Quote(group) + " is not in the guest's /etc/group")
	}
	u.gid, u.groups = uint32(gid), nil
	return u, nil
}

// find returns the n fields of the entry with that name or number.
func find(path, key string, n int) (found []string) {
	entries(path, n, func(fields []string) bool {
		if fields[0] == key || fields[2] == key {
			found = fields
		}
		return found == nil
	})
	return found
}

// groupsOf returns the groups that have a user as a member.
func (f userFiles) groupsOf(name string) (groups []uint32) {
	entries(f.group, 4, func(fields []string) bool {
		for member := range strings.SplitSeq(fields[3], ",") {
			if gid, err := strconv.ParseUint(fields[2], 10, 32); err == nil && member == name {
				groups = append(groups, uint32(gid))
			}
		}
		return true
	})
	return groups
}

// entries calls f with the n fields of each entry until it returns false.
func entries(path string, n int, f func(fields []string) bool) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) == n && !f(fields) {
			return
		}
	}
}
