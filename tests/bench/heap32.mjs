// SPDX-License-Identifier: MIT
// Heap of Python on a 32-bit MicroPython, whose objects are as large as an ESP32's.
//
//     node heap32.mjs MICROPYTHON.mjs FOLDER STEPS.json
//
// FOLDER becomes its file system's /slot. Answers [heap in use, names, bytes of their text, bytes
// of text and tables] before the first step and after each.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [module, folder, steps] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(module).href);
const lines = [];
const board = await loadMicroPython({ heapsize: 512 * 1024, stdout: (line) => lines.push(line) });

function copy(from, to) {
  board.FS.mkdirTree(to);
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const source = path.join(from, entry.name);
    if (entry.isDirectory()) copy(source, `${to}/${entry.name}`);
    else board.FS.writeFile(`${to}/${entry.name}`, fs.readFileSync(source));
  }
}

function run(code) {
  try {
    board.runPython(code);
  } catch (error) {
    console.error(String(error.message));
    process.exit(1);
  }
}

copy(folder, "/slot");
run("import gc, micropython, sys\nsys.path.insert(0, '/slot')\nfound = 0\n");
const found = [];

// Each in a run of its own: what the one before has left on the stack is then gone.
function measure() {
  run("gc.collect(); gc.collect()");
  run("found = gc.mem_alloc(); micropython.qstr_info(); print(found)");
  const [, ...numbers] = lines.at(-2).match(/n_qstr=(\d+), n_str_data_bytes=(\d+), n_total_bytes=(\d+)/);
  found.push([Number(lines.at(-1)), ...numbers.map(Number)]);
}

measure();
for (const step of JSON.parse(fs.readFileSync(steps, "utf8"))) {
  run(step);
  measure();
}
console.log(JSON.stringify(found));
