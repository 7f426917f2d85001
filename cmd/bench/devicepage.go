package main

import "strings"

// A deviceTable is what the page has of one kind of device.
type deviceTable struct {
	Name, About string
	Rows        []deviceRow
}

// A deviceRow is a figure of govmm's, and what the others have.
type deviceRow struct {
	row
	Beside []rivalCell
}

type rivalCell struct{ Median, Ratio string }

// deviceTables are the page's, in their order. The names are the second elements of IDs.
var deviceTables = []deviceTable{
	{Name: "disk", About: "A disk of 256 MiB, a file in the host's memory, by fio with io_uring and O_DIRECT in the guest: 2,000 requests at depth 1, 8,000 at depth 32, " +
		"256 of 1 MiB. QEMU's own threads do its I/O (aio=threads), in the page cache, as govmm does."},
	{Name: "tap", About: "A tap without vhost: the median of 200 pings from the guest, and iperf3 with 128 MiB each way."},
	{Name: "user", About: "The same with 32 MiB by the monitor's own network, without privilege: in QEMU by libslirp, to a server on the host's loopback. libslirp takes packets " +
		"of one segment only."},
	{Name: "idle", About: "A guest that sleeps, with a disk, the monitor's own network and a balloon: context switches of threads in 10 s, 40 s after its start, and the time that they ran. A thread " +
		"that waits in KVM_RUN is a virtual CPU's; what wakes that are the guest's own timers."},
	{Name: "free", About: "Free page reporting: a guest of 1 GiB fills a file of 512 MiB in memory and removes it; by how much the monitor's resident size has then shrunk. " +
		"The guest's kernel reports every two seconds."},
}

// Devices gives the tables that have rows.
func (p page) Devices() []deviceTable {
	var tables []deviceTable
	for _, t := range deviceTables {
		for _, f := range p.Figures {
			group, ok := strings.CutSuffix(f.ID, "/"+rivals[0].name)
			if ok && strings.HasPrefix(group, "devices/"+t.Name+"/") {
				t.Rows = append(t.Rows, p.deviceRow(f, group))
			}
		}
		if len(t.Rows) > 0 {
			tables = append(tables, t)
		}
	}
	return tables
}

func (p page) deviceRow(f *figure, group string) deviceRow {
	d := deviceRow{row: p.row(f)}
	for _, r := range rivals[1:] {
		cell := rivalCell{"not measured", "-"}
		if other := p.figure(group + "/" + r.name); other != nil {
			cell = rivalCell{p.row(other).Median, d.Of(other.ID)}
		}
		d.Beside = append(d.Beside, cell)
	}
	return d
}
