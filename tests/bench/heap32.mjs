// SPDX-License-Identifier: MIT
// Heap of Python on a 32-bit MicroPython, whose objects are as large as an ESP32's.
//
//     node heap32.mjs MICROPYTHON.mjs FOLDER STEPS.json
//
// FOLDER becomes its file system's /slot-a. Answers [heap in use, names, bytes of their text, bytes
// of text and tables] before the first step and after each.
//
// The collector takes what looks like an address for one, and keeps what would lie there. So the
// steps are run on several boards, in whose heaps all lies elsewhere: the least is what is in use.

import fs from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [module, folder, steps] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(module).href);
const SHIFTS = [0, 1, 3, 7, 64]; // blocks of the heap
const BLOCK = 16;

function copy(board, from, to) {
  board.FS.mkdirTree(to);
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const source = path.join(from, entry.name);
    if (entry.isDirectory()) copy(board, source, `${to}/${entry.name}`);
    else board.FS.writeFile(`${to}/${entry.name}`, fs.readFileSync(source));
  }
}

function run(board, code) {
  try {
    board.runPython(code);
  } catch (error) {
    console.error(String(error.message));
    process.exit(1);
  }
}

async function measured(shift) {
  const lines = [];
  const board = await loadMicroPython({
    heapsize: 512 * 1024,
    stdout: (line) => lines.push(line),
  });
  copy(board, folder, "/slot-a");
  board.FS.mkdirTree("/fl");
  run(board, "import gc, micropython, sys\nsys.path.insert(0, '/slot-a')\nfound = 0\n");
  run(board, `shift = bytearray(${shift * BLOCK})`);
  const found = [];
  // Each in a run of its own: what the one before has left on the stack is then gone.
  const measure = () => {
    run(board, "gc.collect(); gc.collect()");
    run(board, "found = gc.mem_alloc(); micropython.qstr_info(); print(found)");
    const [, ...names] = lines
      .at(-2)
      .match(/n_qstr=(\d+), n_str_data_bytes=(\d+), n_total_bytes=(\d+)/);
    found.push([Number(lines.at(-1)) - shift * BLOCK, ...names.map(Number)]);
  };
  measure();
  for (const step of JSON.parse(fs.readFileSync(steps, "utf8"))) {
    run(board, step);
    measure();
  }
  return found;
}

let least;
for (const shift of SHIFTS) {
  const found = await measured(shift);
  least = (least ?? found).map(([heap, ...names], step) => [
    Math.min(heap, found[step][0]),
    ...names,
  ]);
}
console.log(JSON.stringify(least));
