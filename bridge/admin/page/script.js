
"use strict";

/*
 * Everything that is shown goes through textContent: whatever a log line, a backend's answer or a
 * name holds, it is text. The page's policy (Trusted Types) forbids every other way.
 */

const OVERVIEW_EVERY = 2000;
const HISTORY_EVERY = 10000;
const ENTRIES_EVERY = 1000;
const PROBLEMS_EVERY = 10000;
const PATIENCE = 10000;
const TOLERATED = 2;
const LONG = 30;
const MOST_ROWS = 500;
const MOST_MARKS = 60;
const SHORTEST_CHART = 30;
const TALL = { lines: 6, characters: 600 };
const TOKEN = "fal-log-bridge.token";
const SVG = "http://www.w3.org/2000/svg";

/* Wherever a reverse proxy puts the page, the rest is beside it. */
const BASE = location.pathname.replace(/\/*$/, "/");

const $ = (id) => document.getElementById(id);

/* ---- Small things ------------------------------------------------------------------------- */

/* A name may be any word, also one that every object knows: constructor, toString. */
function known(told, name) {
  return Object.hasOwn(told, name) ? told[name] : undefined;
}

function make(tag, { text, className, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function drawn(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/* Only what changed is touched, so that nothing flickers and a selection stays. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function icon(level) {
  const svg = drawn("svg", { class: "icon", "aria-hidden": "true" });
  svg.append(drawn("use", { href: `#${level}` }));
  return svg;
}

/* A sentence in which `this` is a command. */
function sayWithCode(element, text) {
  if (element.dataset.said === text) return;
  element.dataset.said = text;
  element.replaceChildren(
    ...text.split("`").map((part, n) => (n % 2 ? make("code", { text: part }) : part)),
  );
}

const whole = new Intl.NumberFormat("en");
const few = new Intl.NumberFormat("en", { maximumSignificantDigits: 2 });

function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0/s";
  return value < 0.01 ? "< 0.01/s" : `${value < 10 ? few.format(value) : whole.format(Math.round(value))}/s`;
}

function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.05) return "0 s";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let left = Math.round(seconds);
  const parts = [];
  for (const [unit, length] of units) {
    const count = Math.floor(left / length);
    left -= count * length;
    if (count) parts.push(`${count} ${unit}`);
    else if (parts.length) break;
  }
  return parts.slice(0, 2).join(" ");
}

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let n = 0;
  while (bytes >= 1000 && n < units.length - 1) { bytes /= 1024; n += 1; }
  return `${bytes < 10 ? few.format(bytes) : whole.format(Math.round(bytes))} ${units[n]}`;
}

function count(number, one, many) {
  return `${whole.format(number)} ${number === 1 ? one : many}`;
}

/* "2026-11-23T17:05:09.120Z" as "17:05:09", with the day if that is not today's. */
function moment(time) {
  const today = overview && overview.time && time.slice(0, 10) === overview.time.slice(0, 10);
  return today ? time.slice(11, 19) : time.slice(0, 19).replace("T", " ");
}

/* ---- Hostile text ------------------------------------------------------------------------- */

/*
 * Terminal sequences, then whatever does not print or turns the direction of what follows: control
 * and format characters, private use, half characters, separators. Two format characters stay that
 * belong to scripts and emoji, and neither hide nor turn anything.
 */
const UNSEEN = /\u001b\[[0-?]*[ -/]*[@-~]|(?![\n\t\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;

function spelled(unseen) {
  return Array.from(unseen, (character) => {
    const code = character.codePointAt(0);
    if (code >= 0x20 && code < 0x7f) return character;
    const digits = code.toString(16);
    return code < 0x100 ? `\\x${digits.padStart(2, "0")}` : `\\u{${digits}}`;
  }).join("");
}

/* Text with a visible mark in place of each character that is not; so many marks at most. */
function visible(text) {
  const parts = [];
  let end = 0;
  for (const found of text.replaceAll("\r\n", "\n").matchAll(UNSEEN)) {
    if (parts.length >= 2 * MOST_MARKS) break;
    parts.push(found.input.slice(end, found.index));
    parts.push(make("span", { className: "mark", text: spelled(found[0]) }));
    end = found.index + found[0].length;
  }
  const rest = text.replaceAll("\r\n", "\n").slice(end);
  parts.push(rest.replace(UNSEEN, spelled));
  return parts.filter((part) => part !== "");
}

function plain(text) {
  return text.replace(UNSEEN, spelled);
}

/* ---- Asking ------------------------------------------------------------------------------- */

class Refused extends Error {
  constructor(status) {
    super(`status ${status}`);
    this.status = status;
  }
}

async function get(path, token) {
  const answer = await fetch(BASE + path, {
    headers: token ? { authorization: `Bearer ${token}` } : {},
    cache: "no-store",
    signal: AbortSignal.timeout(PATIENCE),
  });
  if (!answer.ok) throw new Refused(answer.status);
  return answer.json();
}

let paused = false;

/* Ask again and again, one question at a time; not while paused, nor while nobody looks. */
class Loop {
  constructor(every, ask) {
    this.every = every;
    this.ask = ask;
    this.timer = null;
    this.busy = false;
    this.again = false;
  }

  async now() {
    if (this.busy) { this.again = true; return; }
    clearTimeout(this.timer);
    this.busy = true;
    try {
      do {
        this.again = false;
        if (!paused && !document.hidden) await this.ask();
      } while (this.again);
    } finally {
      this.busy = false;
      this.timer = setTimeout(() => this.now(), this.every);
    }
  }
}

/* ---- The verdict -------------------------------------------------------------------------- */

const SIGNS = { fine: "✓", note: "·", warning: "!", failure: "✕" };

/* What is read aloud: a new verdict, and not each new number in it. */
function speak({ level, sentence, mend }) {
  const matter = `${level} ${sentence.replace(/[\d.,]+/g, "")}`;
  if ($("spoken").dataset.matter === matter) return;
  $("spoken").dataset.matter = matter;
  say($("spoken"), plain(`${sentence} ${mend}`.replaceAll("`", "").trim()));
}

function showVerdict(first, also) {
  const box = $("verdict");
  box.hidden = false;
  box.className = `verdict ${first.level}`;
  box.querySelector("use").setAttribute("href", `#${first.level}`);
  say(box.querySelector("h1"), plain(first.sentence));
  sayWithCode(box.querySelector(".mend"), plain(first.mend));
  const said = JSON.stringify(also);
  const list = box.querySelector(".also");
  if (list.dataset.said !== said) {
    list.dataset.said = said;
    list.replaceChildren(...also.map((one) => {
      const words = make("span");
      sayWithCode(words, plain(`${one.sentence} ${one.mend}`.trim()));
      return make("li", { className: one.level }, icon(one.level), words);
    }));
  }
  speak(first);
  document.title = `${SIGNS[first.level]} ${first.state} – fal log bridge`;
}

/* ---- Charts ------------------------------------------------------------------------------- */

/* A line with the newest at the right; what is not known is a hole. */
function chart(samples, length) {
  const known = samples.filter((value) => value !== null);
  const top = Math.max(...known, Number.MIN_VALUE);
  const first = length - samples.length;
  const at = (value, n) => `${first + n} ${(30 - (28 * value) / top).toFixed(1)}`;
  let line = "", area = "", begun = null;
  samples.forEach((value, n) => {
    if (value === null) return;
    const joins = n > 0 && samples[n - 1] !== null;
    line += `${joins ? "L" : "M"}${at(value, n)}`;
    if (!joins) begun = n;
    if (n === samples.length - 1 || samples[n + 1] === null) {
      line += "h0.01";
      const points = samples.slice(begun, n + 1).map((one, m) => at(one, begun + m)).join("L");
      area += `M${first + begun} 30L${points}L${first + n} 30Z`;
    }
  });
  return { line, area, most: known.length ? Math.max(...known) : null };
}

/* How far back the charts go: as far as there are samples, and an hour at most. */
function reach() {
  const lengths = Object.values(past.apps).map((one) => one.lag.length);
  const seconds = Math.max(SHORTEST_CHART, ...lengths) * past.every_seconds;
  return seconds >= 3600 ? "last hour" : `last ${Math.round(seconds / 60)} min`;
}

function emptyChart() {
  const svg = drawn("svg", { class: "chart", role: "img", preserveAspectRatio: "none", viewBox: "0 0 1 31" });
  svg.append(
    drawn("path", { class: "floor", d: "M0 30H1000" }),
    drawn("path", { class: "area", d: "" }),
    drawn("path", { class: "line", d: "" }),
  );
  return svg;
}

function showChart(cell, samples, unit, what) {
  const length = Math.max(samples.length, SHORTEST_CHART);
  const { line, area, most } = chart(samples, length);
  const svg = cell.querySelector("svg");
  svg.setAttribute("viewBox", `0 0 ${length - 1} 31`);
  svg.querySelector(".line").setAttribute("d", line);
  svg.querySelector(".area").setAttribute("d", area);
  const words = most === null ? "no samples yet" : `most ${unit(most)}`;
  svg.setAttribute("aria-label", `${what} in the ${reach()}: ${words}`);
  say(cell.querySelector(".most"), words);
}

/* ---- Apps and destinations ---------------------------------------------------------------- */

let past = { every_seconds: 10, apps: {}, destinations: {} };
let problems = { apps: {}, destinations: {}, dead_letters: [] };

function chartCell(label) {
  return make("td", { role: "cell", "data-label": label },
    make("span", { className: "number" }), emptyChart(), make("span", { className: "most" }));
}

function cell(label) {
  return make("td", { role: "cell", "data-label": label },
    make("span", { className: "number" }), make("span", { className: "sub" }));
}

function body(name, labels) {
  const head = make("th", { role: "rowheader", scope: "row" },
    make("span", { text: plain(name) }), make("span", { className: "sub muted" }));
  const state = make("td", { role: "cell" }, make("span", { className: "state" }));
  const [behind, flow, third, fourth] = labels;
  const problem = make("tr", { role: "row", className: "problem" },
    make("td", { role: "cell", colspan: "6" }));
  problem.hidden = true;
  return make("tbody", { role: "rowgroup" },
    make("tr", { role: "row" }, head, state, chartCell(behind), chartCell(flow), cell(third), cell(fourth)),
    problem);
}

/* One <tbody> for each name, in the order given; those that are there stay where they are. */
function rows(table, names, labels) {
  const there = new Map(Array.from(table.tBodies, (one) => [one.dataset.name, one]));
  names.forEach((name, n) => {
    let one = there.get(name);
    there.delete(name);
    if (!one) {
      one = body(name, labels);
      one.dataset.name = name;
    }
    if (table.tBodies[n] !== one) table.insertBefore(one, table.tBodies[n] ?? null);
  });
  for (const gone of there.values()) gone.remove();
  return Array.from(table.tBodies);
}

function showState(where, level, state) {
  const said = `${level} ${state}`;
  if (where.dataset.said === said) return;
  where.dataset.said = said;
  where.className = `state ${level}`;
  where.replaceChildren(icon(level), state);
}

/* A problem that is over is shown for an hour, as the charts are. */
function showProblem(one, told, now) {
  const fresh = told && Date.parse(overview.time) - Date.parse(told.time) < 3600000;
  const problem = now || fresh ? told : undefined;
  const row = one.rows[1], said = JSON.stringify([problem, now]);
  row.hidden = !problem;
  if (!problem || row.dataset.said === said) return;
  row.dataset.said = said;
  const label = now ? "Last problem" : "Last problem, over by now";
  row.cells[0].replaceChildren(
    make("b", { text: `${label}, ${moment(problem.time)} UTC: ` }), ...visible(problem.text));
}

function showApps(apps) {
  say($("apps-count"), apps.length > 1 ? whole.format(apps.length) : "");
  const bodies = rows($("apps"), apps.map((app) => app.app), ["Behind", "Read", "Came late", "Gaps"]);
  apps.forEach((app, n) => {
    const [name, state, behind, flow, late, gaps] = bodies[n].rows[0].cells;
    say(name.querySelector(".sub"), app.position ? `up to ${moment(app.position)} UTC` : "");
    showState(state.firstChild, app.level, app.state);
    say(behind.querySelector(".number"), span(app.lag_seconds));
    say(flow.querySelector(".number"), rate(app.rate));
    say(late.querySelector(".number"), app.late ? whole.format(app.late.entries) : "none");
    say(late.querySelector(".sub"), app.late ? `up to ${span(app.late.latest_seconds)}` : "");
    say(gaps.querySelector(".number"), app.open_gaps ? whole.format(app.open_gaps) : "none");
    const samples = known(past.apps, app.app) ?? { lag: [], rate: [] };
    showChart(behind, samples.lag, span, "Behind");
    showChart(flow, samples.rate, rate, "Entries read");
    showProblem(bodies[n], known(problems.apps, app.app), ["warning", "failure"].includes(app.level));
  });
}

function showDestinations(destinations) {
  say($("destinations-count"), destinations.length > 1 ? whole.format(destinations.length) : "");
  const bodies = rows($("destinations"), destinations.map((one) => one.destination),
    ["Behind", "Delivered", "Waiting", "Dead letters"]);
  destinations.forEach((one, n) => {
    const [name, state, behind, flow, waiting, dead] = bodies[n].rows[0].cells;
    const best = one.acknowledged === false ? " · best effort" : "";
    say(name.querySelector(".sub"), `cursor ${whole.format(one.cursor)}${best}`);
    showState(state.firstChild, one.level, one.state);
    say(behind.querySelector(".number"), span(one.oldest_seconds ?? 0));
    say(flow.querySelector(".number"), rate(one.rate));
    say(waiting.querySelector(".number"), one.waiting_records ? whole.format(one.waiting_records) : "none");
    say(waiting.querySelector(".sub"), one.waiting_records ? size(one.waiting_bytes) : "");
    say(dead.querySelector(".number"), one.dead_letters ? whole.format(one.dead_letters) : "none");
    const samples = known(past.destinations, one.destination) ?? { age: [], rate: [] };
    showChart(behind, samples.age, span, "Behind");
    showChart(flow, samples.rate, rate, "Entries delivered");
    showProblem(bodies[n], known(problems.destinations, one.destination), ["warning", "failure"].includes(one.level));
  });
}

/* ---- Journal, gaps, dead letters ---------------------------------------------------------- */

const WHY = {
  crowded: "more entries on one moment than the API shows",
  retention: "may have left the API before it was read",
  unreadable: "the API fails for it; asked again every hour",
};

function showJournal(journal, destinations) {
  const share = journal.max_bytes ? Math.min(1, journal.bytes / journal.max_bytes) : 0;
  say($("journal-used"), journal.bytes ? `${size(journal.bytes)} wait` : "Empty");
  say($("journal-of"), `${journal.bytes ? "of" : "with room for"} ${size(journal.max_bytes)}`);
  const bar = $("journal-bar");
  bar.className = `bar ${journal.level}`;
  bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
  bar.setAttribute("aria-valuetext", journal.sentence);
  bar.firstElementChild.style.width = `${100 * share}%`;
  const holder = destinations.find((one) => one.destination === journal.held_by);
  say($("journal-held"), !holder ? "Nothing waits: every destination has taken what there is."
    : holder.oldest_seconds < LONG ? "On its way: nothing has waited for long."
      : `Held by ${plain(holder.destination)}, which is furthest behind.`);
  say($("journal-dead"), journal.dead_letter_bytes
    ? `Dead letters take ${size(journal.dead_letter_bytes)} of ${size(journal.dead_letters_max_bytes)}.` : "");
}

function showRecord(apps, destinations) {
  const found = [];
  for (const app of apps) {
    for (const gap of app.gaps) {
      found.push(["warning", `${app.app}: gap`,
        `${moment(gap.since)} to ${moment(gap.until)} UTC, ${WHY[gap.kind] ?? gap.kind}`]);
    }
  }
  for (const one of destinations) {
    if (!one.dead_letters) continue;
    found.push(["warning", `${one.destination}: ${count(one.dead_letters, "dead letter", "dead letters")}`, ""]);
    for (const why of problems.dead_letters.filter((other) => other.destination === one.destination)) {
      found.push(["", "", `${whole.format(why.letters)} × ${why.reason}`]);
    }
  }
  const list = $("record"), said = JSON.stringify(found);
  if (list.dataset.said === said) return;
  list.dataset.said = said;
  $("record-none").hidden = found.length > 0;
  list.replaceChildren(...found.map(([level, name, text]) => {
    const line = make("li", { className: level });
    if (name) line.append(make("b", { text: plain(name) }), text ? " " : "");
    if (text) line.append(make("span", { className: "muted" }, ...visible(text)));
    return line;
  }));
  const gaps = apps.some((app) => app.gaps.length), letters = destinations.some((one) => one.dead_letters);
  sayWithCode($("record-mend"), [
    gaps ? "`fal-log-bridge audit` reads a gap's time again." : "",
    letters ? "`fal-log-bridge dead-letters list` shows what was refused, `dead-letters replay` sends it again." : "",
  ].filter(Boolean).join(" "));
  $("record-mend").hidden = !found.length;
}

/* ---- The overview ------------------------------------------------------------------------- */

let overview = null;
let lastHeard = 0;
let unheard = 0;

function showOverview() {
  if (!overview) return;
  showVerdict(overview.verdict, overview.also);
  if (overview.journal) {
    showApps(overview.apps);
    showDestinations(overview.destinations);
    showJournal(overview.journal, overview.destinations);
    showRecord(overview.apps, overview.destinations);
    say($("version"), `fal-log-bridge ${overview.version}, up for ${span(overview.uptime_seconds)}`);
  }
  showLock();
}

function showSince() {
  const heard = lastHeard ? `at ${new Date(lastHeard).toISOString().slice(11, 19)} UTC` : "";
  say($("since"), paused ? `paused ${heard}` : heard);
}

const overviews = new Loop(OVERVIEW_EVERY, async () => {
  try {
    overview = await get("overview");
    lastHeard = Date.now();
    unheard = 0;
    document.body.classList.remove("stale");
    showOverview();
  } catch {
    unheard += 1;
    if (unheard < TOLERATED) return;
    document.body.classList.add("stale");
    showVerdict({
      level: "failure",
      state: "no answer",
      sentence: "The bridge does not answer.",
      mend: "What is below is what it said last. See whether its process runs, and what its log says.",
    }, []);
  }
  showSince();
});

const histories = new Loop(HISTORY_EVERY, async () => {
  try {
    past = { ...past, ...await get("history") };
    for (const small of document.querySelectorAll(".wide small")) say(small, reach());
    showOverview();
  } catch { /* said by the overview */ }
});

/* ---- The last entries --------------------------------------------------------------------- */

let token = sessionStorage.getItem(TOKEN) ?? "";
let after = "";
let asked = 0;

function showLock() {
  const none = overview !== null && !overview.has_token;
  $("no-token").hidden = !none;
  $("unlock").hidden = none || Boolean(token) || overview === null;
  const open = Boolean(token) && !none;
  $("lines").hidden = $("filter").hidden = !open;
}

function lock(why) {
  token = "";
  sessionStorage.removeItem(TOKEN);
  problems = { apps: {}, destinations: {}, dead_letters: [] };
  startOver();
  say($("wrong"), why);
  showOverview();
}

/* Forget what is listed, and ask for all that matches. */
function startOver() {
  after = "";
  asked += 1;
  $("entries").tBodies[0].replaceChildren();
  $("scroll").scrollTop = 0;
  showNote(0);
}

function toneOf(severity) {
  if (severity >= 17) return "failure";
  return severity >= 13 ? "warning" : "";
}

function entryRow(entry) {
  const level = make("td", { role: "cell", className: `level ${toneOf(entry.severity)}` });
  if (toneOf(entry.severity)) level.append(icon(toneOf(entry.severity)));
  level.append(plain(entry.level));
  const text = make("div", { className: "text" }, ...visible(entry.message));
  const message = make("td", { role: "cell" }, text);
  const cut = entry.length - Array.from(entry.message).length;
  if (cut) {
    const more = `… ${count(cut, "more character", "more characters")}, not shown here`;
    text.append(make("span", { className: "mark", text: more }));
  }
  if (entry.message.length > TALL.characters || entry.message.split("\n", TALL.lines + 1).length > TALL.lines) {
    const more = make("button", { type: "button", className: "more", "aria-expanded": "false", text: "Show more" });
    message.append(more);
  }
  return make("tr", { role: "row" },
    make("td", { role: "cell", className: "time", title: entry.time, text: entry.time.slice(11, 23).replace("Z", "") }),
    level,
    make("td", { role: "cell", title: plain(entry.app), text: plain(entry.app) }),
    message);
}

function leftOutRow(number) {
  const cellOfAll = make("td", { role: "cell", colspan: "4", text: `${count(number, "entry", "entries")} in between not shown: more come than fit here` });
  return make("tr", { role: "row", className: "left" }, cellOfAll);
}

/*
 * Put entries, the newest first, where their times belong: apps are read one after the other. What
 * stands below a row that tells of entries left out is older than all that comes.
 */
function merge(list, found) {
  let place = list.rows[0] ?? null;
  for (const entry of found) {
    const row = entryRow(entry);
    row.dataset.time = entry.time.slice(0, 23);
    while (place && place.dataset.time > row.dataset.time) place = place.nextElementSibling;
    list.insertBefore(row, place);
  }
}

function showNote(number) {
  const list = $("entries").tBodies[0], filtered = $("level").value || $("text").value;
  $("entries-none").hidden = list.rows.length > 0;
  say($("entries-none"), filtered ? "None of the last entries match." : "No entry has come since the bridge began.");
  const holds = $("scroll").scrollTop > 4;
  $("newest").hidden = !holds;
  say($("entries-note"), holds ? "Held while you read further down."
    : `${count(number, "entry", "entries")}${filtered ? " that match" : ""}, the newest first.`);
}

const entries = new Loop(ENTRIES_EVERY, async () => {
  if (!token || !overview || !overview.has_token) return;
  const list = $("entries").tBodies[0];
  if ($("scroll").scrollTop > 4) { showNote(list.rows.length); return; }
  const question = asked;
  const query = new URLSearchParams({ after, level: $("level").value, text: $("text").value });
  let answer;
  try {
    answer = await get(`api/entries?${query}`, token);
  } catch (error) {
    if (question === asked && error.status === 401) lock("This is not the admin token.");
    return;
  }
  if (question !== asked) return;
  if (after && answer.next.split(".")[0] !== after.split(".")[0]) list.replaceChildren();
  after = answer.next;
  if (answer.left_out && list.rows.length) list.prepend(leftOutRow(answer.left_out));
  merge(list, answer.entries);
  while (list.rows.length > MOST_ROWS) list.lastElementChild.remove();
  showNote(list.rows.length);
});

const troubles = new Loop(PROBLEMS_EVERY, async () => {
  if (!token || !overview || !overview.has_token) return;
  try {
    problems = await get("api/problems", token);
    showOverview();
  } catch { /* a wrong token is said by the entries, the rest by the overview */ }
});

/* ---- What people do ----------------------------------------------------------------------- */

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  say($("pause"), paused ? "Paused: go on" : "Pause");
  showSince();
  if (!paused) for (const loop of [overviews, histories, entries, troubles]) loop.now();
});

$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  if (!/^[\x21-\x7e]+$/.test(token)) { lock("This is not the admin token."); return; }
  $("token").value = "";
  say($("wrong"), "");
  sessionStorage.setItem(TOKEN, token);
  startOver();
  showLock();
  $("scroll").focus({ preventScroll: true });
  entries.now();
  troubles.now();
});

$("forget").addEventListener("click", () => {
  lock("");
  $("token").focus();
});

let typing = null;
function filterAgain() {
  startOver();
  entries.now();
}
$("level").addEventListener("change", filterAgain);
$("text").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(filterAgain, 250);
});
$("filter").addEventListener("submit", (event) => {
  event.preventDefault();
  filterAgain();
});

$("newest").addEventListener("click", () => {
  $("scroll").scrollTop = 0;
  entries.now();
});
$("scroll").addEventListener("scroll", () => showNote($("entries").tBodies[0].rows.length), { passive: true });

$("entries").addEventListener("click", (event) => {
  if (!event.target.matches("button.more")) return;
  const open = event.target.previousElementSibling.classList.toggle("open");
  event.target.setAttribute("aria-expanded", String(open));
  say(event.target, open ? "Show less" : "Show more");
});

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) for (const loop of [overviews, histories, entries, troubles]) loop.now();
});

for (const link of document.querySelectorAll("[data-path]")) link.href = BASE + link.dataset.path;

(async () => {
  await overviews.now();
  histories.now();
  entries.now();
  troubles.now();
})();
