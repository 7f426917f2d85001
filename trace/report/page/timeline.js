'use strict';

// Times are in nanoseconds since the trace's zero.
const data = JSON.parse(document.getElementById('data').textContent);
const sum = data.summary;
const first = sum.begin_ns, last = Math.max(sum.end_ns, first + 1000);

const style = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// A time as a person writes it, with so many digits that a unit of step is seen.
function time(ns, step) {
	const [unit, name] = Math.abs(ns) >= 1e9 ? [1e9, 's'] : Math.abs(ns) >= 1e6 ? [1e6, 'ms'] : Math.abs(ns) >= 1e3 ? [1e3, 'µs'] : [1, 'ns'];
	const digits = step === undefined ? (unit === 1 ? 0 : Math.abs(ns) / unit >= 100 ? 1 : 2) : Math.max(0, Math.ceil(Math.log10(unit / step) - 1e-9));
	return (ns / unit).toFixed(Math.min(digits, 9)) + ' ' + name;
}

// Colours go to devices in the order of their exits; what no device answers, and exits without an access, are grey.
const colours = 9;
const colourOf = new Map();
sum.exits_by_device.filter(r => r.name !== 'no device').slice().sort((a, b) => b.count - a.count).forEach((r, i) => colourOf.set(r.name, i < colours ? '--c' + i : '--none'));
const colour = name => colourOf.get(name) || '--none';

const phasesThread = 1, firstDevice = 1000, lanes = 64;
const tracks = data.tracks.map(k => {
	let at = 0;
	const begin = Float64Array.from(k.t, d => at += d);
	const end = begin.map((b, i) => b + k.d[i]);
	// The end of everything up to a mark: where marks overlap, a search by it misses none.
	let reach = -Infinity;
	const reached = end.map(e => reach = Math.max(reach, e));
	const kind = k.id === phasesThread ? 'phase' : k.id < firstDevice ? 'cpu' : 'device';
	const device = k.name.replace(/ \(\d+\)$/, '');
	return {...k, begin, end, reached, kind, device, height: kind === 'phase' ? 24 : 30};
});

const canvas = document.getElementById('timeline'), context = canvas.getContext('2d');
const axis = 26, gap = 4, tick = 6;
let gutter = 130, width = 800;
let from = first, to = last;
let shades = {};

const x = t => gutter + (t - from) / (to - from) * (width - gutter);
const timeAt = px => from + (px - gutter) / (width - gutter) * (to - from);

// The index of the first element of a sorted list that is at least v.
function search(list, v) {
	let lo = 0, hi = list.length;
	while (lo < hi) {
		const mid = (lo + hi) >> 1;
		if (list[mid] < v) lo = mid + 1; else hi = mid;
	}
	return lo;
}

function layout() {
	width = canvas.parentElement.clientWidth;
	gutter = width < 560 ? 84 : 150;
	let y = axis;
	for (const k of tracks) { k.y = y; y += k.height + gap; }
	const scale = window.devicePixelRatio || 1;
	canvas.width = Math.round(width * scale);
	canvas.height = Math.round(y * scale);
	canvas.style.height = y + 'px';
	context.setTransform(scale, 0, 0, scale, 0, 0);
	shades = {};
	for (const name of ['--page', '--text', '--soft', '--edge', '--band', '--run', '--none', ...Array.from({length: colours}, (_, i) => '--c' + i)]) shades[name] = style(name);
}

function draw() {
	const height = parseFloat(canvas.style.height);
	context.clearRect(0, 0, width, height);
	context.font = '12px ' + getComputedStyle(document.body).fontFamily;
	context.textBaseline = 'middle';
	drawAxis(height);
	for (const k of tracks) drawTrack(k);
}

// A round step of which there are about n in the range.
function roundStep(range, n) {
	const raw = range / n, power = 10 ** Math.floor(Math.log10(raw));
	return [1, 2, 5, 10].map(m => m * power).find(s => s >= raw);
}

function drawAxis(height) {
	const step = roundStep(to - from, Math.max(2, (width - gutter) / 110));
	context.textAlign = 'center';
	// Counted from 0: a file may have times so far away that to add 1 to their number changes nothing.
	for (let n = 0, begin = Math.ceil(from / step); n <= (to - from) / step; n++) {
		const t = (begin + n) * step, at = Math.round(x(t)) + .5;
		context.fillStyle = shades['--edge'];
		context.fillRect(at - .5, axis - 6, 1, height - axis + 6);
		context.fillStyle = shades['--soft'];
		const text = t === 0 ? '0' : time(t, step), half = context.measureText(text).width / 2;
		if (at - half >= gutter - 30 && at + half <= width) context.fillText(text, at, 9);
	}
}

function fit(text, room) {
	if (context.measureText(text).width <= room) return text;
	while (text.length > 1 && context.measureText(text + '…').width > room) text = text.slice(0, -1);
	return text + '…';
}

function drawTrack(k) {
	context.textAlign = 'left';
	context.fillStyle = shades['--text'];
	context.fillText(fit(k.name, gutter - 12), 0, k.y + k.height / 2);
	context.save();
	context.beginPath();
	context.rect(gutter, k.y, width - gutter, k.height);
	context.clip();
	context.fillStyle = shades[k.kind === 'cpu' ? '--run' : '--band'];
	context.fillRect(gutter, k.y, width - gutter, k.height);
	// What falls on the same pixel as the mark before, in the same colour, is there already.
	let drawnTo = -1, drawnAs = '';
	for (let i = search(k.reached, from), n = k.begin.length; i < n && k.begin[i] <= to; i++) {
		if (k.end[i] < from) continue;
		const shape = shapeOf(k, i), left = x(k.begin[i]), right = Math.max(x(k.end[i]), left + 1);
		if (right <= drawnTo && shape === drawnAs) continue;
		drawMark(k, i, shape, left, right);
		drawnTo = Math.ceil(left) + (shape === 'bar' ? 0 : 1);
		if (right - left > 1) drawnTo = right;
		drawnAs = shape;
	}
	context.restore();
}

function shapeOf(k, i) {
	const name = data.names[k.n[i]];
	return name === 'doorbell' || name === 'interrupt' ? name : 'bar';
}

function drawMark(k, i, shape, left, right) {
	const top = k.y + 3, bottom = k.y + k.height - 3;
	if (k.kind === 'phase') return drawPhase(k, i, left, right);
	context.fillStyle = shades[k.kind === 'cpu' ? colour(data.names[k.n[i]]) : colour(k.device)];
	if (shape === 'bar') {
		// A mark of several events is as high as they fill it.
		const full = k.b ? Math.max(.25, Math.min(1, k.b[i] / Math.max(1, k.end[i] - k.begin[i]))) : 1;
		const inset = k.kind === 'device' ? tick - 1 : 0;
		context.fillRect(left, bottom - inset - (bottom - top - 2 * inset) * full, right - left, (bottom - top - 2 * inset) * full);
		if (right - left > 40) label(data.names[k.n[i]], left, right, (top + bottom) / 2, '--page');
		return;
	}
	context.beginPath();
	const [tip, base] = shape === 'doorbell' ? [top + tick, top] : [bottom - tick, bottom];
	context.moveTo(left, tip); context.lineTo(left - tick / 2, base); context.lineTo(left + tick / 2, base);
	context.fill();
}

function label(text, left, right, y, shade) {
	const begin = Math.max(left, gutter) + 4, room = Math.min(right, width) - begin - 4;
	if (room < 20) return;
	context.textAlign = 'left';
	context.fillStyle = shades[shade];
	context.fillText(fit(text, room), begin, y);
}

function drawPhase(k, i, left, right) {
	context.fillStyle = shades['--c8'];
	context.globalAlpha = i % 2 ? .2 : .35;
	context.fillRect(left, k.y + 2, Math.max(1, right - left - 1), k.height - 4);
	context.globalAlpha = 1;
	label(data.names[k.n[i]], left, right, k.y + k.height / 2, '--text');
}

// What is under a point: the nearest mark of the row, up to a few pixels away.
function pick(px, py) {
	const k = tracks.find(k => py >= k.y && py < k.y + k.height);
	if (!k || px < gutter) return null;
	const slack = 4 * (to - from) / (width - gutter), at = timeAt(px);
	let best = -1, distance = Infinity;
	for (let i = search(k.reached, at - slack), n = k.begin.length; i < n && k.begin[i] <= at + slack; i++) {
		const d = at < k.begin[i] ? k.begin[i] - at : at > k.end[i] ? at - k.end[i] : 0;
		if (d < distance || d === distance && k.d[i] < k.d[best]) { best = i; distance = d; }
	}
	return best < 0 || distance > slack ? null : [k, best];
}

function describe(k, i) {
	const lines = [], detail = data.details[k.e[i]], value = k.v[i];
	if (k.c && k.c[i] > 1) lines.push(k.c[i] + ' events, ' + time(k.b[i]) + ' of ' + time(k.d[i]) + ' busy', 'the longest:');
	lines.push(data.names[k.n[i]]);
	if (detail) lines.push(detail + (value ? ': 0x' + value : ''));
	lines.push('at ' + time(k.begin[i], Math.max(1, (to - from) / 1e5)));
	if (k.d[i] > 0 && !(k.c && k.c[i] > 1)) lines.push('took ' + time(k.d[i]));
	return lines.join('\n');
}
