// SPDX-License-Identifier: Apache-2.0
// main.js - begins. It asks for ../status as long as somebody looks, shows what it says,
// and says so where it cannot be had: what is shown then is old.

import {byId, setText} from "./dom.js";
import * as format from "./format.js";
import {drawGraph} from "./graph.js";
import {startImage} from "./image.js";
import {Poll, explain} from "./poll.js";
import {Track, readStatus} from "./snapshots.js";
import {showTransfers} from "./transfers.js";

const track = new Track();
let answered = null; // the last time, in ms since 1970, here; null: never
let failingSince = null; // the same

function onAnswer(data) {
    const status = readStatus(data);
    const running = status.transfers.length;

    if (failingSince !== null)
        setText(byId("said"), "The server answers again.");
    failingSince = null;
    answered = Date.now();
    byId("trouble").hidden = true;
    document.body.classList.remove("stale");
    track.take(status);
    showTransfers(status, track);
    drawGraph(track.samples);
    document.title = running ? `(${running}) Transfers` : "Transfers";
}

// A reader who cannot see is told once; how long it lasts is no news.
function onFailure(error, wait) {
    const now = Date.now();

    failingSince ??= answered ?? now;
    const said = "The server's numbers cannot be had since " +
        `${format.clock(failingSince)}: ${explain(error)}.`;
    setText(byId("trouble-said"), said);
    setText(byId("said"), said);
    setText(byId("trouble-more"), (now - failingSince >= 1000 ?
        `That is ${format.duration(now - failingSince)}. ` : "") +
        "What is shown is from before. " +
        `The next try is in ${format.duration(wait)}.`);
    byId("trouble").hidden = false;
    document.body.classList.add("stale");
    document.title = "(no answer) Transfers";
}

new Poll("../status", {onAnswer, onFailure});
startImage();
