// What pages gain where there is script: lines to copy, figures that move, a listing that follows the slider, uploads that
// show how far they are and go on after a break.

const units = ["B", "KiB", "MiB", "GiB", "TiB"];

function size(bytes) {
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${bytes.toFixed(unit > 0 ? 1 : 0)} ${units[unit]}`;
}

function copyable(code) {
  if (!navigator.clipboard) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy ${code.textContent}`);
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  code.after(button);
}

// A menu closes when another is opened, and with Escape.
function menus() {
  const all = [...document.querySelectorAll("details.menu")];
  for (const menu of all) {
    menu.addEventListener("toggle", () => {
      if (menu.open) all.filter((other) => other !== menu).forEach((other) => { other.open = false; });
    });
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && menu.open) {
        menu.open = false;
        menu.querySelector("summary").focus();
      }
    });
  }
}

const POINTS = 60;

function line(values, most) {
  return values.map((value, at) => `${(at * 300) / (POINTS - 1)},${58 - (value * 56) / most}`).join(" ");
}

function traffic(place) {
  const [ins, outs] = [[], []];
  let last = null;
  const show = (pulse) => {
    place.querySelector("[data-connections]").textContent = pulse.connections;
    place.querySelector("[data-opens]").textContent = pulse.opens;
    const now = performance.now();
    if (last) {
      const seconds = (now - last.now) / 1000;
      const rates = [pulse.received - last.pulse.received, pulse.sent - last.pulse.sent].map((bytes) => Math.max(0, bytes / seconds));
      ins.push(rates[0]);
      outs.push(rates[1]);
      if (ins.length > POINTS) { ins.shift(); outs.shift(); }
      const most = Math.max(1024, ...ins, ...outs);
      place.querySelector("polyline.in").setAttribute("points", line(ins, most));
      place.querySelector("polyline.out").setAttribute("points", line(outs, most));
      place.querySelector("[data-in]").textContent = `${size(rates[0])}/s`;
      place.querySelector("[data-out]").textContent = `${size(rates[1])}/s`;
    }
    last = { now, pulse };
  };
  const events = new EventSource(place.dataset.events);
  events.addEventListener("pulse", (event) => show(JSON.parse(event.data)));
  addEventListener("pagehide", () => events.close());
}

function slider(form) {
  const range = form.querySelector("input[type=range]");
  const output = form.querySelector("output");
  const now = Number(range.dataset.now);
  let asked = 0;
  const words = (seconds) => {
    if (seconds >= now) return "now";
    const time = new Date(seconds * 1000);
    const two = (number) => String(number).padStart(2, "0");
    return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  };
  const address = () => {
    const to = new URL(form.action);
    to.searchParams.set("path", form.querySelector("input[name=path]").value);
    if (Number(range.value) < now) to.searchParams.set("at_s", range.value);
    return to;
  };
  const load = async () => {
    const mine = ++asked;
    const listing = document.getElementById("listing");
    listing.classList.add("loading");
    const to = address();
    const answer = await fetch(to);
    if (mine !== asked) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("listing");
    listing.classList.remove("loading");
    if (fresh) {
      listing.replaceChildren(...fresh.childNodes);
      history.replaceState(null, "", to);
    }
  };
  let wait = null;
  range.addEventListener("input", () => {
    output.textContent = words(Number(range.value));
    range.setAttribute("aria-valuetext", output.textContent);
    clearTimeout(wait);
    wait = setTimeout(load, 120);
  });
}

const ATTEMPTS = 5;

function put(url, file, csrf, offset, progress) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    request.setRequestHeader("x-csrf-token", csrf);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => progress(offset + event.loaded));
    request.addEventListener("load", () => resolve({ status: request.status, text: request.responseText }));
    request.addEventListener("error", () => resolve({ status: 0, text: "" }));
    request.send(file.slice(offset));
  });
}

async function arrived(path) {
  const answer = await fetch(`/api/v1/files/upload?path=${encodeURIComponent(path)}`);
  return answer.ok ? (await answer.json()).bytes : 0;
}

function why(answer) {
  try {
    return JSON.parse(answer.text).detail;
  } catch {
    return "the connection was lost";
  }
}

async function upload(file, folder, form, list) {
  const item = document.createElement("li");
  const bar = document.createElement("progress");
  bar.max = Math.max(1, file.size);
  bar.value = 0;
  const said = document.createElement("span");
  item.append(document.createTextNode(`${file.name} `), bar, said);
  list.append(item);
  const path = `${folder}/${file.name}`;
  const replace = form.querySelector("input[name=replace]").checked;
  let offset = 0;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const url = `/api/v1/files/content?path=${encodeURIComponent(path)}&offset=${offset}&replace=${replace}`;
    const answer = await put(url, file, form.dataset.csrf, offset, (bytes) => {
      bar.value = bytes;
      said.textContent = ` ${size(bytes)} of ${size(file.size)}`;
    });
    if (answer.status === 200) {
      said.textContent = " is there";
      return true;
    }
    if (answer.status !== 0) {
      said.textContent = ` was not taken: ${why(answer)}`;
      return false;
    }
    said.textContent = " was interrupted; it goes on";
    await new Promise((go) => { setTimeout(go, 1000 * 2 ** attempt); });
    offset = Math.min(await arrived(path).catch(() => 0), file.size);
  }
  said.textContent = " did not get through";
  return false;
}

function uploads(form) {
  const input = form.querySelector("input[type=file]");
  const list = form.querySelector(".uploads");
  const drop = form.querySelector(".drop");
  const all = async (files) => {
    let good = true;
    for (const file of files) good = await upload(file, form.dataset.upload, form, list) && good;
    if (good && files.length > 0) location.reload();
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    all([...input.files]);
  });
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    all([...event.dataTransfer.files]);
  });
}

document.querySelectorAll("[data-copy]").forEach(copyable);
document.querySelectorAll("[data-traffic]").forEach(traffic);
menus();
document.querySelectorAll("[data-slider]").forEach(slider);
document.querySelectorAll("[data-upload]").forEach(uploads);
