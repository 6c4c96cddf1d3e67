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

  // What this tab shows. Kept for a reload of this tab, shared with no other.
  const state = { seed: 0, count: 4, label: 0, truncation: null, layers: null, amounts: {}, starred: false, showHidden: false };
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

  function fine() {
    byId("trouble").hidden = true;
  }

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

  const seeds = () => Array.from({ length: state.count }, (_, index) => state.seed + index);

  function view(moves = state.amounts) {
    const known = new Set(file.directions.map((direction) => direction.id));
    const moved = Object.entries(moves).filter(([id, amount]) => amount !== 0 && known.has(id));
    const body = { seeds: seeds(), truncation: state.truncation, moves: Object.fromEntries(moved), layers: state.layers };
    if (generator.classes.length) body.class = state.label;
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
      const shown = { ...view(before ? {} : undefined), columns: columnsOf[state.count], format: format() };
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
        fine();
      } catch (error) {
        trouble(error);
      }
    }
    painting = false;
    byId("tiles").setAttribute("aria-busy", "false");
  }

  function keep(key, picture) {
    pictures.set(key, picture);
    if (pictures.size > 24) {
      const oldest = pictures.keys().next().value;
      pictures.get(oldest).close();
      pictures.delete(oldest);
    }
  }

  // Small images are sent as they are; large ones as WebP, which is a fraction of the bytes.
  const format = () => (generator.resolution <= 128 ? "png" : "webp");

  function draw(picture, shown) {
    const tiles = byId("tiles");
    const { columns } = shown;
    tiles.style.setProperty("--columns", columns);
    tiles.style.setProperty("--ratio", columns / Math.ceil(shown.seeds.length / columns));
    while (tiles.children.length > shown.seeds.length) tiles.lastChild.remove();
    while (tiles.children.length < shown.seeds.length) tiles.append(newTile());
    const size = generator.resolution;
    shown.seeds.forEach((seed, index) => {
      const tile = tiles.children[index];
      const canvas = tile.firstChild;
      if (canvas.width !== size) canvas.width = canvas.height = size;
      const [left, top] = [(index % columns) * size, Math.floor(index / columns) * size];
      canvas.getContext("2d").drawImage(picture, left, top, size, size, 0, 0, size, size);
      tile.lastChild.textContent = `${seed}`;
      tile.dataset.seed = seed;
      tile.setAttribute("aria-label", `${described(seed, shown)}. ${state.count > 1 ? "Show this sample alone" : "Show several samples"}`);
      tile.title = state.count > 1 ? "Show this sample alone" : "Show several samples";
    });
    describe(shown);
  }

  function newTile() {
    const tile = document.createElement("button");
    tile.className = "tile";
    const label = document.createElement("span");
    label.className = "seed";
    tile.append(document.createElement("canvas"), label);
    tile.addEventListener("click", () => {
      state.seed = Number(tile.dataset.seed);
      state.count = state.count > 1 ? 1 : Math.max(2, several);
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

  function described(seed, shown) {
    const parts = [`Sample ${seed}`];
    if (generator.classes.length) parts.push(generator.classes[shown.class]);
    if (shown.layers) parts.push(layerText(shown.layers));
    return [...parts, ...moveTexts(shown.moves)].join(", ");
  }

  function describe(shown) {
    const last = shown.seeds.length - 1;
    const parts = [last ? `samples ${shown.seeds[0]}–${shown.seeds[last]}` : `sample ${shown.seeds[0]}`];
    if (generator.classes.length) parts.push(generator.classes[shown.class]);
    if (shown.truncation !== 1) parts.push(`truncation ${shown.truncation}`);
    if (shown.layers) parts.push(layerText(shown.layers));
    const caption = byId("caption");
    caption.textContent = [...parts, ...moveTexts(shown.moves)].join(" · ");
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
    if (!byId("class").hidden) byId("class").value = state.label;
    else if (document.activeElement !== byId("class-search")) byId("class-search").value = className(state.label);
    remember();
    paint();
  }

  function fill(slider, from, to) {
    slider.style.setProperty("--a", from);
    slider.style.setProperty("--b", to);
  }

  const className = (label) => (generator.classes.length ? `${label} ${generator.classes[label]}` : "");

  function setSeed(value) {
    const seed = Math.round(Number(value));
    state.seed = Number.isFinite(seed) ? Math.min(Math.max(seed, 0), generator.max_seed) : state.seed;
    settingsChanged();
  }

  function setUpSettings() {
    byId("seed").max = generator.max_seed;
    byId("seed").addEventListener("change", (event) => setSeed(event.target.value));
    byId("previous").addEventListener("click", () => setSeed(state.seed - state.count));
    byId("next").addEventListener("click", () => setSeed(state.seed + state.count));
    byId("count").addEventListener("change", (event) => {
      state.count = Number(event.target.value);
      settingsChanged();
    });
    byId("truncation").addEventListener("input", (event) => {
      state.truncation = Number(event.target.value);
      settingsChanged();
    });
    byId("truncation").addEventListener("dblclick", () => {
      state.truncation = file.truncation ?? 1;
      settingsChanged();
    });
    if (generator.classes.length) setUpClasses();
    if (generator.layers > 1) setUpLayers();
  }

  function setUpClasses() {
    byId("class-setting").hidden = false;
    if (generator.classes.length > 12) {
      byId("class-combo").hidden = false;
      byId("class-label").htmlFor = "class-search";
      setUpClassSearch();
      return;
    }
    const select = byId("class");
    select.hidden = false;
    generator.classes.forEach((name, index) => select.append(new Option(name, index)));
    select.addEventListener("change", () => {
      state.label = Number(select.value);
      settingsChanged();
    });
  }

  // A combobox after the ARIA pattern: type to search, arrows to choose, Enter to take, Escape to leave.
  function setUpClassSearch() {
    const input = byId("class-search");
    const options = byId("class-options");
    const plain = generator.classes.map((name, index) => `${index} ${name}`.toLowerCase());
    let chosen = 0;

    function close() {
      options.hidden = true;
      input.setAttribute("aria-expanded", "false");
      input.removeAttribute("aria-activedescendant");
      input.value = className(state.label);
    }

    function open(text) {
      const words = text.toLowerCase().split(/\s+/).filter(Boolean);
      const found = plain.map((_, index) => index).filter((index) => words.every((word) => plain[index].includes(word))).slice(0, 200);
      options.replaceChildren(...found.map((label) => {
        const option = document.createElement("li");
        option.id = `class-option-${label}`;
        option.role = "option";
        option.dataset.label = label;
        option.textContent = className(label);
        return option;
      }));
      if (!found.length) {
        const none = document.createElement("li");
        none.className = "none";
        none.textContent = "No class fits.";
        options.append(none);
      }
      options.hidden = false;
      input.setAttribute("aria-expanded", "true");
      choose(Math.max(0, found.indexOf(state.label)));
    }

    function choose(index) {
      const found = options.querySelectorAll("[data-label]");
      chosen = Math.min(Math.max(index, 0), found.length - 1);
      found.forEach((option, place) => option.setAttribute("aria-selected", String(place === chosen)));
      if (found.length) {
        input.setAttribute("aria-activedescendant", found[chosen].id);
        found[chosen].scrollIntoView({ block: "nearest" });
      }
    }

    function take(option) {
      if (option) state.label = Number(option.dataset.label);
      close();
      settingsChanged();
    }

    input.addEventListener("focus", () => {
      input.select();
      open("");
    });
    input.addEventListener("input", () => open(input.value));
    input.addEventListener("blur", close);
    input.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        if (options.hidden) open("");
        else choose(chosen + (event.key === "ArrowDown" ? 1 : -1));
      } else if (event.key === "Enter" && !options.hidden) {
        take(options.querySelectorAll("[data-label]")[chosen]);
      } else if (event.key === "Escape") {
        close();
      } else {
        return;
      }
      event.preventDefault();
      event.stopPropagation();
    });
    options.addEventListener("mousedown", (event) => {
      event.preventDefault(); // the field keeps the focus
      const option = event.target.closest("[data-label]");
      if (option) take(option);
    });
  }

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
    for (const end of [start, stop]) [end.min, end.max] = [0, number - 1];

    const preset = Object.keys(presets).find((name) => JSON.stringify(presets[name]) === JSON.stringify(state.layers));
    select.value = preset ?? "own";

    function show() {
      byId("layers-range").hidden = select.value !== "own";
      byId("layers-setting").classList.toggle("spread", select.value === "own");
      const [first, end] = state.layers ?? [0, number];
      [start.value, stop.value] = [first, end - 1];
    }
    select.addEventListener("change", () => {
      if (select.value !== "own") state.layers = presets[select.value];
      show();
      settingsChanged();
    });
    for (const end of [start, stop]) {
      end.addEventListener("change", () => {
        const within = (input) => Math.min(Math.max(Math.round(Number(input.value)) || 0, 0), number - 1);
        const [first, last] = [within(start), within(stop)];
        state.layers = end === start ? [first, Math.max(first, last) + 1] : [Math.min(first, last), last + 1];
        if (state.layers[0] === 0 && state.layers[1] === number) state.layers = null;
        show();
        settingsChanged();
      });
    }
    show();
  }

  function remember() {
    try {
      sessionStorage.setItem("directions", JSON.stringify({ ...state, of: file.directions.map((direction) => direction.id).sort() }));
    } catch { /* a browser without storage forgets on reload */ }
  }

  // What a reload finds again, if it is of the same directions and still makes sense.
  function recall() {
    state.truncation = file.truncation ?? 1;
    state.layers = layerRange(file.layers);
    if (Array.isArray(file.classes) && file.classes.length) state.label = file.classes[0];
    if (generator.resolution > 256) state.count = 1;
    try {
      const kept = JSON.parse(sessionStorage.getItem("directions"));
      const same = JSON.stringify(kept.of) === JSON.stringify(file.directions.map((direction) => direction.id).sort());
      if (!same || !(kept.count in columnsOf) || kept.label >= Math.max(1, generator.classes.length)) return;
      for (const key of Object.keys(state)) state[key] = kept[key] ?? state[key];
      if (kept.layers === null) state.layers = null;
    } catch { /* nothing was kept */ }
  }

  function layerRange(layers) {
    if (!layers || generator.layers < 2 || layers.length === generator.layers) return null;
    return [Math.min(...layers), Math.max(...layers) + 1];
  }

  // The list --------------------------------------------------------------------------------------------------------

  const rows = new Map(); // by id

  function amountOf(id) {
    return state.amounts[id] ?? 0;
  }

  function setAmount(id, amount) {
    const bounded = Math.min(Math.max(amount, -generator.max_amount), generator.max_amount);
    if (bounded === 0) delete state.amounts[id];
    else state.amounts[id] = bounded;
    showBefore(false);
    rows.get(id)?.showAmount();
    remember();
    paint();
  }

  function resetAll() {
    state.amounts = {};
    showBefore(false);
    for (const row of rows.values()) row.showAmount();
    remember();
    paint();
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
      name.setAttribute("aria-label", `Name of direction ${direction.index}`);
      slider.setAttribute("aria-label", called);
      value.setAttribute("aria-label", `Amount of ${called}`);
      part("handle").setAttribute("aria-label", `Move ${called} in the list: up and down arrow keys`);
      part("star").setAttribute("aria-label", `Star ${called}`);
      part("star").setAttribute("aria-pressed", String(direction.starred));
      part("more").setAttribute("aria-label", `Range, note and more of ${called}`);
      part("hide").textContent = direction.hidden ? "Show again" : "Hide";
      part("gif").setAttribute("aria-label", `Save a GIF of ${called}`);
      part("hide").setAttribute("aria-label", `${direction.hidden ? "Show" : "Hide"} ${called}`);
      item.classList.toggle("faded", direction.hidden);
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
    function reach() {
      return Math.min(direction.path_size, generator.max_amount);
    }

    function showAmount() {
      const amount = amountOf(id);
      slider.value = amount;
      slider.setAttribute("aria-valuetext", signed(amount));
      if (document.activeElement !== value) value.value = amount.toFixed(2);
      const place = Math.min(Math.max(0.5 + amount / reach() / 2, 0), 1);
      fill(slider, Math.min(0.5, place), Math.max(0.5, place));
      item.classList.toggle("moved", amount !== 0);
    }

    function problem(text, field) {
      part("problem").textContent = text;
      part("problem").hidden = !text;
      for (const input of [name, range, note]) input.removeAttribute("aria-invalid");
      if (text && field) field.setAttribute("aria-invalid", "true");
    }

    async function write(changes, field, said) {
      try {
        const next = await (await ask("/api/change", { id, ...changes })).json();
        problem("");
        apply(next);
        fine();
        say(said);
      } catch (error) {
        if (error instanceof Refused && error.status === 400) problem(error.message, field);
        else trouble(error);
      }
    }

    // The slider: its own rounding, a rest in the middle, and keys that go by the path size.
    slider.addEventListener("input", () => {
      const amount = Number(slider.value);
      setAmount(id, Math.abs(amount) < reach() * 0.02 ? 0 : Math.round(amount * 100) / 100);
    });
    slider.addEventListener("dblclick", () => setAmount(id, 0));
    slider.addEventListener("keydown", (event) => {
      const size = reach();
      const step = event.shiftKey ? size / 5 : size / 50;
      const within = (amount) => Math.round(Math.min(Math.max(amount, -size), size) * 100) / 100;
      const to = {
        ArrowLeft: amountOf(id) - step, ArrowDown: amountOf(id) - step, ArrowRight: amountOf(id) + step, ArrowUp: amountOf(id) + step,
        PageDown: amountOf(id) - size / 5, PageUp: amountOf(id) + size / 5, Home: -size, End: size, 0: 0, Delete: 0, Backspace: 0,
      }[event.key];
      if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      setAmount(id, within(to));
    });
    value.addEventListener("input", () => {
      const amount = value.valueAsNumber;
      if (Number.isFinite(amount)) setAmount(id, amount);
    });
    value.addEventListener("blur", showAmount);
    value.addEventListener("dblclick", () => {
      value.blur();
      setAmount(id, 0);
    });

    // What is written into the file.
    name.addEventListener("change", () => write({ name: name.value }, name, "Name saved"));
    range.addEventListener("change", () => {
      if (Number.isFinite(range.valueAsNumber)) write({ path_size: range.valueAsNumber }, range, "Range saved");
      else {
        range.value = rounded(direction.path_size);
        problem("");
      }
    });
    note.addEventListener("change", () => write({ note: note.value }, note, "Note saved"));
    part("star").addEventListener("click", () => write({ starred: !direction.starred }, null, direction.starred ? "Star removed" : "Starred"));
    part("hide").addEventListener("click", () => write({ hidden: !direction.hidden }, null, direction.hidden ? "Shown again" : "Hidden: Show hidden brings it back"));
    for (const [field, last] of [[name, () => direction.name], [range, () => rounded(direction.path_size)], [value, null]]) {
      field.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && last) {
          field.value = last();
          problem("");
        }
        if (event.key === "Enter" || event.key === "Escape") field.blur();
      });
    }
    part("gif").addEventListener("click", () => saveGif(direction, part("gif")));
    part("more").addEventListener("click", () => {
      const open = part("details").hidden;
      part("details").hidden = !open;
      part("more").setAttribute("aria-expanded", String(open));
    });
    setUpMoving(item, part("handle"));
    return { item, show, showAmount };
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
        for (const direction of [-1, 1]) {
          for (;;) {
            const others = visible();
            const other = others[others.indexOf(item) + direction];
            if (!other) break;
            const box = other.getBoundingClientRect();
            if ((to.clientY - (box.top + box.height / 2)) * direction < 0) break;
            pass(direction);
            changed = true;
          }
        }
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
      apply(await (await ask("/api/change", { order })).json());
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
        row.item.remove();
        rows.delete(id);
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
    byId("undo").disabled = file.last_change === null;
    byId("undo").title = file.last_change === null ? "Nothing to undo" : `Undo: ${file.last_change}`;
    filter();
  }

  function filter() {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const direction of file.directions) {
      const text = `${direction.index} ${direction.name} ${direction.note}`.toLowerCase();
      const fits = words.every((word) => text.includes(word)) && (!state.starred || direction.starred) && (!direction.hidden || state.showHidden);
      rows.get(direction.id).item.hidden = !fits;
      shown += fits;
    }
    byId("nothing").hidden = shown > 0;
    const hidden = file.directions.filter((direction) => direction.hidden).length;
    byId("hidden-count").textContent = hidden ? `(${hidden})` : "";
  }

  async function refresh() {
    try {
      const next = await (await ask("/api/file")).json();
      if (!file || next.revision !== file.revision) {
        apply(next);
        paint();
      }
    } catch (error) {
      trouble(error);
    }
  }

  function setUpList() {
    byId("only-starred").checked = state.starred;
    byId("show-hidden").checked = state.showHidden;
    byId("search").addEventListener("input", filter);
    for (const [id, key] of [["only-starred", "starred"], ["show-hidden", "showHidden"]]) {
      byId(id).addEventListener("change", (event) => {
        state[key] = event.target.checked;
        remember();
        filter();
      });
    }
    byId("undo").addEventListener("click", async () => {
      const change = file.last_change;
      try {
        apply(await (await ask("/api/change", { undo: true })).json());
        say(`Undone: ${change}`);
        paint();
      } catch (error) {
        trouble(error);
      }
    });
    // Another tab, or the command line, may have written on the file.
    window.addEventListener("focus", refresh);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
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
    let pressed = 0;
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      button.setPointerCapture(event.pointerId);
      pressed = before ? 0 : performance.now();
      if (pressed) showBefore(true);
      button.addEventListener("lostpointercapture", () => {
        if (pressed && performance.now() - pressed > 350) showBefore(false); // it was held
        if (!pressed) showBefore(false);
      }, { once: true });
    });
    button.addEventListener("keydown", (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      if (!event.repeat) showBefore(!before);
    });
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

  const fileName = (name) => name.replace(/[^\p{L}\p{N}+_-]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "direction";

  async function savePicture() {
    try {
      const shown = { ...view(before ? {} : undefined), columns: columnsOf[state.count], format: "png" };
      const response = await ask("/api/image", { ...shown, client: `${client}-save`, number: ++asked });
      download(await response.blob(), `sample-${state.seed}.png`);
      say("Picture saved");
    } catch (error) {
      trouble(error);
    }
  }

  async function saveGif(direction, button) {
    button.disabled = true;
    button.textContent = "Making the GIF …";
    try {
      const response = await ask("/api/animation", { ...view(), direction: direction.id });
      download(await response.blob(), `${fileName(direction.name)}.gif`);
      say("GIF saved");
    } catch (error) {
      trouble(error);
    }
    button.disabled = false;
    button.textContent = "Save GIF";
  }

  async function showPython() {
    try {
      const answer = await (await ask("/api/python", view(before ? {} : undefined))).json();
      byId("python-code").textContent = answer.python;
      byId("python-dialog").showModal();
      await copyPython();
    } catch (error) {
      trouble(error);
    }
  }

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
    let chosen = "";
    try { chosen = localStorage.getItem("directions-colours") ?? ""; } catch { /* no storage */ }
    function show() {
      if (!(chosen in names)) chosen = "";
      if (chosen) document.documentElement.dataset.theme = chosen;
      else delete document.documentElement.dataset.theme;
      byId("theme").setAttribute("aria-label", `Colours: ${names[chosen]}`);
      byId("theme").title = `Colours: ${names[chosen]}`;
    }
    byId("theme").addEventListener("click", () => {
      const order = Object.keys(names);
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
    try {
      [generator, file] = await Promise.all(["/api/generator", "/api/file"].map(async (path) => (await ask(path)).json()));
    } catch (error) {
      trouble(error);
      return;
    }
    recall();
    byId("method").textContent = ` · found by ${file.method}`;
    setUpSettings();
    setUpList();
    setUpActions();
    setUpKeys();
    apply(file);
    settingsChanged();
  }

  start();
})();
