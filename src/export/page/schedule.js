"use strict";
(() => {
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
};
const body = document.body;
const key = `eventferry:${body.dataset.event}`;
const stored = (name) => { try { return JSON.parse(localStorage.getItem(key + name)); } catch { return null; } };
const store = (name, value) => { try { localStorage.setItem(key + name, JSON.stringify(value)); } catch { /* Full, or not allowed here. */ } };

/* Letters that Unicode does not take apart into a base and an accent. */
const LETTERS = { "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h", "ı": "i" };
const fold = (text) => text.toLowerCase().normalize("NFKD").replace(/\p{M}/gu, "").replace(/[ßæœøłđðþħı]/g, (letter) => LETTERS[letter]);

/* The programme, as the page has it. */
const numbered = (element, letter) => [...element.classList].find((name) => name[0] === letter && /^.-?\d+$/.test(name))?.slice(1);
const days = $$(".day").map((section) => ({ date: section.dataset.day, section, name: $("h2", section).textContent }));
const sessions = $$("article.s").map((element) => {
  const [start, end] = $$(".when time", element);
  const texts = ["h3", ".sub", ".who", ".meta i"].map((selector) => $(selector, element)?.textContent ?? "");
  return {
    element, start, end,
    id: element.id,
    day: element.closest(".day")?.dataset.day,
    title: $("h3", element).textContent,
    who: $$(".who a", element).map((person) => person.textContent).join(", "),
    track: numbered(element, "t"), room: numbered(element, "r"),
    from: start ? Date.parse(start.dateTime) : NaN,
    until: end ? Date.parse(end.dateTime) : NaN,
    words: fold(texts.join(" ")),
    aside: $(".when small", element), when: [start?.textContent, end?.textContent],
  };
});
const byId = new Map(sessions.map((session) => [session.id, session]));
const rooms = $$('[name="room"]').map((box) => ({ id: box.value, name: $(".name", box.parentNode).textContent }));

/* What is shown; all but the stars and the zone is kept in the address. */
const state = { view: "list", day: "", q: "", track: new Set(), room: new Set(), starred: false };
const stars = new Set(stored(":stars") ?? []);
let local = stored(":local") === true;

/* Times. */
const formatter = (options) => {
  const all = { hourCycle: "h23", ...options };
  if (local) return new Intl.DateTimeFormat("en-GB", all);
  try { return new Intl.DateTimeFormat("en-GB", { ...all, timeZone: body.dataset.zone }); } catch { return new Intl.DateTimeFormat("en-GB", { ...all, timeZone: "UTC" }); }
};
let clock, date, isoDate;
const setFormats = () => {
  clock = formatter({ hour: "2-digit", minute: "2-digit" });
  date = formatter({ weekday: "short", day: "numeric", month: "short" });
  const parts = formatter({ year: "numeric", month: "2-digit", day: "2-digit" });
  isoDate = (instant) => parts.format(instant).split("/").reverse().join("-");
};
const DAY = 864e5;
const showTimes = () => {
  setFormats();
  for (const session of sessions) {
    if (!session.start || Number.isNaN(session.from)) continue;
    const { element, start, end, from, until, when } = session;
    start.textContent = local ? clock.format(from) : when[0];
    end.textContent = local ? (until - from >= DAY ? `${date.format(until)}, ` : "") + clock.format(until) : when[1];
    $(".when .local", element)?.remove();
    if (session.aside) session.aside.hidden = local;
    if (local && isoDate(from) !== session.day) $(".when", element).append(make("small", { class: "local" }, date.format(from)));
  }
  const mine = Intl.DateTimeFormat().resolvedOptions().timeZone;
  $("#zone").textContent = local ? `your zone, ${mine}` : `the event’s zone, ${body.dataset.zone}`;
  $("#local").textContent = local ? "Show the event’s time" : "Show my local time";
  $("#local").setAttribute("aria-pressed", local);
};

/* The address. */
const readAddress = () => {
  const hash = location.hash.slice(1);
  const isPlace = hash !== "" && !hash.includes("=");
  const given = new URLSearchParams(isPlace ? "" : hash);
  const list = (name) => new Set((given.get(name) ?? "").split(",").filter((id) => $$(`[name="${name}"]`).some((box) => box.value === id)));
  state.view = given.get("view") === "calendar" && days.length ? "calendar" : "list";
  state.day = days.some((day) => day.date === given.get("day")) ? given.get("day") : "";
  state.q = given.get("q") ?? "";
  state.track = list("track");
  state.room = list("room");
  state.starred = given.has("starred");
  if (hash.startsWith("day-") && days.some((day) => `day-${day.date}` === hash)) state.day = hash.slice(4);
  const target = isPlace && document.getElementById(hash);
  if (target) { const about = $("details", target); if (about) about.open = true; }
  return target;
};
const writeAddress = () => {
  const parts = [];
  const put = (name, value) => parts.push(`${name}=${value}`);
  if (state.view !== "list") put("view", state.view);
  if (state.day) put("day", state.day);
  if (state.track.size) put("track", [...state.track].join(","));
  if (state.room.size) put("room", [...state.room].join(","));
  if (state.starred) put("starred", 1);
  if (state.q.trim()) put("q", encodeURIComponent(state.q.trim()));
  try { history.replaceState(null, "", `#${parts.join("&")}`); } catch { /* Too often for this browser. */ }
};

/* Which sessions match. */
const matching = () => {
  const words = fold(state.q).split(/\s+/).filter(Boolean);
  return sessions.filter((session) => words.every((word) => session.words.includes(word))
    && (!state.track.size || state.track.has(session.track))
    && (!state.room.size || state.room.has(session.room))
    && (!state.starred || stars.has(session.id)));
};
const isNarrowed = () => state.q.trim() !== "" || state.track.size > 0 || state.room.size > 0 || state.starred;
const shownDay = () => state.day || (state.view === "calendar" ? (days.find((day) => day.date === today()) ?? days[0]).date : "");
const today = () => days.find((day) => {
  const own = sessions.filter((session) => session.day === day.date);
  return own.length && Math.min(...own.map((s) => s.from)) - 6 * 36e5 < Date.now() && Date.now() < Math.max(...own.map((s) => s.until));
})?.date ?? "";

/* Tabs: one per day, and one for all of them. */
const nav = $(".days");
const tabs = [];
const makeTabs = () => {
  if (!nav) return;
  const list = make("div", { class: "days", role: "tablist", "aria-label": "Days" });
  const add = (day, name) => {
    const tab = make("button", { type: "button", role: "tab", id: `tab-${day || "all"}`, "aria-controls": "panel calendar", "data-day": day }, name, " ", make("span"));
    tab.addEventListener("click", () => { state.day = day; show(); scrollToTop(); });
    tabs.push(tab);
    list.append(tab);
  };
  add("", "All days");
  for (const link of $$("a", nav)) add(link.dataset.day, link.textContent);
  list.addEventListener("keydown", (event) => {
    const usable = tabs.filter((tab) => !tab.hidden);
    const at = usable.indexOf(document.activeElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: usable.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const next = usable[(to + usable.length) % usable.length];
    next.focus();
    next.click();
  });
  nav.replaceWith(list);
};
const showTabs = (matches) => {
  const day = shownDay();
  for (const tab of tabs) {
    const own = tab.dataset.day;
    const selected = own === day;
    tab.hidden = own === "" && state.view === "calendar";
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
    tab.lastChild.textContent = isNarrowed() ? matches.filter((session) => session.day && (!own || session.day === own)).length : "";
    if (selected) {
      for (const panel of [$("#panel"), $("#calendar")]) { panel.setAttribute("role", "tabpanel"); panel.setAttribute("aria-labelledby", tab.id); }
      if (tab.parentNode.scrollWidth > tab.parentNode.clientWidth) tab.parentNode.scrollLeft = tab.offsetLeft - 60;
    }
  }
};
const scrollToTop = () => { const top = $(".daybar").getBoundingClientRect().top + scrollY; if (scrollY > top) scrollTo({ top, behavior: "instant" }); };

/* Stars. */
const starButton = (session) => {
  const button = make("button", { type: "button", class: "star", "data-star": session.id, "aria-label": `Star: ${session.title}` });
  paintStar(button);
  return button;
};
const paintStar = (button) => {
  const on = stars.has(button.dataset.star);
  button.setAttribute("aria-pressed", on);
  button.textContent = on ? "★" : "☆";
};
document.addEventListener("click", (event) => {
  const id = event.target.closest?.("[data-star]")?.dataset.star;
  if (!id) return;
  if (!stars.delete(id)) stars.add(id);
  store(":stars", [...stars]);
  for (const button of $$("[data-star]")) if (button.dataset.star === id) paintStar(button);
  show();
});

/* The calendar of one day: a column per room, an axis of time. */
const HOUR = 36e5, MINUTE = 6e4;
let drawn = null;
const drawCalendar = (matches) => {
  const day = shownDay();
  const place = $("#calendar");
  const own = matches.filter((session) => session.day === day && !Number.isNaN(session.from) && !Number.isNaN(session.until));
  const seen = drawn?.day === day ? { left: drawn.region.scrollLeft, top: drawn.region.scrollTop } : null;
  place.replaceChildren();
  drawn = null;
  if (!own.length) return;
  const first = Math.min(...own.map((session) => session.from));
  const from = Math.floor(first / (HOUR / 2)) * (HOUR / 2);
  const until = Math.min(from + DAY, Math.ceil(Math.max(...own.map((session) => session.until)) / (HOUR / 2)) * (HOUR / 2));
  const lengths = own.map((session) => session.until - session.from).filter((length) => length > 0).sort((a, b) => a - b);
  const scale = Math.min(3.2, Math.max(1.3, 64 / ((lengths[Math.floor(lengths.length / 8)] ?? HOUR) / MINUTE))) / MINUTE;
  const least = 26 / scale;
  const height = Math.max(until - from, least) * scale;
  const axis = make("div", { "aria-hidden": "true" });
  axis.style.height = `${height + 12}px`;
  const hours = [];
  for (let at = from; at < until; at += HOUR / 4) {
    const text = clock.format(at);
    if (!text.endsWith(":00")) continue;
    hours.push(at);
    const label = make("span", at === from ? { class: "first" } : {}, text);
    label.style.top = `${(at - from) * scale}px`;
    axis.append(label);
  }
  const grid = make("div", { class: "grid" }, make("div", { class: "axis" }, axis));
  const columns = [...rooms, { id: undefined, name: rooms.length ? "No room" : "Sessions" }];
  for (const room of columns) {
    const here = own.filter((session) => session.room === room.id).sort((a, b) => a.from - b.from || b.until - a.until);
    if (!here.length) continue;
    const list = make("ul", { class: "col" });
    list.style.height = axis.style.height;
    for (const at of hours) {
      const line = make("li", { class: "hour", role: "presentation", "aria-hidden": "true" });
      line.style.top = `${(at - from) * scale}px`;
      list.append(line);
    }
    for (const { session, lane, lanes, span } of inLanes(here, least)) {
      const stop = Math.min(Math.max(session.until, session.from + least), until + 12 / scale);
      const link = block(session);
      const item = make("li", {}, link);
      const tall = Math.max(stop - session.from, least / 2) * scale;
      // Whole lines only: ten pixels are the edges, eighteen a line.
      const lines = Math.max(1, Math.floor((tall - 10) / 18));
      link.firstChild.style.height = `${lines * 18}px`;
      if (lines === 1) link.classList.add("one");
      item.style.top = `${(session.from - from) * scale}px`;
      item.style.height = `${tall}px`;
      item.style.left = `${100 * lane / lanes}%`;
      item.style.width = `${100 * span / lanes}%`;
      list.append(item);
    }
    grid.append(make("section", { "aria-label": room.name }, make("h3", { dir: "auto" }, make("span", { dir: "auto" }, room.name)), list));
  }
  const name = days.find((other) => other.date === day).name;
  const region = make("div", { class: "cal", role: "region", tabindex: "0", "aria-label": `Calendar, ${name}` }, grid);
  place.append(make("h2", { class: "sr" }, name), region);
  drawn = { day, from, until, scale, region };
  if (seen) { region.scrollLeft = seen.left; region.scrollTop = seen.top; }
};
/* Sessions that overlap stand side by side. */
const inLanes = (list, least) => {
  const placed = [];
  let group = [], ends = [], groupEnd = -Infinity;
  const close = () => { for (const entry of group) placed.push({ ...entry, lanes: ends.length, span: 1 }); group = []; ends = []; };
  for (const session of list) {
    if (session.from >= groupEnd) close();
    const end = Math.max(session.until, session.from + least);
    let lane = ends.findIndex((other) => other <= session.from);
    if (lane < 0) lane = ends.length;
    ends[lane] = end;
    groupEnd = group.length ? Math.max(groupEnd, end) : end;
    group.push({ session, lane });
  }
  close();
  return placed;
};
const times = (session) => clock.format(session.from) + (session.end.hidden ? "" : `–${clock.format(session.until)}`);
const block = (session) => {
  const link = make("a", { class: `block${session.track ? ` t${session.track}` : ""}`, href: `#${session.id}`, "aria-haspopup": "dialog" });
  const text = make("span", {}, make("time", { datetime: session.start.dateTime }, times(session)));
  if (stars.has(session.id)) text.firstChild.append(" ★");
  text.append(" ", make("strong", { dir: "auto" }, session.title));
  if (session.who) text.append(make("em", { dir: "auto" }, session.who));
  link.append(text);
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openDialog(session);
  });
  return link;
};

/* One session, over the calendar. */
const dialog = make("dialog", { "aria-labelledby": "dialog-title" });
const openDialog = (session) => {
  const copy = session.element.cloneNode(true);
  copy.removeAttribute("id");
  copy.hidden = false;
  copy.classList.remove("aim");
  $("h3", copy).id = "dialog-title";
  const about = $("details", copy);
  if (about) { about.before(...$$(".rich", about)); about.remove(); }
  const link = make("a", { href: `#${session.id}` }, "Show in the list");
  for (const anchor of [link, ...$$(".who a", copy)]) anchor.addEventListener("click", () => dialog.close());
  const done = make("button", { type: "button", class: "plain" }, "Close");
  done.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(copy, make("div", { class: "ends" }, link, done));
  dialog.showModal();
};
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

/* Where the programme is now. */
const markNow = () => {
  const now = Date.now();
  for (const mark of $$(".badge,.nowline,.line")) mark.remove();
  for (const session of sessions) {
    if (session.from <= now && now < session.until) $(".when", session.element).append(make("span", { class: "badge" }, "Now"));
  }
  const day = today();
  if (day) {
    const own = sessions.filter((session) => session.day === day && !session.element.hidden);
    const next = own.find((session) => session.from > now);
    if (next && own[0] !== next) next.element.before(make("p", { class: "nowline" }, `Now, ${clock.format(now)}`));
  }
  $("#jump").hidden = !day;
  if (drawn && drawn.from <= now && now < drawn.until) {
    for (const column of $$(".axis div,.col", drawn.region)) {
      const line = make(column.tagName === "UL" ? "li" : "div", { class: "line", role: "presentation" });
      line.style.top = `${(now - drawn.from) * drawn.scale}px`;
      column.append(line);
    }
  }
};
const jump = () => {
  state.day = today();
  show();
  const at = state.view === "calendar" ? $(".axis .line") : $(".nowline") ?? $(".badge")?.closest("article");
  at?.scrollIntoView({ block: "center" });
};

/* All of it. */
const show = () => {
  const matches = matching();
  const day = shownDay();
  const calendar = state.view === "calendar";
  const matched = new Set(matches);
  for (const session of sessions) session.element.hidden = !matched.has(session);
  for (const other of days) {
    const some = matches.some((session) => session.day === other.date);
    other.section.hidden = !some || (day !== "" && other.date !== day);
  }
  const unplaced = $("#unscheduled");
  if (unplaced) unplaced.hidden = !matches.some((session) => !session.day) || (day !== "" && !calendar);
  $("#panel").hidden = calendar;
  $("#calendar").hidden = !calendar;
  if (calendar) drawCalendar(matches); else { $("#calendar").replaceChildren(); drawn = null; }
  for (const button of $$("[data-view]")) button.setAttribute("aria-pressed", button.dataset.view === state.view);
  for (const menu of $$(".menu")) {
    const chosen = state[menu.dataset.menu];
    for (const box of $$("input", menu)) box.checked = chosen.has(box.value);
    menu.toggleAttribute("data-on", chosen.size > 0);
    const summary = $("summary", menu);
    summary.textContent = summary.textContent.replace(/ \(\d+\)$/, "") + (chosen.size ? ` (${chosen.size})` : "");
  }
  $("[data-starred]").setAttribute("aria-pressed", state.starred);
  if ($("#q").value !== state.q) $("#q").value = state.q;
  showTabs(matches);
  const shown = matches.filter((session) => day === "" || session.day === day || (calendar && !session.day)).length;
  const some = matches.length - shown;
  $("#found").textContent = !isNarrowed() ? "" : `${shown || "No"} session${shown === 1 ? "" : "s"} found`
    + (some > 0 ? `, ${some} on other days` : "") + ".";
  $("#reset").hidden = !isNarrowed();
  markNow();
};
const change = () => { show(); writeAddress(); };

const listen = () => {
  $("#q").addEventListener("input", () => { state.q = $("#q").value; change(); });
  $(".tools").addEventListener("submit", (event) => event.preventDefault());
  for (const button of $$("[data-view]")) button.addEventListener("click", () => { state.view = button.dataset.view; change(); });
  for (const box of $$(".menu input")) {
    box.addEventListener("change", () => { state[box.name][box.checked ? "add" : "delete"](box.value); change(); });
  }
  for (const menu of $$(".menu")) {
    menu.addEventListener("keydown", (event) => { if (event.key === "Escape") { menu.open = false; $("summary", menu).focus(); } });
    menu.addEventListener("focusout", (event) => { if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false; });
  }
  document.addEventListener("click", (event) => { for (const menu of $$(".menu[open]")) if (!menu.contains(event.target)) menu.open = false; });
  $("[data-starred]").addEventListener("click", () => { state.starred = !state.starred; change(); });
  $("#reset").addEventListener("click", () => { Object.assign(state, { q: "", track: new Set(), room: new Set(), starred: false }); change(); $("#q").focus(); });
  $("#local").addEventListener("click", () => { local = !local; store(":local", local); showTimes(); show(); });
  $("#jump").addEventListener("click", () => { jump(); writeAddress(); });
  for (const tab of tabs) tab.addEventListener("click", writeAddress);
  addEventListener("hashchange", () => { const target = readAddress(); show(); aim(target); });
  addEventListener("storage", (event) => {
    if (event.key !== `${key}:stars`) return;
    stars.clear();
    for (const id of stored(":stars") ?? []) stars.add(id);
    for (const button of $$("[data-star]")) paintStar(button);
    show();
  });
};
const aim = (target) => {
  for (const other of $$(".aim")) other.classList.remove("aim");
  if (!target) return;
  target.classList.add("aim");
  if (!target.matches(":target") || target.getBoundingClientRect().top < 0 || target.getBoundingClientRect().bottom > innerHeight) target.scrollIntoView();
};

/* Speakers by name, each with the sessions they are in. */
const arrangeSpeakers = () => {
  const list = $(".people ul");
  if (!list) return;
  const of = new Map();
  for (const session of sessions) for (const { hash } of $$(".who a", session.element)) of.set(hash, [...(of.get(hash) ?? []), session]);
  const people = $$(":scope>li", list).map((item) => ({ item, name: $("h3", item).textContent }));
  people.sort((a, b) => a.name.localeCompare(b.name));
  for (const { item } of people) {
    for (const session of of.get(`#${item.id}`) ?? []) {
      $("h3", item).after(make("p", {}, make("a", { href: `#${session.id}`, dir: "auto" }, session.title)));
    }
  }
  list.append(...people.map(({ item }) => item));
};

makeTabs();
for (const session of sessions) session.element.append(starButton(session));
arrangeSpeakers();
body.append(dialog);
const target = readAddress();
if (!location.hash) state.day = today();
listen();
$(".tools").hidden = $("#local").hidden = false;
showTimes();
show();
aim(target);
setInterval(markNow, 30000);
})();
