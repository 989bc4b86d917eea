// SPDX-License-Identifier: Apache-2.0
// image.js - the image that the reader has chosen: its form, its map with totals, its
// transfers. Id and token are passwords: they are in the form and in requests, and
// nowhere else. The list of extents is asked for when the reader says so, and never
// by itself: it is in the way of who writes to the image.

import {byId, element, setText} from "./dom.js";
import {KINDS, readExtents} from "./extents.js";
import * as format from "./format.js";
import {ExtentMap, namesOf} from "./map.js";
import {Poll, Refusal, ask, explain} from "./poll.js";
import {WRITES, fraction, leftMs, readTransfers} from "./snapshots.js";

// A list of 100,000 extents has 6 MB. Beyond this a browser has no joy any more.
const LIST_BYTES_MOST = 256 * 1024 * 1024;

const map = new ExtentMap();
let poll = null; // of the image's status
let reading = null; // AbortController of the request for the list
let insisted = null; // the id whose map is wanted although it is written to

function say(text, isBad = false) {
    setText(byId("map-said"), text);
    byId("map-said").classList.toggle("bad", isBad);
}

// What is no id for the server either, or would be another address.
function faultOf(id, token) {
    if (id === "" || id.startsWith(".") || /[/\\\p{Cc}]/u.test(id))
        return "This is no image id: paste the last part of the image's address.";
    if (!/^[!-~]*$/.test(token))
        return "This is no token: it has printable ASCII only, and no spaces.";
    return null;
}

function explainImage(error, isDirty) {
    if (!(error instanceof Refusal))
        return `The map cannot be had: ${explain(error)}.`;
    if (error.status === 401)
        return "This image asks for a bearer token, or this is not its token.";
    if (error.status === 404)
        return "There is no such image, or its ticket has ended.";
    if (error.status === 409)
        return "The image is being written to: try again later.";
    return `The server answers ${error.message}.`;
}

// The text of an answer, with its size as it comes.
async function textOf(response) {
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    const pieces = [];
    let bytes = 0;

    for (;;) {
        const {done, value} = await reader.read();
        if (done)
            break;
        bytes += value.length;
        if (bytes > LIST_BYTES_MOST) {
            await reader.cancel();
            throw new Error("it has more extents than can be drawn here");
        }
        pieces.push(decoder.decode(value, {stream: true}));
    }
    return pieces.join("") + decoder.decode();
}

function totalRow(name, kind, bytes, size, counts) {
    const row = element("tr", "");
    const head = element("th", "");

    head.scope = "row";
    if (kind !== null)
        head.append(element("span", `swatch kind-${kind}`), " ");
    head.append(name);
    row.append(head,
        element("td", "n", format.percent(bytes, size)),
        element("td", "n", format.size(bytes)),
        element("td", "n", format.exact(bytes)),
        element("td", "n", format.exact(counts)));
    return row;
}

function showTotals(extents) {
    const names = namesOf(extents);
    const body = byId("totals").tBodies[0];
    const kinds = [2, 3, 0, 1].filter((kind) => kind in names && kind < KINDS);

    body.replaceChildren(
        ...kinds.map((kind) => totalRow(names[kind], kind, extents.bytes[kind],
            extents.size, extents.counts[kind])),
        totalRow("all", null, extents.size, extents.size, extents.kind.length));
}

function showMap(extents) {
    byId("map-card").hidden = false;
    map.show(extents);
    showTotals(extents);
    say(`The map as of ${format.clock(Date.now())}: ` +
        `${format.count(extents.kind.length, "extent")}, ` +
        `${format.size(extents.size)}.` +
        (extents.isDirty && extents.bytes[0] + extents.bytes[1] === 0 ?
            " All of it counts as changed: is there a bitmap in its ticket?" : ""));
}

function showTransfers(transfers) {
    map.showHeads(transfers
        .filter((one) => one.total !== null)
        .map((one) => one.operation === "extents" ?
            one.done : one.offset + one.done));
    const lines = transfers.map((one) => [
        `${one.method} ${one.operation}`,
        format.range(one.offset, one.total),
        fraction(one) === null ? format.size(one.done) :
            format.percent(one.done, one.total),
        format.rate(one.rate),
        `${format.duration(leftMs(one))} left`,
    ].join(" · "));
    const list = byId("map-transfers");
    while (list.children.length > lines.length)
        list.lastElementChild.remove();
    while (list.children.length < lines.length)
        list.append(element("li", ""));
    lines.forEach((line, i) => setText(list.children[i], line));
}

const asTransfers = (data) =>
    readTransfers(Array.isArray(data?.transfers) ? data.transfers : []);

function leave() {
    poll?.stop();
    poll = null;
    reading?.abort();
    reading = null;
    byId("map-card").hidden = true;
    showTransfers([]);
}

function follow(url, headers) {
    poll = new Poll(url, {
        headers,
        onAnswer: (data) => showTransfers(asTransfers(data)),
        onFailure: (error) => {
            showTransfers([]);
            if (error instanceof Refusal &&
                [401, 404].includes(error.status)) {
                poll.stop();
                say(`${explainImage(error)} The map is from before.`, true);
            }
        },
    });
}

async function read(id, token, isDirty) {
    const at = `../images/${encodeURIComponent(id)}`;
    const headers = token ? {Authorization: `Bearer ${token}`} : {};
    const abort = new AbortController();
    const options = {headers, signal: abort.signal};

    leave();
    reading = abort;
    say("Asking the server …");
    try {
        const status = await ask(`${at}/status`, options);
        const transfers = asTransfers(await status.json());
        if (insisted !== id &&
            transfers.some((one) => WRITES.includes(one.operation))) {
            insisted = id;
            say("The image is being written to. Reading its map now may have its " +
                "writer refused: press the button once more if that is all right.",
            true);
            return;
        }
        insisted = null;
        const list = await ask(
            `${at}/extents?context=${isDirty ? "dirty" : "zero"}`, options);
        const extents = readExtents(await textOf(list));
        if (reading !== abort)
            return;
        showMap(extents);
        follow(`${at}/status`, headers);
    } catch (error) {
        if (reading === abort)
            say(explainImage(error), true);
    } finally {
        if (reading === abort)
            reading = null;
    }
}

export function startImage() {
    byId("image-form").addEventListener("submit", (event) => {
        const id = byId("image-id").value.trim();
        const token = byId("image-token").value;
        const fault = faultOf(id, token);

        event.preventDefault();
        if (fault !== null) {
            leave();
            say(fault, true);
            return;
        }
        read(id, token, byId("image-dirty").checked);
    });
}
