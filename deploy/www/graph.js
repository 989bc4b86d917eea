// SPDX-License-Identifier: Apache-2.0
// graph.js - the rates of the last minutes as two lines. Where the page did not look
// (it was hidden, or the server away) the lines have a gap.

import {byId, setAttribute, setText} from "./dom.js";
import * as format from "./format.js";
import {SAMPLES_MS, roundUp} from "./snapshots.js";

const WIDTH = 300; // of the viewBox
const HEIGHT = 60;
const GAP_MS = 10000;

function pieces(samples) {
    const result = [];

    for (const [i, sample] of samples.entries()) {
        if (i === 0 || sample.at - samples[i - 1].at > GAP_MS)
            result.push([]);
        result.at(-1).push(sample);
    }
    return result;
}

export function drawGraph(samples) {
    const end = samples.at(-1)?.at ?? 0;
    const highest = Math.max(0, ...samples.flatMap((s) => [s.read, s.write]));
    const top = roundUp(highest);
    const x = (s) => (WIDTH * (1 - (end - s.at) / SAMPLES_MS)).toFixed(2);
    const y = (value) => ((HEIGHT - 1) * (1 - value / top) + 0.5).toFixed(2);
    const line = (piece, name) =>
        "M" + piece.map((s) => `${x(s)} ${y(s[name])}`).join("L");
    const parts = pieces(samples);

    byId("graph-read").setAttribute("d",
        parts.map((piece) => line(piece, "read")).join(""));
    byId("graph-write").setAttribute("d",
        parts.map((piece) => line(piece, "write")).join(""));
    byId("graph-area").setAttribute("d", parts
        .map((piece) => `${line(piece, "read")}V${HEIGHT}H${x(piece[0])}Z`)
        .join(""));
    setText(byId("graph-top"), format.rate(top));
    setAttribute(byId("graph"), "aria-label", "Rates of the last 5 minutes: at " +
        `most ${format.rate(Math.max(0, ...samples.map((s) => s.read)))} read, ` +
        `${format.rate(Math.max(0, ...samples.map((s) => s.write)))} written`);
}
