// The page of a direction file. One file, no framework: state, pictures, settings, list, dialogs, keys.
// Whatever comes from the file or the generator enters the page as text (textContent, value), never as markup.
"use strict";

(() => {
  const byId = (id) => document.getElementById(id);
  const token = document.querySelector('meta[name="token"]').content;
  const client = crypto.randomUUID();
  const columnsOf = { 1: 1, 2: 2, 4: 2, 6: 3, 9: 3, 16: 4 };

  let generator = null; // what it is: GET /api/generator
  let file = null; // what the file holds: GET /api/file

  // What this tab shows; the link has it too. With a row of classes, one sample is shown under each of them.
  const state = {
    seed: 0, count: 4, label: 0, row: null, truncation: null, layers: null, random: false, amounts: {},
  };
  let before = false;

  // Talking to the program -----------------------------------------------------------------------------------------

  class Refused extends Error {
    constructor(status, message) {
      super(message);
      this.status = status;
    }
  }

  async function ask(path, body) {
    const options = body === undefined ? {} : {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Directions-Token": token },
      body: JSON.stringify(body),
    };
    let response;
    try {
      response = await fetch(path, options);
    } catch {
      throw new Refused(0, "The program does not answer. Is it still running in its terminal?");
    }
    if (response.ok) return response;
    const answer = await response.json().catch(() => ({}));
    throw new Refused(response.status, answer.error || `The program answered ${response.status}.`);
  }

  function trouble(error) {
    if (!(error instanceof Refused)) throw error;
    byId("trouble").textContent = error.message;
    byId("trouble").hidden = false;
    if (error.status === 409) refresh();
  }

  const attempt = (action) => action().catch(trouble);

  // Write on the file, and return what it holds then.
  const write = async (change) => (await ask("/api/change", change)).json();

  let saying = 0;
  function say(text) {
    clearTimeout(saying);
    byId("status").textContent = text;
    saying = setTimeout(() => { byId("status").textContent = ""; }, 3500);
  }

  // Pictures: one request at a time, and after it the newest state, so that no stale ones queue up -----------------

  const pictures = new Map(); // the last pictures, by request
  let asked = 0;
  let painting = false;
  let wanted = false;

  const seeds = () => (state.row ? state.row.map(() => state.seed) : Array.from({ length: state.count }, (_, index) => state.seed + index));
  const columns = () => state.row?.length ?? columnsOf[state.count];

  function view(moves = state.amounts) {
    const known = new Set(file.directions.map((direction) => direction.id));
    const moved = Object.entries(moves).filter(([id, amount]) => amount !== 0 && known.has(id));
    const body = { seeds: seeds(), truncation: state.truncation, moves: Object.fromEntries(moved), layers: state.layers };
    if (generator.classes.length) body.class = state.row ?? state.label;
    if (state.random) body.random = true;
    return body;
  }

  function paint() {
    wanted = true;
    if (!painting) paintAll();
  }

  async function paintAll() {
    painting = true;
    byId("tiles").setAttribute("aria-busy", "true");
    while (wanted) {
      wanted = false;
      const shown = { ...view(before ? {} : undefined), columns: columns(), format: format() };
      const key = JSON.stringify(shown);
      try {
        let picture = pictures.get(key);
        if (!picture) {
          const response = await ask("/api/image", { ...shown, client, number: ++asked });
          if (response.status === 204) continue; // there is a newer one
          picture = await createImageBitmap(await response.blob());
          keep(key, picture);
        }
        draw(picture, shown);
        byId("trouble").hidden = true;
      } catch (error) {
        trouble(error);
      }
    }
    painting = false;
    byId("tiles").setAttribute("aria-busy", "false");
  }

  function keep(key, picture) {
    pictures.set(key, picture);
    for (const [oldest, old] of [...pictures].slice(0, -24)) {
      old.close();
      pictures.delete(oldest);
    }
  }

  // Small images are sent as they are; large ones as WebP, which is a fraction of the bytes.
  const format = () => (generator.resolution <= 128 ? "png" : "webp");

  // The picture holds the samples, and after them what random directions do to them, which is shown beside each line.
  function draw(picture, shown) {
    const tiles = byId("tiles");
    const { columns, seeds } = shown;
    const lines = Math.ceil(seeds.length / columns);
    const order = seeds.map((_, index) => index);
    if (shown.random) {
      const places = order.splice(0);
      for (let line = 0; line < lines; line++) {
        const part = places.slice(line * columns, (line + 1) * columns);
        order.push(...part, ...part.map((place) => place + seeds.length));
      }
    }
    // A long line has its random one below it.
    const beside = shown.random && (lines > 1 || columns < 3);
    tiles.style.setProperty("--columns", columns * (beside ? 2 : 1));
    tiles.style.setProperty("--ratio", (columns * (beside ? 2 : 1)) / (lines * (shown.random && !beside ? 2 : 1)));
    while (tiles.children.length > order.length) tiles.lastChild.remove();
    while (tiles.children.length < order.length) tiles.append(newTile());
    const size = generator.resolution;
    order.forEach((place, position) => {
      const tile = tiles.children[position];
      const canvas = tile.firstChild;
      if (canvas.width !== size) canvas.width = canvas.height = size;
      const [left, top] = [(place % columns) * size, Math.floor(place / columns) * size];
      canvas.getContext("2d").drawImage(picture, left, top, size, size, 0, 0, size, size);
      tile.dataset.place = place % seeds.length;
      tile.classList.toggle("random", place >= seeds.length);
    });
    last = shown;
    describe();
  }

  function newTile() {
    const tile = document.createElement("button");
    tile.className = "tile";
    const label = document.createElement("span");
    label.className = "seed";
    tile.append(document.createElement("canvas"), label);
    tile.addEventListener("click", () => {
      const place = Number(tile.dataset.place);
      if (state.row) [state.label, state.row, state.count] = [state.row[place], null, 1];
      else [state.seed, state.count] = [last.seeds[place], state.count > 1 ? 1 : Math.max(2, several)];
      settingsChanged();
    });
    return tile;
  }

  let several = 4;
  const signed = (amount) => (amount > 0 ? "+" : "") + amount.toFixed(2).replace("-", "−");

  const isolated = (name) => `\u2068${name}\u2069`; // so that a right-to-left name does not turn what stands around it

  function moveTexts(moves) {
    const moved = file.directions.filter((direction) => moves[direction.id]);
    return moved.map((direction) => `${isolated(direction.name)} ${signed(moves[direction.id])}`);
  }

  const layerText = ([start, stop]) => (stop - start > 1 ? `layers ${start}–${stop - 1}` : `layer ${start}`);

  const classOf = (shown, place) => generator.classes[Array.isArray(shown.class) ? shown.class[place] : shown.class];

  // What the picture shows, in parts: samples, class, truncation, layers, and how far it is moved.
  function parts(shown) {
    const last = shown.seeds[shown.seeds.length - 1];
    const found = [last > shown.seeds[0] ? `samples ${shown.seeds[0]}–${last}` : `sample ${shown.seeds[0]}`];
    if (Array.isArray(shown.class)) found.push(shown.class.map((label) => generator.classes[label]).join(lettered() ? "" : ", "));
    else if (generator.classes.length) found.push(generator.classes[shown.class]);
    if (shown.truncation !== 1) found.push(`truncation ${shown.truncation}`);
    if (shown.layers) found.push(layerText(shown.layers));
    if (shown.random) found.push("found and random");
    return [...found, ...moveTexts(shown.moves)];
  }

  let last = null; // what the picture shows

  // Write below the picture and on its tiles what they show; anew after a direction was renamed.
  function describe() {
    if (!last) return;
    for (const tile of byId("tiles").children) {
      const place = Number(tile.dataset.place);
      const random = tile.classList.contains("random");
      const about = [`Sample ${last.seeds[place]}`];
      if (generator.classes.length) about.push(classOf(last, place));
      if (last.layers) about.push(layerText(last.layers));
      if (random) about.push("random directions");
      tile.title = last.seeds.length > 1 ? "Show this sample alone" : "Show several samples";
      tile.setAttribute("aria-label", `${[...about, ...moveTexts(last.moves)].join(", ")}. ${tile.title}`);
      tile.lastChild.textContent = random ? "random" : last.random && !state.row ? `${last.seeds[place]} · found` : state.row ? classOf(last, place) : `${last.seeds[place]}`;
    }
    const caption = byId("caption");
    caption.textContent = parts(last).join(" · ");
    if (before) {
      const label = document.createElement("strong");
      label.textContent = "before ";
      caption.prepend(label);
    }
  }

  // Settings --------------------------------------------------------------------------------------------------------

  function settingsChanged() {
    if (state.count > 1) several = state.count;
    byId("seed").value = state.seed;
    byId("count").value = state.count;
    byId("truncation").value = state.truncation;
    byId("truncation-value").textContent = state.truncation.toFixed(2);
    fill(byId("truncation"), 0, (state.truncation - 0.05) / 0.95);
    byId("class").value = state.label;
    byId("class-search").value = className(state.label);
    if (document.activeElement !== byId("row")) byId("row").value = rowText();
    byId("count").disabled = state.row !== null;
    byId("random").checked = state.random;
    remember();
    paint();
  }

  function fill(slider, from, to) {
    slider.style.setProperty("--a", from);
    slider.style.setProperty("--b", to);
  }

  const className = (label) => (generator.classes.length ? `${label} ${generator.classes[label]}` : "");

  function setSeed(seed) {
    state.seed = Math.min(Math.max(seed, 0), generator.max_seed);
    settingsChanged();
  }

  // Have a control change the state; what a reader gives is merged into it.
  function setting(id, type, read) {
    byId(id).addEventListener(type, ({ target }) => {
      Object.assign(state, read(target));
      settingsChanged();
    });
  }

  function setUpSettings() {
    byId("seed").max = generator.max_seed;
    setting("seed", "change", (input) => ({ seed: wholeNumber(input, "Sample", generator.max_seed) ?? state.seed }));
    setting("count", "change", (select) => ({ count: Number(select.value) }));
    setting("truncation", "input", (slider) => ({ truncation: Number(slider.value) }));
    setting("truncation", "dblclick", () => ({ truncation: file.truncation ?? 1 }));
    setting("random", "change", (box) => ({ random: box.checked }));
    byId("previous").addEventListener("click", () => setSeed(state.seed - state.count));
    byId("next").addEventListener("click", () => setSeed(state.seed + state.count));
    if (generator.classes.length) setUpClasses();
    if (generator.layers > 1) setUpLayers();
  }

  // Few classes are chosen from a list; of many, the browser proposes those that have in them what is typed.
  function setUpClasses() {
    const few = generator.classes.length <= 12;
    const field = few ? byId("class") : byId("class-search");
    byId("class-setting").hidden = field.hidden = false;
    byId("class-label").htmlFor = field.id;
    const list = few ? field : byId("class-options");
    generator.classes.forEach((name, index) => list.append(few ? new Option(name, index) : new Option("", className(index))));
    field.addEventListener("focus", () => { if (!few) field.select(); });
    field.addEventListener("change", () => {
      const label = few ? Number(field.value) : findClass(field.value);
      if (label === null) refuse(field, `There is no class ${field.value.slice(0, 40)}.`);
      else [state.label, state.row] = [label, null];
      settingsChanged();
    });
    setUpRow();
  }

  // The index of a class by its number, its name, or, where all words are wanted, a part of both.
  function findClass(text, parts = true) {
    const word = text.trim().toLowerCase();
    const among = generator.classes.map((name, index) => [name, `${index}`, className(index)]);
    const exact = (read) => among.findIndex((names) => names.some((name) => read(name) === read(text.trim())));
    const words = word.split(/\s+/);
    const found = [exact((name) => name), exact((name) => name.toLowerCase())];
    if (parts && word) found.push(among.findIndex((names) => words.every((part) => names[2].toLowerCase().includes(part))));
    return found.find((index) => index >= 0) ?? null;
  }

  // One sample under several classes: names or numbers, or, where all names are single letters, a word.
  const lettered = () => generator.classes.every((name) => [...name].length === 1);
  const rowText = () => state.row?.map((label) => (lettered() ? generator.classes[label] : label)).join(lettered() ? "" : " ") ?? "";

  function setUpRow() {
    const input = byId("row");
    byId("row-setting").hidden = generator.classes.length < 2;
    byId("row-label").textContent = lettered() ? "Word" : "Classes in a row";
    input.placeholder = lettered() ? generator.classes.slice(0, 4).join("") : "0 1 2";
    input.addEventListener("change", () => {
      const text = input.value.trim();
      const words = lettered() ? [...text.replace(/\s/g, "")] : text.split(text.includes(",") ? "," : /\s+/).map((word) => word.trim()).filter(Boolean);
      const labels = words.map((word) => findClass(word, false));
      const unknown = labels.indexOf(null);
      if (unknown >= 0) refuse(input, `There is no class ${words[unknown].slice(0, 40)}.`);
      else if (labels.length > generator.max_samples) refuse(input, `A row may have at most ${generator.max_samples} classes, got ${labels.length}.`);
      else {
        state.row = labels.length ? labels : null;
        settingsChanged();
      }
    });
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") input.blur(); });
    input.addEventListener("blur", () => { input.value = rowText(); });
  }

  let showLayers = () => {};

  function setUpLayers() {
    const number = generator.layers;
    const third = (part) => Math.round((part * number) / 3);
    const presets = { all: null, coarse: [0, third(1)], mid: [third(1), third(2)], fine: [third(2), number] };
    const [select, start, stop] = [byId("layers"), byId("layers-start"), byId("layers-stop")];
    byId("layers-setting").hidden = false;
    for (const [name, range] of Object.entries(presets)) {
      select.append(new Option(range ? `${name} (${range[0]} to ${range[1] - 1})` : `all ${number}`, name));
    }
    select.append(new Option("from … to …", "own"));

    function show() {
      byId("layers-range").hidden = select.value !== "own";
      byId("layers-setting").classList.toggle("spread", select.value === "own");
      [start.value, stop.value] = state.layers ? [state.layers[0], state.layers[1] - 1] : [0, number - 1];
    }
    showLayers = () => {
      select.value = Object.keys(presets).find((name) => `${presets[name]}` === `${state.layers}`) ?? "own";
      show();
    };
    select.addEventListener("change", () => {
      if (select.value !== "own") state.layers = presets[select.value];
      show();
      settingsChanged();
    });
    for (const end of [start, stop]) {
      [end.min, end.max] = [0, number - 1];
      end.addEventListener("change", () => {
        const [first, last] = [start, stop].map((input) => wholeNumber(input, "Layer", number - 1));
        if (first !== null && last !== null) {
          state.layers = end === start ? [first, Math.max(first, last) + 1] : [Math.min(first, last), last + 1];
          if (state.layers[1] - state.layers[0] === number) state.layers = null;
        }
        show();
        settingsChanged();
      });
    }
    showLayers();
  }

  // What is refused says so, and its field keeps the old value.
  function refuse(input, text) {
    say(text);
    input.setAttribute("aria-invalid", "true");
    setTimeout(() => input.removeAttribute("aria-invalid"), 3500);
  }

  // The number in a field, whole and within its range, or null.
  function wholeNumber(input, what, most) {
    const number = Number(input.value);
    if (input.value !== "" && Number.isInteger(number) && number >= 0 && number <= most) return number;
    refuse(input, `${what} must be a whole number from 0 to ${most}, got ${input.value || "nothing"}.`);
    return null;
  }

  // The link: the part of the address after # holds all that this tab shows ---------------------------------------

  function link() {
    const parts = new URLSearchParams({ sample: state.seed, show: state.count });
    if (generator.classes.length) parts.set("class", state.row ? state.row.join(" ") : state.label);
    parts.set("truncation", state.truncation);
    if (generator.layers > 1) parts.set("layers", state.layers ? `${state.layers[0]}-${state.layers[1] - 1}` : "all");
    if (state.random) parts.set("random", "yes");
    for (const [id, amount] of Object.entries(state.amounts)) parts.set(id, amount);
    return `#${parts}`;
  }

  let linking = 0;
  function remember() {
    clearTimeout(linking);
    linking = setTimeout(writeLink, 300); // browsers allow some hundred changes a minute
  }

  let written = ""; // the link of what is shown since it was last followed or written
  function writeLink() {
    clearTimeout(linking);
    if (link() === written) return;
    written = link();
    history.replaceState(null, "", written);
  }

  // Take over what a link says, as far as it fits this file and generator.
  function readLink() {
    const text = location.hash.slice(1);
    let name = text;
    try { name = decodeURIComponent(text.replace(/%(?![\da-f]{2})/gi, "%25")); } catch { /* not UTF-8 */ }
    if (!text.includes("=") || directionCalled(name)) {
      if (text) goTo(name);
      return;
    }
    const fits = (value, most, least = 0) => value !== "" && value >= least && value <= most;
    const whole = (values, most) => values.every((value) => fits(value, most) && Number.isInteger(Number(value)));
    // What each part of a link changes; nothing where it does not fit.
    const readers = {
      sample: (value) => whole([value], generator.max_seed) && { seed: Number(value) },
      show: (value) => value in columnsOf && { count: Number(value) },
      class: (value) => {
        const labels = value.split(" ");
        if (labels.length > generator.max_samples || !whole(labels, generator.classes.length - 1)) return null;
        return labels.length > 1 ? { row: labels.map(Number) } : { row: null, label: Number(value) };
      },
      truncation: (value) => fits(value, 1, 0.05) && { truncation: Number(value) },
      layers: (value) => {
        const [first, last] = value.split("-").map(Number);
        if (value === "all") return { layers: null };
        return whole([first, last], generator.layers - 1) && last >= first && { layers: [first, last + 1] };
      },
      random: (value) => ({ random: value === "yes" }),
    };
    const readAmount = (id, value) => fits(value, generator.max_amount, -generator.max_amount)
      && file.directions.some((direction) => direction.id === id) && { amounts: { ...state.amounts, [id]: Number(value) } };
    state.amounts = {};
    state.random = false;
    const wrong = [];
    for (const [key, value] of new URLSearchParams(text)) {
      const change = key in readers ? readers[key](value) : readAmount(key, value);
      if (change) Object.assign(state, change);
      else wrong.push(`${key}=${value}`);
    }
    if (wrong.length) say(`Left out of the link, as it does not fit here: ${wrong.join(", ").slice(0, 120)}.`);
  }

  // #name and #3 lead to a direction.
  const directionCalled = (wanted) => file.directions.find(({ name }) => name === wanted)
    ?? file.directions.find(({ index }) => `${index}` === wanted);

  function goTo(wanted) {
    const direction = directionCalled(wanted);
    if (!direction) {
      say(`There is no direction ${wanted.slice(0, 64)}.`);
      return;
    }
    byId("search").value = "";
    filter(direction.id);
    const { item } = rows.get(direction.id);
    item.querySelector(".slider").focus({ preventScroll: true });
    item.scrollIntoView({ block: "center" });
  }

  function followLink() {
    readLink();
    for (const row of rows.values()) row.showAmount();
    showLayers();
    settingsChanged();
    written = link();
  }

  // Shown first, where no link says else: the samples as the directions were learned on.
  function defaults() {
    const { layers, classes, truncation } = file;
    state.truncation = truncation ?? 1;
    if (layers && layers.length < generator.layers) state.layers = [Math.min(...layers), Math.max(...layers) + 1];
    if (Array.isArray(classes) && classes.length) state.label = classes[0];
    if (generator.resolution > 256) state.count = 1;
  }

  // The list --------------------------------------------------------------------------------------------------------

  const rows = new Map(); // by id

  const amountOf = (id) => state.amounts[id] ?? 0;

  function setAmount(id, amount, played = false) {
    if (!played) stopPlaying();
    const bounded = Math.min(Math.max(amount, -generator.max_amount), generator.max_amount);
    if (bounded === 0) delete state.amounts[id];
    else state.amounts[id] = bounded;
    moved([rows.get(id)]);
  }

  function moved(shown) {
    showBefore(false);
    for (const row of shown) row?.showAmount();
    remember();
    paint();
  }

  function resetAll() {
    stopPlaying();
    state.amounts = {};
    moved(rows.values());
  }

  // Playing: once from where the slider stands to both ends and back, as fast as pictures come --------------------

  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const PLAY_SECONDS = 5;
  let playing = null;

  function stopPlaying() {
    if (!playing) return;
    const { id, from } = playing;
    playing = null;
    rows.get(id)?.showPlaying(false);
    setAmount(id, from, true);
  }

  function play(id) {
    const again = playing?.id === id;
    stopPlaying();
    if (again) return;
    const mine = playing = { id, from: amountOf(id) };
    const began = performance.now();
    rows.get(id).showPlaying(true);
    requestAnimationFrame(function step() {
      const direction = file.directions.find((other) => other.id === id);
      const time = (performance.now() - began) / 1000 / PLAY_SECONDS;
      if (playing !== mine) return;
      if (time >= 1 || !direction) {
        stopPlaying();
        return;
      }
      // With reduced motion, only the ends and the middle are shown.
      const steps = still.matches ? 1 : 24;
      const place = Math.round(Math.sin(2 * Math.PI * time) * steps) / steps;
      const amount = place * Math.min(direction.path_size, generator.max_amount);
      if (!painting && amount !== amountOf(id)) setAmount(id, amount, true);
      requestAnimationFrame(step);
    });
  }

  // Previews, and after them names to suggest: one request at a time, what is in sight first, then the most active; a
  // bounded number is kept.

  const MOST_PREVIEWS = 256;
  const previews = new Map(); // by id: the range that it shows, and its address
  const suggestions = new Map(); // by id: the range that it is of, and the words
  const inSight = new Set();
  let making = false;

  const sight = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) inSight[isIntersecting ? "add" : "delete"](target.dataset.id);
    makeAll();
  });

  function nextOf(made, room) {
    const missing = file.directions.filter(({ id, path_size: size }) => made.get(id)?.size !== size);
    const seen = missing.filter(({ id }) => inSight.has(id));
    const others = room ? missing.filter(({ hidden }) => !hidden) : [];
    return (seen.length ? seen : others).sort((one, other) => (other.activeness ?? 0) - (one.activeness ?? 0))[0];
  }

  async function makeAll() {
    if (making || !file) return;
    making = true;
    try {
      while (!document.hidden) {
        const unseen = nextOf(previews, previews.size < MOST_PREVIEWS);
        const unnamed = unseen ? null : nextOf(suggestions, true);
        if (unseen) await makePreview(unseen);
        else if (unnamed) await makeSuggestion(unnamed);
        else break;
      }
    } catch (error) {
      if (!(error instanceof Refused)) throw error; // the pictures say what is wrong
    }
    making = false;
  }

  // What the program makes of a direction; null where it cannot, such as images that are no numbers.
  async function made(what, { id }) {
    try {
      const response = await ask(`/api/${what}`, { id });
      if (response.status === 204) throw new Refused(204, "");
      return response;
    } catch (error) {
      if (error.status === 400) return null;
      throw error;
    }
  }

  async function makePreview({ id, path_size: size }) {
    const response = await made("preview", { id });
    const address = response ? URL.createObjectURL(await response.blob()) : "";
    forgetPreview(id);
    previews.set(id, { size, address });
    rows.get(id)?.showPreview(address);
    const oldest = [...previews.keys()].find((other) => !inSight.has(other));
    if (previews.size > MOST_PREVIEWS && oldest) forgetPreview(oldest);
  }

  async function makeSuggestion({ id, path_size: size }) {
    const response = await made("suggestion", { id });
    suggestions.set(id, { size, words: (await response?.json())?.suggestion ?? "" });
    rows.get(id)?.showSuggestion();
  }

  function forgetPreview(id) {
    const address = previews.get(id)?.address;
    previews.delete(id);
    rows.get(id)?.showPreview("");
    if (address) URL.revokeObjectURL(address);
  }

  // A direction's row: what it shows, and what can be done to it.
  function newRow(id) {
    const item = byId("row-template").content.firstElementChild.cloneNode(true);
    const part = (name) => item.querySelector(`.${name}`);
    const [name, slider, value, range, note] = ["name", "slider", "value", "range", "note"].map(part);
    item.dataset.id = id;
    let direction = null;

    function show(next) {
      direction = next;
      // What was refused stays to be mended.
      if (document.activeElement !== name && !name.hasAttribute("aria-invalid")) name.value = direction.name;
      if (document.activeElement !== range) range.value = rounded(direction.path_size);
      if (document.activeElement !== note) note.value = direction.note;
      const called = isolated(direction.name);
      name.title = direction.note ? `${called}: ${direction.note}` : called;
      const labels = {
        name: `Name of direction ${direction.index}`, slider: called, value: `Amount of ${called}`, star: `Star ${called}`,
        preview: `Play ${called} there and back`, handle: `Move ${called} in the list: up and down arrow keys`,
        more: `Range, note and more of ${called}`, gif: `Save a GIF of ${called}`, hide: `${direction.hidden ? "Show" : "Hide"} ${called}`,
      };
      for (const [of, label] of Object.entries(labels)) part(of).setAttribute("aria-label", label);
      part("star").setAttribute("aria-pressed", String(direction.starred));
      part("hide").textContent = direction.hidden ? "Show again" : "Hide";
      item.classList.toggle("faded", direction.hidden);
      showSuggestion();
      const most = Math.max(...file.directions.map((other) => other.activeness ?? 0));
      part("activeness").value = most ? (direction.activeness ?? 0) / most : 0;
      const facts = [`direction ${direction.index}`];
      if (direction.activeness !== null) facts.push(`activeness ${direction.activeness.toPrecision(3)}`);
      if (direction.penalty_share !== null) facts.push(`${(100 * direction.penalty_share).toFixed(1)}% of the penalty`);
      part("facts").textContent = facts.join(" · ");
      slider.min = -reach();
      slider.max = reach();
      showAmount();
    }

    // How far the slider goes: an older file may have a larger range than amounts can have.
    const reach = () => Math.min(direction.path_size, generator.max_amount);

    function showAmount() {
      const amount = amountOf(id);
      slider.value = amount;
      slider.setAttribute("aria-valuetext", signed(amount));
      if (document.activeElement !== value) value.value = amount.toFixed(2);
      const place = Math.min(Math.max(0.5 + amount / reach() / 2, 0), 1);
      fill(slider, Math.min(0.5, place), Math.max(0.5, place));
      item.classList.toggle("moved", amount !== 0);
    }

    // A name to suggest, unless the direction has it; of two with the same words the second gets a number.
    function showSuggestion() {
      const words = suggestions.get(id)?.words ?? "";
      const button = part("suggestion");
      button.hidden = !words || direction.name.startsWith(words);
      button.textContent = `${words}?`;
      button.title = `Suggested by what changes most: take it as the name (A)`;
      button.setAttribute("aria-label", `Name ${isolated(direction.name)} as suggested: ${words}`);
    }

    function takeSuggestion() {
      if (part("suggestion").hidden) return;
      const words = suggestions.get(id).words;
      const taken = new Set(file.directions.map((other) => other.name));
      let free = words;
      for (let number = 2; taken.has(free); number++) free = `${words} (${number})`;
      name.removeAttribute("aria-invalid");
      if (document.activeElement === part("suggestion")) slider.focus(); // the button goes
      annotate({ name: free }, name, "Name saved");
    }

    function problem(text, field) {
      part("problem").textContent = text;
      part("problem").hidden = !text;
      for (const input of [name, range, note, value]) input.removeAttribute("aria-invalid");
      if (text && field) field.setAttribute("aria-invalid", "true");
    }

    async function annotate(changes, field, said) {
      try {
        const next = await write({ id, ...changes });
        problem("");
        apply(next);
        byId("trouble").hidden = true;
        say(said);
      } catch (error) {
        if (error.status === 400) problem(error.message, field);
        else trouble(error);
      }
    }

    // The slider: its own rounding, a rest in the middle, and keys that go by the path size.
    slider.addEventListener("input", () => {
      const amount = Number(slider.value);
      if (value.hasAttribute("aria-invalid")) problem("");
      setAmount(id, Math.abs(amount) < reach() * 0.02 ? 0 : Math.round(amount * 100) / 100);
    });
    slider.addEventListener("dblclick", () => setAmount(id, 0));
    slider.addEventListener("keydown", (event) => {
      const size = reach();
      const step = event.shiftKey ? size / 5 : size / 50;
      const within = (amount) => Math.round(Math.min(Math.max(amount, -size), size) * 100) / 100;
      const by = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, PageDown: -size / 5, PageUp: size / 5 }[event.key];
      const to = by === undefined ? { Home: -size, End: size, 0: 0, Delete: 0, Backspace: 0 }[event.key] : amountOf(id) + by;
      if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      setAmount(id, within(to));
    });
    value.addEventListener("input", () => {
      const amount = value.valueAsNumber;
      const most = generator.max_amount;
      const fits = Math.abs(amount) <= most;
      problem(fits || value.value === "" ? "" : `An amount must be from −${most} to ${most}, got ${value.value}.`, value);
      if (fits) setAmount(id, amount);
    });
    value.addEventListener("blur", showAmount);
    value.addEventListener("dblclick", () => {
      value.blur();
      setAmount(id, 0);
    });

    // What is written into the file.
    name.addEventListener("change", () => annotate({ name: name.value }, name, "Name saved"));
    range.addEventListener("change", () => {
      if (Number.isFinite(range.valueAsNumber)) annotate({ path_size: range.valueAsNumber }, range, "Range saved");
      else {
        range.value = rounded(direction.path_size);
        problem("");
      }
    });
    note.addEventListener("change", () => annotate({ note: note.value }, note, "Note saved"));
    part("star").addEventListener("click", () => annotate({ starred: !direction.starred }, null, direction.starred ? "Star removed" : "Starred"));
    part("hide").addEventListener("click", () => annotate({ hidden: !direction.hidden }, null, direction.hidden ? "Shown again" : "Hidden: Show hidden brings it back"));
    for (const [field, last] of [[name, () => direction.name], [range, () => rounded(direction.path_size)], [value, null]]) {
      field.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && last) {
          field.value = last();
          problem("");
        }
        if (event.key === "Enter" || event.key === "Escape") field.blur();
      });
    }
    part("preview").addEventListener("click", () => play(id));
    part("suggestion").addEventListener("click", takeSuggestion);
    sight.observe(item);
    part("gif").addEventListener("click", () => saveGif(direction, part("gif")));
    part("more").addEventListener("click", () => {
      const open = part("details").hidden;
      part("details").hidden = !open;
      part("more").setAttribute("aria-expanded", String(open));
    });
    setUpMoving(item, part("handle"));
    function showPreview(address) {
      part("preview").style.setProperty("--preview", address ? `url("${address}")` : "none");
      part("preview").classList.toggle("made", address !== "");
    }

    const showPlaying = (on) => part("preview").setAttribute("aria-pressed", String(on));

    return { item, show, showAmount, showPreview, showPlaying, showSuggestion, takeSuggestion };
  }

  const rounded = (size) => String(Number(size.toPrecision(4)));

  // Reordering, by dragging or with the arrow keys; rows that are not shown keep their neighbours.
  function setUpMoving(item, handle) {
    const list = byId("directions");
    const visible = () => [...list.children].filter((row) => !row.hidden);

    // The neighbour is moved, not the row itself: what is moved in the document loses the focus and the pointer.
    function pass(direction) {
      const others = visible();
      const other = others[others.indexOf(item) + direction];
      if (!other) return false;
      if (direction < 0) item.after(other);
      else item.before(other);
      return true;
    }

    handle.addEventListener("keydown", (event) => {
      const direction = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (!direction) return;
      event.preventDefault();
      if (pass(direction)) writeOrder();
    });

    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      handle.focus();
      handle.setPointerCapture(event.pointerId);
      item.classList.add("dragged");
      let changed = false;

      function move(to) {
        const others = visible();
        const under = others.findIndex((row) => to.clientY < row.getBoundingClientRect().bottom);
        const steps = (under < 0 ? others.length - 1 : under) - others.indexOf(item);
        for (let step = 0; step < Math.abs(steps); step++) changed = pass(Math.sign(steps));
      }
      function end() {
        handle.removeEventListener("pointermove", move);
        item.classList.remove("dragged");
        if (changed) writeOrder();
      }
      handle.addEventListener("pointermove", move);
      handle.addEventListener("lostpointercapture", end, { once: true });
    });
  }

  async function writeOrder() {
    const order = [...byId("directions").children].map((row) => row.dataset.id);
    try {
      apply(await write({ order }));
      say("Order saved");
    } catch (error) {
      apply(file);
      trouble(error);
    }
  }

  // Show what the file holds, touching only what changed: whoever types or drags is not disturbed.
  function apply(next) {
    file = next;
    const list = byId("directions");
    const ids = new Set(file.directions.map((direction) => direction.id));
    for (const [id, row] of rows) {
      if (!ids.has(id)) {
        sight.unobserve(row.item);
        row.item.remove();
        rows.delete(id);
        inSight.delete(id);
        forgetPreview(id);
      }
    }
    file.directions.forEach((direction, place) => {
      if (!rows.has(direction.id)) rows.set(direction.id, newRow(direction.id));
      const { item } = rows.get(direction.id);
      if (list.children[place] !== item) {
        const focused = item.contains(document.activeElement) ? document.activeElement : null;
        list.insertBefore(item, list.children[place] ?? null);
        focused?.focus();
      }
    });
    for (const direction of file.directions) rows.get(direction.id).show(direction);
    describe();
    makeAll();
    byId("undo").disabled = file.last_change === null;
    byId("undo").title = file.last_change === null ? "Nothing to undo" : `Undo: ${file.last_change}`;
    filter();
  }

  function filter(kept = null) {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const [onlyStarred, showHidden] = ["only-starred", "show-hidden"].map((id) => byId(id).checked);
    let shown = 0;
    for (const direction of file.directions) {
      const text = `${direction.index} ${direction.name} ${direction.note}`.toLowerCase();
      const fits = words.every((word) => text.includes(word)) && (!onlyStarred || direction.starred) && (!direction.hidden || showHidden) || direction.id === kept;
      rows.get(direction.id).item.hidden = !fits;
      shown += fits;
    }
    byId("nothing").hidden = shown > 0;
    const hidden = file.directions.filter((direction) => direction.hidden).length;
    byId("hidden-count").textContent = hidden ? `(${hidden})` : "";
  }

  const refresh = () => attempt(async () => {
    const next = await (await ask("/api/file")).json();
    if (next.revision === file.revision) return;
    apply(next);
    paint();
  });

  function setUpList() {
    document.querySelector(".skip").addEventListener("click", (event) => {
      event.preventDefault(); // followed, it would be taken for the name of a direction
      byId("directions").focus();
    });
    for (const id of ["search", "only-starred", "show-hidden"]) byId(id).addEventListener("input", () => filter());
    byId("undo").addEventListener("click", () => attempt(async () => {
      const change = file.last_change;
      apply(await write({ undo: true }));
      say(`Undone: ${change}`);
      paint();
    }));
    // Another tab, or the command line, may have written on the file.
    window.addEventListener("focus", refresh);
    document.addEventListener("visibilitychange", async () => {
      if (document.hidden) return;
      await refresh();
      makeAll();
    });
  }

  // Before and after, saving, copying -------------------------------------------------------------------------------

  function showBefore(on) {
    if (before === on) return;
    before = on;
    byId("before").setAttribute("aria-pressed", String(on));
    paint();
  }

  function setUpActions() {
    const button = byId("before");
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      const [was, began] = [before, performance.now()];
      showBefore(true);
      // Held, it shows what was before until it is let go; clicked, until the next click.
      button.addEventListener("lostpointercapture", () => showBefore(!was && performance.now() - began <= 350), { once: true });
    });
    button.addEventListener("click", (event) => { if (event.detail === 0) showBefore(!before); }); // by a key
    byId("reset").addEventListener("click", resetAll);
    byId("save").addEventListener("click", savePicture);
    byId("python").addEventListener("click", showPython);
    byId("python-copy").addEventListener("click", copyPython);
    byId("help").addEventListener("click", () => byId("help-dialog").showModal());
    for (const dialog of document.querySelectorAll("dialog")) {
      dialog.querySelector(".close").addEventListener("click", () => dialog.close());
      dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    }
  }

  function download(blob, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const fileName = (name) => name.replace(/−/g, "-").replace(/[^\p{L}\p{N}.+_-]+/gu, "-").replace(/^[-.]+|[-.]+$/g, "").slice(0, 100) || "picture";

  const savePicture = () => attempt(async () => {
    const shown = { ...view(before ? {} : undefined), columns: columns(), format: "png" };
    const response = await ask("/api/image", { ...shown, client: `${client}-save`, number: ++asked });
    download(await response.blob(), `${fileName(parts(shown).map(fileName).join("_"))}.png`);
    say("Picture saved");
  });

  async function saveGif(direction, button) {
    [button.disabled, button.textContent] = [true, "Making the GIF …"];
    await attempt(async () => {
      const response = await ask("/api/animation", { ...view(), direction: direction.id });
      download(await response.blob(), `${fileName(direction.name)}.gif`);
      say("GIF saved");
    });
    [button.disabled, button.textContent] = [false, "Save GIF"];
  }

  const showPython = () => attempt(async () => {
    byId("python-code").textContent = (await (await ask("/api/python", view(before ? {} : undefined))).json()).python;
    byId("python-dialog").showModal();
    await copyPython();
  });

  async function copyPython() {
    try {
      await navigator.clipboard.writeText(byId("python-code").textContent);
      byId("python-copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(byId("python-code"));
      byId("python-copy").textContent = "Selected: copy it with the keyboard";
    }
    setTimeout(() => { byId("python-copy").textContent = "Copy"; }, 2500);
  }

  // Colours and keys ------------------------------------------------------------------------------------------------

  function setUpColours() {
    const names = { "": "as the system", light: "light", dark: "dark" };
    const order = Object.keys(names);
    let chosen = "";
    try { chosen = localStorage.getItem("directions-colours") ?? ""; } catch { /* no storage */ }
    function show() {
      if (!(chosen in names)) chosen = "";
      if (chosen) document.documentElement.dataset.theme = chosen;
      else delete document.documentElement.dataset.theme;
      byId("theme").title = `Colours: ${names[chosen]}`;
      byId("theme").setAttribute("aria-label", byId("theme").title);
    }
    byId("theme").addEventListener("click", () => {
      chosen = order[(order.indexOf(chosen) + 1) % order.length];
      try { localStorage.setItem("directions-colours", chosen); } catch { /* no storage */ }
      show();
    });
    show();
  }

  function setUpKeys() {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
      if (event.target.matches("input:not([type=range], [type=checkbox]), textarea, select")) return;
      const act = {
        b: () => { if (!event.repeat) showBefore(!before); },
        n: () => setSeed(state.seed + state.count),
        p: () => setSeed(state.seed - state.count),
        r: resetAll,
        a: () => rows.get(event.target.closest(".direction")?.dataset.id)?.takeSuggestion(),
        "/": () => byId("search").focus(),
        "?": () => byId("help-dialog").showModal(),
      }[event.key.toLowerCase()];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  async function start() {
    setUpColours();
    await attempt(async () => {
      [generator, file] = await Promise.all(["/api/generator", "/api/file"].map(async (path) => (await ask(path)).json()));
    });
    if (!file) return;
    defaults();
    byId("method").textContent = ` · found by ${file.method}`;
    setUpSettings();
    setUpList();
    setUpActions();
    setUpKeys();
    apply(file);
    followLink();
    window.addEventListener("hashchange", followLink);
    window.addEventListener("pagehide", writeLink);
  }

  start();
})();
