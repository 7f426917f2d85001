package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

// small is the golden file of package trace, which has an event of each kind.
func small(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("../testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// golden compares got with a file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("not as in %s; if it is to be so, run: go test ./trace/report -update\n%s", name, got)
	}
}

func TestSummary(t *testing.T) {
	s, err := Summarize(bytes.NewReader(small(t)))
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := s.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/small.txt", text.Bytes())
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/small.json", append(b, '\n'))
}

// TestLost holds that what is missing is said first.
func TestLost(t *testing.T) {
	file := bytes.Replace(small(t), []byte(`"lost exits":"0"`), []byte(`"lost exits":"12"`), 1)
	s, err := Summarize(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := s.WriteText(&text); err != nil || !strings.Contains(text.String(), "12 exits and 0 events of devices before the others are lost") {
		t.Errorf("%v, %s", err, &text)
	}
}

// TestBadFiles holds that a file that is no trace, or not all of one, is an error that says what is wrong.
func TestBadFiles(t *testing.T) {
	good := string(small(t))
	event := func(text string) string { return `{"traceEvents":[` + text + `]}` }
	for _, tt := range []struct{ name, file, want string }{
		{"empty", "", "the file is empty"},
		{"half", good[:len(good)/2], "ends early, after"},
		{"without its end", strings.TrimSuffix(good, "]}\n"), "ends early"},
		{"a list", "[]", "where a {"},
		{"text", "boot.json", "not a trace"},
		{"another object", `{"stages":[]}`, "no traceEvents"},
		{"events that are none", `{"traceEvents":{}}`, "where a ["},
		{"a number of events", event("1"), "cannot unmarshal"},
		{"long event", event(`{"name":"` + strings.Repeat("x", 4*maxValue) + `"}`), "longer than"},
		{"long space", event(strings.Repeat(" ", 4*maxValue)), "longer than"},
		{"long name", event(`{"name":"` + strings.Repeat("x", maxText+1) + `"}`), "a text of"},
		{"far time", event(`{"ts":1e300}`), "a time of"},
		{"negative duration", event(`{"dur":-1}`), "a time of"},
		{"long about", `{"otherData":{"a":"` + strings.Repeat("x", 4*maxValue) + `"}}`, "longer than"},
		{"two abouts", `{"otherData":{"a":"1"},"otherData":{"b":"2"}}`, "otherData twice"},
		{"a terminal's command", `"\u001b[2J"`, "a text where a { should be"},
		{"a number for a bracket", strings.Repeat("7", 300), "a number where a { should be"},
		{"a number too long", event(`{"tid":` + strings.Repeat("7", 5000) + `}`), "cannot unmarshal number 777"},
		{"deep", event(strings.Repeat("[", 20000)), "not a trace"},
	} {
		_, err := Summarize(strings.NewReader(tt.file))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		} else if len(err.Error()) > 2*maxText || clean(err.Error()) != err.Error() {
			t.Errorf("%s: not for a terminal: %q", tt.name, err)
		}
		if page := new(bytes.Buffer); WriteHTML(page, strings.NewReader(tt.file)) == nil || page.Len() > 0 {
			t.Errorf("%s: a page of %d bytes was made", tt.name, page.Len())
		}
	}
}

// TestOtherTools holds that a trace that another program has written anew, in another order, is read too.
func TestOtherTools(t *testing.T) {
	var file map[string]any
	if err := json.Unmarshal(small(t), &file); err != nil {
		t.Fatal(err)
	}
	file["metadata"] = []any{1, nil, "more"}
	again, err := json.MarshalIndent(file, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Summarize(bytes.NewReader(again))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.CPUs) != 2 || len(s.Requests) != 3 {
		t.Errorf("%+v", s)
	}
}

// TestNamesAtTheEnd holds that a thread may get its name after its events: the format knows no order, and viewers write it so.
func TestNamesAtTheEnd(t *testing.T) {
	s, err := Summarize(strings.NewReader(`{"traceEvents":[{"cat":"exit","ph":"X","tid":100},{"name":"thread_name","ph":"M","tid":100,"args":{"name":"vCPU 0"}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.CPUs) != 1 || s.CPUs[0].Name != "vCPU 0" {
		t.Errorf("%+v", s.CPUs)
	}
}

// TestNothing holds that a trace without events has lists, which the page's program and other ones go through.
func TestNothing(t *testing.T) {
	s, err := Summarize(strings.NewReader(`{"traceEvents":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(s)
	if err != nil || bytes.Contains(b, []byte(":null")) {
		t.Errorf("%v, %s", err, b)
	}
	if _, data := pageOf(t, []byte(`{"traceEvents":[]}`)); data.Summary.CPUs == nil || data.Tracks == nil || data.Names == nil || data.Details == nil || data.Histograms == nil {
		t.Errorf("%+v", data)
	}
}

// TestNames holds that what is told apart is bounded, and nothing is left out of the sums.
func TestNames(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"traceEvents":[{}`)
	for i := range 3 * maxNames {
		fmt.Fprintf(&b, `,{"name":"no device","cat":"exit","ph":"X","ts":%d,"dur":1,"tid":100,"args":{"reason":"KVM_EXIT_MMIO","device":"no device","dir":"read","addr":"%#x"}}`, i, i)
	}
	b.WriteString("]}")
	s, err := Summarize(strings.NewReader(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	for _, r := range s.Addresses {
		n += r.Count
	}
	if len(s.Addresses) != maxNames+1 || n != 3*maxNames {
		t.Errorf("%d names, %d exits", len(s.Addresses), n)
	}
}

// TestHistogram holds that a duration is in the bin that has its bounds, and that percentiles are not less than what they are of.
func TestHistogram(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 7, 8, 15, 16, 17, 1000, 1023, 1024, 123456789, 1 << 46} {
		i := bin(d)
		if d > top(i) || i > 0 && d <= top(i-1) {
			t.Errorf("%d ns is in bin %d, of %d to %d", d, i, top(max(i-1, 0))+1, top(i))
		}
	}
	if i := bin(1 << 62); i != len(histogram{})-1 {
		t.Errorf("a long time is in bin %d", i)
	}
	var one tally
	for i := range 100 {
		one.add(time.Duration(i+1)*time.Microsecond, 0)
	}
	r := one.result()
	if r.Median < 50*time.Microsecond || r.Median > 57*time.Microsecond || r.P99 < 99*time.Microsecond || r.P99 > r.Max || r.Mean != 50500 {
		t.Errorf("%+v", r)
	}
	for i, want := range map[time.Duration]int{1024: 20, 1400: 20, 1500: 21, 2048: 22} {
		if got := half(bin(i)); got != want {
			t.Errorf("%d ns is in column %d, want %d", i, got, want)
		}
	}
}

var dataElement = regexp.MustCompile(`(?s)<script type="application/json" id="data">(.*?)</script>`)

// pageOf makes a page and gives the data in it.
func pageOf(t *testing.T, file []byte) (string, pageData) {
	t.Helper()
	var page bytes.Buffer
	if err := WriteHTML(&page, bytes.NewReader(file)); err != nil {
		t.Fatal(err)
	}
	found := dataElement.FindSubmatch(page.Bytes())
	if found == nil {
		t.Fatalf("no data in\n%s", &page)
	}
	var data pageData
	if err := json.Unmarshal(found[1], &data); err != nil {
		t.Fatal(err)
	}
	return page.String(), data
}

// TestPage holds that a page has every event, takes nothing from elsewhere, and has all of its parts.
func TestPage(t *testing.T) {
	page, data := pageOf(t, small(t))
	others := strings.ReplaceAll(page, "http://www.w3.org/2000/svg", "") // the name of a name space
	if strings.Contains(page, "{{") || strings.Contains(others, "://") {
		t.Error("a part is missing, or an address is in the page")
	}
	for _, want := range []string{"<title>Trace of govmm: 1 vCPU, &#34;64&#34; MiB</title>", "default-src 'none'", "prefers-color-scheme: dark", "@media print", "function drawTrack", "function addTables"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	b, err := json.MarshalIndent(struct {
		Tracks         []*track
		Names, Details []string
		Histograms     []histogramOf
	}{data.Tracks, data.Names, data.Details, data.Histograms}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/small.page.json", append(b, '\n'))
}

// TestPageOfHostileNames holds that what a file says stays text.
func TestPageOfHostileNames(t *testing.T) {
	evil := `</script><script>alert(1)</script>{{js}}`
	file := bytes.ReplaceAll(small(t), []byte(`govmm: 1 vCPU, \"64\" MiB`), []byte(evil))
	file = bytes.ReplaceAll(file, []byte(`"serial"`), []byte(`"`+evil+`"`))
	page, _ := pageOf(t, file)
	if n := strings.Count(page, "<script"); n != 2 {
		t.Errorf("%d scripts", n)
	}
	if strings.Contains(page, evil) {
		t.Error("a name is not escaped")
	}
}

// TestMerge holds that a page of many events has few marks, which stand for all of them.
func TestMerge(t *testing.T) {
	line := newTimeline()
	const events = 10_000
	for i := range events {
		e := event{Name: "serial", Category: exitEvent, Thread: 100 + i%2, Begin: micros(i * i), Took: 1}
		if err := line.add(&e); err != nil {
			t.Fatal(err)
		}
	}
	if line.merge(events, 0, 1e8*time.Microsecond) {
		t.Error("what has room was merged")
	}
	if !line.merge(1000, 0, 1e8*time.Microsecond) {
		t.Error("nothing was merged")
	}
	if n := line.count(); n > 1000 || n < 200 {
		t.Errorf("%d marks", n)
	}
	tracks, _, _ := line.encode()
	var count uint32
	var busy time.Duration
	for _, k := range tracks {
		for i := range k.Counts {
			count, busy = count+k.Counts[i], busy+k.Busy[i]
		}
		if !slices.ContainsFunc(k.Counts, func(n uint32) bool { return n > 1 }) {
			t.Errorf("%s has no mark of several", k.Name)
		}
	}
	if count != events || busy != events*time.Microsecond {
		t.Errorf("%d events, %v busy", count, busy)
	}
	if line.merge(1, 0, 1e8*time.Microsecond); line.count() != 2 {
		t.Errorf("%d marks of two rows at least", line.count())
	}
}

// TestDetails holds that each mark has its own detail, however many there are: a disk has one for each offset.
func TestDetails(t *testing.T) {
	line := newTimeline()
	const events = 100_000
	request := func(i int) *event {
		e := &event{Name: "read", Category: requestEvent, Thread: 1000, Begin: micros(i), Took: 1}
		e.Args.Size, e.Args.Offset = 4096, fmt.Sprintf("%#x", (i+1)*4096)
		return e
	}
	for i := range events {
		if err := line.add(request(i)); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		tracks, _, details := line.encode()
		begin := time.Duration(0)
		for i, n := range tracks[0].Details {
			begin += tracks[0].Begins[i]
			if want := request(int(begin / time.Microsecond)).detail(); details[n] != want {
				t.Fatalf("the event at %v is %q, not %q", begin, details[n], want)
			}
		}
		if marks := len(tracks[0].Details); len(details) > marks {
			t.Errorf("%d details for %d marks", len(details), marks)
		}
	}
	check()
	line.merge(100, 0, events*time.Microsecond)
	check()
}

// TestTooManyDetails holds that what there is no room for is left out, and no other's is shown for it.
func TestTooManyDetails(t *testing.T) {
	s := newStrings()
	for i := range mostStrings + 10 {
		s.number(fmt.Sprint(i))
	}
	if got := s.list[s.number("one more")]; got != unkept || len(s.list) > mostStrings+1 || s.list[s.number("9")] != "9" {
		t.Errorf("%q, %d in all", got, len(s.list))
	}
}

// TestOtherCategories holds that events which package trace does not write are not on the page: no bound of time holds for them.
func TestOtherCategories(t *testing.T) {
	line := newTimeline()
	for _, category := range []string{"", "gpu", exitEvent} {
		if err := line.add(&event{Name: "x", Category: category, Thread: 100}); err != nil {
			t.Fatal(err)
		}
	}
	if line.events != 1 || line.count() != 1 {
		t.Errorf("%d events, %d marks", line.events, line.count())
	}
}

// FuzzRead holds that no file makes the readers crash, or go on for long.
func FuzzRead(f *testing.F) {
	f.Add(small(f))
	f.Add([]byte(`{"traceEvents":[]}`))
	f.Add([]byte(`{"otherData":{"lost exits":"x"},"traceEvents":[{"cat":"exit","ts":-1,"dur":9e14,"args":{"run_us":1,"addr":"0x1"}},{"cat":"phase"}]}`))
	f.Add([]byte(`{"traceEvents":[{"cat":"request","ts":1e15,"args":{"status":1,"queue":9}},{"cat":"request","ts":-1e15}]}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, err := Summarize(bytes.NewReader(file))
		var page bytes.Buffer
		if pageErr := WriteHTML(&page, bytes.NewReader(file)); (err == nil) != (pageErr == nil) && err != nil {
			t.Errorf("%v, but a page: %v", err, pageErr)
		}
		if err != nil {
			return
		}
		if err := s.WriteText(&page); err != nil {
			t.Error(err)
		}
	})
}
