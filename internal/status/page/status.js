"use strict";

// Replaces the figures of the page as /v1/live sends them. Nothing that it receives becomes
// markup: it sets text, and attributes that the page names.
(() => {
	const space = "\u00a0";
	const unknown = "–";
	const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
	const silence = 40_000; // milliseconds; an event comes every 15 s at least
	const retry = 5_000;
	const chartsEvery = 60_000;

	const number = (v) => (typeof v === "number" ? v : 0);
	const text = (v) => (typeof v === "string" || typeof v === "number" ? String(v) : "");

	// The formats of format.go, by the same names.
	function count(v) {
		return typeof v === "number" ? String(Math.floor(v)).replace(/\B(?=(\d{3})+$)/g, ",") : unknown;
	}

	const plural = (noun) => (v) => count(v) + space + noun + (v === 1 ? "" : "s");

	function percent(share, whole) {
		if (number(whole) <= 0) return unknown;
		return (Math.floor(1000 * (number(share) / whole)) / 10).toFixed(1) + space + "%";
	}

	const saved = (sent, fetched) => (typeof sent === "number" ? Math.max(0, sent - number(fetched)) : null);

	function size(v) {
		if (typeof v !== "number" || v < 0) return unknown;
		let unit = 0;
		for (; v >= 1024 && unit < units.length - 1; unit++) v /= 1024;
		const decimals = unit === 0 || v >= 100 ? 0 : v >= 10 ? 1 : 2;
		const scale = 10 ** decimals;
		return (Math.floor(v * scale) / scale).toFixed(decimals) + space + units[unit];
	}

	function left(remaining, limit) {
		if (remaining == null) return limit == null ? "no limit known" : "unknown, of " + count(limit);
		return limit == null ? count(remaining) : count(remaining) + " of " + count(limit);
	}

	function part(share, whole) {
		if (typeof share !== "number" || number(whole) <= 0) return "";
		return (Math.floor(1000 * Math.min(1, Math.max(0, share / whole))) / 1000).toFixed(3);
	}

	function seconds(v) {
		if (typeof v !== "number") return unknown;
		const n = Math.floor(Math.max(0, v));
		const minutes = Math.floor(n / 60), hours = Math.floor(n / 3600), days = Math.floor(n / 86400);
		const join = (first, unit, rest, restUnit) => first + space + unit + (rest ? space + rest + space + restUnit : "");
		if (n < 60) return join(n, "s");
		if (n < 600) return join(minutes, "min", n - 60 * minutes, "s");
		if (n < 3600) return join(minutes, "min");
		if (n < 86400) return join(hours, "h", minutes - 60 * hours, "min");
		return n < 30 * 86400 ? join(days, "d", hours - 24 * days, "h") : join(days, "d");
	}

	const millis = (v) => (typeof v === "number" ? count(Math.round(v * 1000)) + space + "ms" : unknown);

	function moment(v) {
		const raw = text(v);
		if (raw.length < 20) return unknown;
		const zone = raw.slice(19).replace(/^[.\d]+/, "");
		return raw.slice(0, 10) + space + raw.slice(11, 19) + space + (zone === "Z" ? "UTC" : zone);
	}

	function instant(v) {
		const at = Date.parse(text(v));
		return Number.isNaN(at) || text(v).startsWith("0001-01-01T00:00:00") ? null : at;
	}

	function since(now, v, suffix) {
		const at = instant(v);
		return at === null ? unknown : seconds((now - at) / 1000) + suffix;
	}

	function until(now, v, prefix) {
		const at = instant(v);
		return at === null ? "at an unknown time" : prefix + seconds((at - now) / 1000);
	}

	const received = (n, whole) => size(n) + (number(whole) < 0 ? ", size unknown" : " of " + size(whole));

	function needs(n, whole, rate) {
		if (number(whole) < 0 || number(rate) <= 0) return "";
		return seconds((number(whole) - number(n)) / rate) + " left";
	}

	const formats = {
		text, millis, moment, count, percent, part, left, received, needs,
		digest: (v) => text(v).slice(0, 19),
		requests: plural("request"),
		times: plural("time"),
		waiters: plural("waiter"),
		hosts: plural("host"),
		images: plural("image"),
		bytes: size,
		rate: (v) => size(v) + "/s",
		duration: seconds,
		image: (upstream, repository) => [text(upstream), text(repository)].filter(Boolean).join("/"),
		either: (a, b) => text(a) || text(b),
		saved: (sent, fetched) => size(saved(sent, fetched)),
		savedpercent: (sent, fetched) => percent(saved(sent, fetched), sent),
	};
	const timed = {
		ago: (now, v) => since(now, v, " ago"),
		elapsed: (now, v) => since(now, v, ""),
		until: (now, v) => until(now, v, "within "),
		due: (now, v) => until(now, v, "in "),
	};

	const at = (value, path) => path.split(".").reduce((v, key) => (v != null && Object.hasOwn(Object(v), key) ? v[key] : null), value);

	function format(value, now, spec) {
		const [name, ...paths] = spec.split(" ");
		const values = paths.map((path) => at(value, path));
		return Object.hasOwn(timed, name) ? timed[name](now, ...values) : formats[name](...values);
	}

	function items(value) {
		if (Array.isArray(value)) return value;
		return Object.keys(value ?? {}).sort().map((key) => ({ key, value: value[key] }));
	}

	function isEmpty(value, paths) {
		return paths.split(" ").every((path) => {
			const v = at(value, path);
			return v == null || v === false || (typeof v === "object" && Object.keys(v).length === 0);
		});
	}

	function setText(element, value) {
		if (element.textContent !== value) element.textContent = value;
	}

	function setAttribute(element, name, value) {
		if (value === "") element.removeAttribute(name);
		else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
	}

	// fill replaces what is in an element, or a row of a list, with a value.
	function fill(scope, value, now) {
		const list = scope.closest("[data-list]");
		const own = (selector) => {
			const found = [...scope.querySelectorAll(selector)].filter((e) => e.parentElement.closest("[data-list]") === list);
			return scope.matches(selector) ? [scope, ...found] : found;
		};
		for (const e of own("[data-live]")) setText(e, format(value, now, e.dataset.live));
		for (const e of own("[data-when]")) e.hidden = isEmpty(value, e.dataset.when);
		for (const e of own("[data-unless]")) e.hidden = !isEmpty(value, e.dataset.unless);
		for (const e of own("[data-bind]")) {
			const [name, ...spec] = e.dataset.bind.split(" ");
			setAttribute(e, name, format(value, now, spec.join(" ")));
		}
		for (const e of own("[data-list]")) {
			if (e !== scope) fillList(e, items(at(value, e.dataset.list)), now);
		}
	}

	// fillList changes rows in place, so that a selection in one stays.
	function fillList(list, values, now) {
		const template = list.querySelector("template");
		const rows = [...list.children].filter((row) => row !== template);
		for (const row of rows.slice(values.length)) row.remove();
		values.forEach((value, i) => {
			const row = rows[i] ?? list.appendChild(template.content.firstElementChild.cloneNode(true));
			fill(row, value, now);
		});
	}

	const state = document.getElementById("live");
	let last = Date.now(); // of the browser's clock
	let lost = null;
	let shown = ""; // the mirror's time that the figures are of

	function tell() {
		if (lost === null) {
			setText(state, "Live");
		} else {
			const figures = shown === "" ? "" : " The figures are of " + shown + ".";
			setText(state, "No connection to the mirror since " + lost.toLocaleTimeString() + "." + figures + " Trying again.");
		}
		document.body.classList.toggle("lost", lost !== null);
	}

	function loseConnection() {
		lost ??= new Date(last);
		tell();
	}

	function receive(event) {
		const status = JSON.parse(event.data);
		if (status.version !== document.body.dataset.version) {
			location.reload(); // the page is of another version than what it is sent
			return;
		}
		last = Date.now();
		lost = null;
		shown = moment(status.now);
		fill(document.documentElement, status, Date.parse(status.now));
		tell();
	}

	let source;
	function connect() {
		source?.close();
		source = new EventSource("/v1/live");
		source.onmessage = receive;
		source.onerror = () => {
			loseConnection();
			if (source.readyState === EventSource.CLOSED) setTimeout(show, retry); // else it tries by itself
		};
	}

	// The drawings are copied from a later page: the data of paths, and texts.
	async function refreshCharts() {
		const response = await fetch("/");
		if (!response.ok) return;
		const page = new DOMParser().parseFromString(await response.text(), "text/html");
		const from = page.querySelectorAll("[data-fresh]");
		const to = document.querySelectorAll("[data-fresh]");
		if (from.length !== to.length) {
			location.reload();
			return;
		}
		to.forEach((e, i) => {
			if (e.localName === "path") e.setAttribute("d", from[i].getAttribute("d"));
			else setText(e, from[i].textContent);
		});
	}

	// A page that is not of https or localhost may not use the clipboard: then the text is
	// selected, to be copied by hand.
	async function copy(button) {
		const block = button.parentElement.querySelector("pre");
		getSelection().selectAllChildren(block);
		let copied = false;
		try {
			await navigator.clipboard.writeText(block.textContent);
			copied = true;
		} catch {
			copied = document.execCommand("copy");
		}
		setText(button, copied ? "Copied" : "Selected");
		setTimeout(() => setText(button, "Copy"), 2000);
	}

	for (const button of document.querySelectorAll("#connect button")) {
		button.hidden = false;
		button.addEventListener("click", () => copy(button));
	}

	// A page that nobody sees asks for nothing: the mirror serves a few dozen at once.
	function show() {
		if (document.hidden) {
			source?.close();
			return;
		}
		last = Date.now();
		connect();
	}

	show();
	document.addEventListener("visibilitychange", show);
	setInterval(() => {
		if (!document.hidden && Date.now() - last > silence) {
			loseConnection();
			show();
		}
	}, 1000);
	setInterval(() => {
		if (!document.hidden) refreshCharts().catch(() => {}); // what cannot be had is in the state
	}, chartsEvery);
})();
