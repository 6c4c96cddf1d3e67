"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const by = (id) => document.getElementById(id);
  const list = by("cards"), dialog = by("detail"), slider = by("slider"), samples = by("samples"), play = by("play");
  const items = new Map([...list.children].map((item) => [Number(item.firstElementChild.dataset.index), item]));
  const directions = new Map(data.directions.map((direction) => [direction.index, direction]));
  const steps = data.places.length, middle = Math.floor((steps - 1) / 2);
  const stillMedia = matchMedia("(prefers-reduced-motion: reduce)");

  // Cards: search, stars, order, motion.
  const orders = {
    activeness: (a, b) => (b.activeness ?? -1) - (a.activeness ?? -1) || a.place - b.place,
    file: (a, b) => a.place - b.place,
    name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }),
    size: (a, b) => b.size - a.size || a.place - b.place,
  };
  const fold = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const texts = new Map(data.directions.map((d) => [d.index, fold(`${d.index} ${d.name} ${d.note}`)]));
  const stars = by("stars");
  let shown = data.directions;
  function arrange() {
    const words = fold(by("search").value).split(/\s+/).filter(Boolean);
    const starred = stars !== null && stars.getAttribute("aria-pressed") === "true";
    const sorted = [...data.directions].sort(orders[by("order").value]);
    shown = sorted.filter((d) => (!starred || d.starred) && words.every((word) => texts.get(d.index).includes(word)));
    for (const item of items.values()) item.hidden = true;
    for (const d of shown) { items.get(d.index).hidden = false; list.append(items.get(d.index)); }
    by("found").textContent = shown.length === data.directions.length ? ""
      : shown.length ? `${shown.length} of ${data.directions.length}` : "No direction has this in its name or note.";
  }
  by("search").addEventListener("input", arrange);
  by("order").addEventListener("change", arrange);
  stars?.addEventListener("click", () => {
    stars.setAttribute("aria-pressed", String(stars.getAttribute("aria-pressed") !== "true"));
    arrange();
  });
  let still = stillMedia.matches;
  function move() {
    for (const source of list.querySelectorAll("source")) source.media = still ? "all" : "not all";
    by("motion").textContent = still ? "Play" : "Pause";
    by("motion").setAttribute("aria-pressed", String(still));
  }
  by("motion").addEventListener("click", () => { still = !still; move(); });
  stillMedia.addEventListener("change", () => { still = stillMedia.matches; move(); });

  // One direction: all samples, at the place of the slider.
  const canvases = data.samples.map((caption, number) => {
    const figure = document.createElement("figure"), canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [data.tile, data.tile];
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Sample ${number + 1}${caption ? `, ${caption}` : ""}`);
    figure.append(canvas);
    if (caption) {
      const text = document.createElement("figcaption");
      text.textContent = caption;
      figure.append(text);
    }
    samples.append(figure);
    return canvas.getContext("2d");
  });
  function fit() {
    // As large as the window has room for, with whole rows of images.
    const room = dialog.clientWidth - 2 * parseFloat(getComputedStyle(dialog).paddingLeft);
    const high = Math.max(140, innerHeight - (innerWidth <= 640 ? 260 : 300)), count = canvases.length;
    let best = 0, across = 1;
    for (let columns = 1; columns <= count; columns++) {
      const size = Math.min((room - 12 * (columns - 1)) / columns, high / Math.ceil(count / columns) - 36, 512);
      if (size > best) [best, across] = [size, columns];
    }
    samples.style.gridTemplateColumns = `repeat(${across}, ${Math.max(64, Math.floor(best))}px)`;
  }
  let current = null, frames = [], playing = 0;
  const sign = (value) => (Math.abs(value) < 5e-5 ? "0" : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`);
  function draw() {
    const wanted = slider.valueAsNumber, ready = (k) => frames[k] && frames[k].complete && frames[k].naturalWidth > 0;
    const amount = sign(data.places[wanted] * current.size);
    by("amount").value = amount;
    slider.setAttribute("aria-valuetext", amount);
    // Until it is loaded, the nearest frame that is.
    for (let away = 0; away < steps; away++) {
      const k = ready(wanted - away) ? wanted - away : ready(wanted + away) ? wanted + away : -1;
      if (k < 0) continue;
      samples.dataset.place = k;
      canvases.forEach((canvas, number) => {
        canvas.drawImage(frames[k], number * data.tile, 0, data.tile, data.tile, 0, 0, data.tile, data.tile);
      });
      return;
    }
  }
  function load() {
    const outwards = [...Array(steps).keys()].sort((a, b) => Math.abs(a - middle) - Math.abs(b - middle));
    frames = [];
    for (const k of outwards) {
      const image = new Image(), mine = current;
      image.onload = () => { if (mine === current) draw(); };
      image.src = `${current.pictures[2]}/${String(k).padStart(3, "0")}.webp`;
      frames[k] = image;
    }
  }
  function open(direction) {
    pause();
    current = direction;
    by("detail-name").firstElementChild.textContent = direction.name;
    by("detail-facts").replaceChildren(...[`direction ${direction.index}`, ...direction.numbers.map((number) => number.join(" "))].map((fact) => {
      const part = document.createElement("span");
      part.textContent = fact;
      return part;
    }));
    by("detail-note").firstElementChild.textContent = direction.note;
    by("detail-note").hidden = !direction.note;
    [slider.max, slider.value] = [steps - 1, middle];
    [by("low").textContent, by("high").textContent] = [sign(-direction.size), sign(direction.size)];
    for (const canvas of canvases) canvas.clearRect(0, 0, data.tile, data.tile);
    delete samples.dataset.place;
    if (!dialog.open) dialog.showModal();
    fit();
    load();
    draw();
    slider.focus();
    try { history.replaceState(null, "", `#${direction.index}`); } catch { /* some browsers refuse it on file: */ }
  }
  function step(by_) {
    const among = shown.includes(current) ? shown : data.directions;
    open(among[(among.indexOf(current) + by_ + among.length) % among.length]);
  }
  function pause() {
    cancelAnimationFrame(playing);
    playing = 0;
    play.setAttribute("aria-pressed", "false");
    play.setAttribute("aria-label", "Play");
    play.textContent = "▶";
  }
  function start() {
    play.setAttribute("aria-pressed", "true");
    play.setAttribute("aria-label", "Pause");
    play.textContent = "❚❚";
    // From where the slider is: the place of time t is −cos(πt), or a zigzag.
    const from = data.places[slider.valueAsNumber];
    const offset = data.motion === "smooth" ? Math.acos(-from) / Math.PI : (from + 1) / 2;
    let began = null;
    const tick = (now) => {
      began ??= now;
      const time = (offset + (now - began) / 1000 / data.seconds) % 2, way = time < 1 ? time : 2 - time;
      const place = data.motion === "smooth" ? -Math.cos(Math.PI * way) : 2 * way - 1;
      slider.value = Math.round(((place + 1) / 2) * (steps - 1));
      draw();
      playing = requestAnimationFrame(tick);
    };
    playing = requestAnimationFrame(tick);
  }
  list.addEventListener("click", (event) => {
    const card = event.target.closest(".card");
    if (card) open(directions.get(Number(card.dataset.index)));
  });
  slider.addEventListener("input", () => { pause(); draw(); });
  play.addEventListener("click", () => (playing ? pause() : start()));
  by("previous").addEventListener("click", () => step(-1));
  by("next").addEventListener("click", () => step(1));
  by("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    pause();
    items.get(current.index).firstElementChild.focus();
    try { history.replaceState(null, "", location.pathname); } catch { /* as above */ }
  });
  addEventListener("resize", () => { if (dialog.open) fit(); });

  // Keys.
  function neighbour(card, key) {
    const cards = shown.map((d) => items.get(d.index).firstElementChild), at = cards.indexOf(card);
    if (at < 0) return cards[0];
    if (key === "ArrowLeft") return cards[at - 1];
    if (key === "ArrowRight") return cards[at + 1];
    const across = cards.findIndex((other) => other.offsetTop > cards[0].offsetTop);
    return cards[at + (key === "ArrowUp" ? -1 : 1) * (across < 0 ? cards.length : across)];
  }
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (dialog.open) {
      if (event.key === "ArrowUp" || event.key === "ArrowDown") step(event.key === "ArrowUp" ? -1 : 1);
      else if (event.key === " " && event.target.tagName !== "BUTTON") play.click();
      else if ((event.key === "ArrowLeft" || event.key === "ArrowRight") && event.target !== slider) {
        slider.focus();
        slider.valueAsNumber += event.key === "ArrowLeft" ? -1 : 1;
        slider.dispatchEvent(new Event("input"));
      } else return;
    } else if (event.key === "/" && event.target !== by("search")) {
      by("search").focus();
      by("search").select();
    } else if (event.key === "Escape" && event.target === by("search")) {
      by("search").value = "";
      arrange();
    } else if (event.key.startsWith("Arrow") && !["INPUT", "SELECT"].includes(event.target.tagName)) {
      const next = neighbour(event.target.closest?.(".card"), event.key);
      if (!next) return;
      next.focus();
    } else if (event.key === "ArrowDown" && event.target === by("search") && shown.length) {
      items.get(shown[0].index).firstElementChild.focus();
    } else return;
    event.preventDefault();
  });

  move();
  arrange();
  const linked = directions.get(Number(location.hash.slice(1)));
  if (location.hash.length > 1 && linked) open(linked);
})();
