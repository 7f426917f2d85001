const element = (tag, text, attributes) => {
	const e = document.createElement(tag);
	if (text !== undefined) e.textContent = text;
	for (const [name, value] of Object.entries(attributes || {})) e.setAttribute(name, value);
	return e;
};

// Moving about.
const smallest = 200; // nanoseconds across the timeline

function show(a, b, keep) {
	const range = Math.min(Math.max(b - a, smallest), last - first);
	from = Math.max(first, Math.min(a, last - range));
	to = from + range;
	draw();
	tellRange();
	if (!keep) history.replaceState(null, '', range === last - first ? location.pathname + location.search : '#ms=' + +(from / 1e6).toFixed(6) + ',' + +(to / 1e6).toFixed(6));
}

function zoom(factor, at) {
	const middle = at === undefined ? (from + to) / 2 : at;
	show(middle - (middle - from) * factor, middle + (to - middle) * factor);
}

const moves = {
	in: () => zoom(.5), out: () => zoom(2), all: () => show(first, last),
	left: () => show(from - (to - from) / 4, to - (to - from) / 4), right: () => show(from + (to - from) / 4, to + (to - from) / 4),
};
const keys = {'+': 'in', '=': 'in', '-': 'out', '0': 'all', 'ArrowLeft': 'left', 'ArrowRight': 'right', 'Home': 'all'};

// What is in the range, in words. A mark that stands for several events counts as all of them, and by its beginning.
function tellRange() {
	let exits = 0, busy = 0, requests = 0, some = '';
	for (const k of tracks) {
		if (k.kind === 'phase') continue;
		for (let i = search(k.begin, from), n = k.begin.length; i < n && k.begin[i] <= to; i++) {
			const count = k.c ? k.c[i] : 1;
			if (k.kind === 'cpu') { exits += count; busy += k.b ? k.b[i] : k.d[i]; } else if (shapeOf(k, i) === 'bar') requests += count;
		}
	}
	if (requests > 0) some = ', ' + requests.toLocaleString('en') + ' requests';
	const step = (to - from) / 1000;
	document.getElementById('range').textContent =
		time(from, step) + ' to ' + time(to, step) + ' (' + time(to - from) + '): ' + exits.toLocaleString('en') + ' exits, ' + time(busy) + ' to answer them' + some;
}

const stage = document.getElementById('stage'), tip = document.getElementById('tip'), band = document.getElementById('band');
let pressed = null;
const place = e => { const r = canvas.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };

canvas.addEventListener('pointerdown', e => {
	const [px] = place(e);
	if (e.button === 0 && px >= gutter && e.pointerType !== 'touch') { pressed = px; canvas.setPointerCapture(e.pointerId); }
});
canvas.addEventListener('pointermove', e => {
	const [px, py] = place(e);
	if (pressed !== null) {
		tip.hidden = true;
		band.hidden = Math.abs(px - pressed) < 4;
		band.style.left = Math.max(gutter, Math.min(px, pressed)) + 'px';
		band.style.width = Math.abs(Math.max(px, gutter) - pressed) + 'px';
		return;
	}
	hover(px, py);
});
canvas.addEventListener('pointerup', e => {
	const [px] = place(e), begin = pressed;
	pressed = null;
	band.hidden = true;
	if (begin !== null && Math.abs(px - begin) >= 4) {
		const [a, b] = [timeAt(Math.max(px, gutter)), timeAt(begin)];
		show(Math.min(a, b), Math.max(a, b));
	}
});
canvas.addEventListener('pointerleave', () => { tip.hidden = true; });
canvas.addEventListener('dblclick', moves.all);
canvas.addEventListener('wheel', e => {
	if (!e.ctrlKey && !e.metaKey) return;
	e.preventDefault();
	zoom(1.2 ** (e.deltaY / 50), timeAt(Math.max(place(e)[0], gutter)));
}, {passive: false});
canvas.addEventListener('keydown', e => {
	const move = keys[e.key];
	if (!move || e.ctrlKey || e.metaKey || e.altKey) return;
	e.preventDefault();
	moves[move]();
});
document.querySelector('.tools').addEventListener('click', e => { const move = e.target.dataset.do; if (move) moves[move](); });

function hover(px, py) {
	const found = pick(px, py);
	tip.hidden = !found;
	if (!found) return;
	tip.textContent = describe(...found);
	const left = px + 14 + tip.offsetWidth > width ? px - 14 - tip.offsetWidth : px + 14;
	tip.style.left = Math.max(0, left) + 'px';
	tip.style.top = py + 14 + 'px';
}

// The tables.
function table(head, rows) {
	const t = element('table'), top = element('tr'), body = element('tbody');
	head.forEach(h => top.append(element('th', h, {scope: 'col'})));
	t.append(element('thead')); t.tHead.append(top);
	for (const cells of rows) {
		const r = element('tr');
		cells.forEach((c, i) => r.append(c instanceof Node ? c : i === 0 ? element('th', c, {scope: 'row'}) : element('td', c)));
		body.append(r);
	}
	t.append(body);
	const scroll = element('div', undefined, {class: 'scroll'});
	scroll.append(t);
	return scroll;
}

function bar(begin, length, whole) {
	const cell = element('td', undefined, {class: 'bar'}), i = element('i');
	i.style.left = 'calc(1rem + (100% - 1rem) * ' + begin / whole + ')';
	i.style.width = 'calc((100% - 1rem) * ' + length / whole + ')';
	cell.append(i);
	return cell;
}

const percent = (part, whole) => whole > 0 ? (100 * part / whole).toFixed(1) + ' %' : '';
const number = n => n.toLocaleString('en');

function addTables() {
	const tables = document.getElementById('tables');
	const add = (title, head, rows, note) => {
		if (!rows.length) return;
		const s = element('section');
		s.append(element('h2', title));
		if (note) s.append(element('p', note, {class: 'soft'}));
		s.append(table(head, rows));
		tables.append(s);
	};
	add('vCPUs', ['', 'exits', 'in KVM_RUN', 'answering exits', 'share'],
		sum.cpus.map(c => [c.name, number(c.exits), time(c.run_ns), time(c.monitor_ns), percent(c.monitor_ns, c.monitor_ns + c.run_ns)]));
	const whole = sum.exits_by_reason.reduce((n, r) => n + r.total_ns, 0);
	const taken = what => [what, 'count', 'total', 'share', '', 'mean', 'median', '99 %', 'max'];
	const row = r => [r.name, number(r.count), time(r.total_ns), percent(r.total_ns, whole), bar(0, r.total_ns, whole), time(r.mean_ns), time(r.median_ns), time(r.p99_ns), time(r.max_ns)];
	add('Exits by device', taken('device that answered'), sum.exits_by_device.map(row));
	add('Exits by reason', taken('reason'), sum.exits_by_reason.map(row));
	add('Exits by address', taken('access'), sum.exits_by_address.map(row), 'Those that took most time.');
	add('Requests', ['request', 'count', 'bytes', 'total', 'mean', 'median', '99 %', 'max'],
		sum.requests.map(r => [r.name, number(r.count), number(r.bytes || 0), time(r.total_ns), time(r.mean_ns), time(r.median_ns), time(r.p99_ns), time(r.max_ns)]));
	const rung = new Map();
	for (const [list, at] of [[sum.doorbells, 0], [sum.interrupts, 1]]) for (const r of list) {
		if (!rung.has(r.name)) rung.set(r.name, [0, 0]);
		rung.get(r.name)[at] = r.count;
	}
	add('Doorbells and interrupts', ['device', 'doorbells', 'interrupts'], [...rung].map(([name, n]) => [name, number(n[0]), number(n[1])]));
}

function addPhases() {
	const list = sum.phases || [], into = document.getElementById('phases');
	if (!list.length) { into.append(element('p', 'The trace has no phases.')); return; }
	const begin = list[0].begin_ns, end = Math.max(...list.map(p => p.begin_ns + p.took_ns)), whole = Math.max(1, end - begin);
	const made = table(['phase', 'from', 'took', ''], list.map(p => ['until ' + p.stage, time(p.begin_ns), time(p.took_ns), bar(p.begin_ns - begin, p.took_ns, whole)]));
	made.classList.add('phases');
	into.append(made);
}

// The histogram: two columns for each power of two.
const svg = (tag, attributes, text) => {
	const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
	for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
	if (text !== undefined) e.textContent = text;
	return e;
};

function drawHistogram() {
	const which = data.histograms[document.getElementById('which').value], into = document.getElementById('histogram');
	into.replaceChildren();
	if (!which) return;
	const used = data.histograms[0].bins; // all exits, so that what is shown does not move when the device changes
	let lo = used.findIndex(n => n > 0), hi = used.length;
	lo = Math.max(0, lo - 1);
	const [w, h, left, base] = [960, 240, 56, 200], step = (w - left) / (hi - lo);
	const most = Math.max(...which.bins, 1), up = n => n / most * (base - 20);
	const picture = svg('svg', {viewBox: '0 0 ' + w + ' ' + h, role: 'img', 'aria-label': 'Histogram of how long exits took'});
	const grid = roundStep(most, 4);
	for (let n = 0; n <= most; n += Math.max(1, grid)) {
		picture.append(svg('line', {class: 'grid', x1: left, x2: w, y1: base - up(n), y2: base - up(n)}));
		picture.append(svg('text', {x: left - 8, y: base - up(n) + 4, 'text-anchor': 'end'}, number(n)));
	}
	for (let i = lo; i < hi; i++) {
		const n = which.bins[i] || 0, at = left + (i - lo) * step;
		if (n > 0) {
			const column = svg('rect', {class: 'column', x: at + 1, width: Math.max(1, step - 2), y: base - Math.max(up(n), 1.5), height: Math.max(up(n), 1.5)});
			column.append(svg('title', {}, number(n) + ' exits of ' + time(2 ** (i / 2)) + ' to ' + time(2 ** ((i + 1) / 2))));
			picture.append(column);
			if (step > 8 * number(n).length + 4) picture.append(svg('text', {class: 'count', x: at + step / 2, y: base - Math.max(up(n), 1.5) - 4, 'text-anchor': 'middle'}, number(n)));
		}
		if (i % 2 === 0 && (step > 20 || i % 4 === 0)) picture.append(svg('text', {x: at, y: base + 18, 'text-anchor': 'middle'}, time(2 ** (i / 2), 2 ** (i / 2) / 2)));
	}
	picture.append(svg('text', {x: left, y: h - 4}, 'exits, by the time from the exit to the answer'));
	into.append(picture);
}

function begin() {
	const about = Object.entries(sum.about || {}).filter(([name]) => !name.startsWith('lost') && !name.startsWith('records') && name !== 'format');
	document.getElementById('about').textContent = [time(last - first), number(data.events) + ' events', ...about.map(([name, value]) => name === 'monitor' ? value : name + ': ' + value)].join(' · ');
	const warn = [];
	if (sum.lost_exits + sum.lost_events > 0) warn.push('The rings were too small: ' + number(sum.lost_exits) + ' exits and ' + number(sum.lost_events) + ' events of devices before these are lost. Record more with --trace FILE,records=N.');
	if (data.merged) warn.push('There are more events than marks on the timeline: what is close together is one mark, as high as it is filled. The tables count every event.');
	document.getElementById('warn').textContent = warn.join(' ');
	document.getElementById('warn').hidden = !warn.length;
	const legend = document.getElementById('legend');
	for (const [name, shade] of [...colourOf, ['no device, or no access', '--none']]) {
		const item = element('li'), dot = element('i');
		dot.style.background = 'var(' + shade + ')';
		item.append(dot, name);
		legend.append(item);
	}
	data.histograms.forEach((h, i) => document.getElementById('which').append(element('option', (h.name || 'anything') + ' (' + number(h.bins.reduce((a, b) => a + b, 0)) + ')', {value: i})));
	document.getElementById('which').addEventListener('change', drawHistogram);
	addPhases();
	drawHistogram();
	addTables();
	layout();
	goToFragment();
	new ResizeObserver(again).observe(stage);
	matchMedia('(prefers-color-scheme: dark)').addEventListener('change', again);
	window.addEventListener('hashchange', goToFragment);
	for (const [event, on] of [['beforeprint', true], ['afterprint', false]]) window.addEventListener(event, () => {
		document.documentElement.classList.toggle('print', on); // the canvas is not drawn by the print's style
		again();
	});
}

function again() { layout(); draw(); }

// #ms=FROM,TO is a range in milliseconds.
function goToFragment() {
	const found = /^#ms=(-?[\d.e+-]+),(-?[\d.e+-]+)$/.exec(location.hash);
	const [a, b] = found ? [found[1] * 1e6, found[2] * 1e6] : [first, last];
	if (Number.isFinite(a) && Number.isFinite(b) && a < b) show(a, b, true); else show(first, last, true);
}

begin();
